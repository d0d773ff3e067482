//! A client's request for maps of past moments.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::time::timeout_at;

use super::{TimeTravel, TimeTravelError};
use crate::access::shares::{Client, Slot};
use crate::map::State;
use crate::model::Cursor;

/// A client's request for maps of past moments. It waits for a slot before its first map and holds it until it is dropped:
/// keep it until the maps are encoded, since that is a part of the work which clients share.
pub struct TimeTravelRequest {
    time_travel: TimeTravel,
    client: Client,
    slot: Option<Arc<Slot>>,
    /// End of the whole request.
    deadline: tokio::time::Instant,
}

impl TimeTravelRequest {
    /// A request without a slot.
    pub(super) fn new(time_travel: TimeTravel, client: Client) -> Self {
        let deadline = tokio::time::Instant::now() + time_travel.0.config.timeout;
        Self { time_travel, client, slot: None, deadline }
    }

    /// The map at `cursor`, exactly as clients had it at that position.
    ///
    /// # Errors
    /// See [`TimeTravelError`].
    pub async fn state_at(&mut self, cursor: Cursor) -> Result<State, TimeTravelError> {
        let newest = self.time_travel.0.live.cursor();
        let earlier = if newest.epoch == cursor.epoch {
            None
        } else {
            let earlier = self.time_travel.retained_earlier(cursor.epoch).await?;
            match earlier.filter(|retained| cursor.seq <= retained.last) {
                Some(retained) => Some(retained),
                None => return Err(TimeTravelError::OtherEpoch { oldest: self.time_travel.oldest().await? }),
            }
        };
        if earlier.is_none() && newest.seq < cursor.seq {
            return Err(TimeTravelError::Ahead { newest });
        }
        let slot = self.slot().await?;
        let computed = async {
            if let Some(state) = self.time_travel.current_state(cursor, &slot).await? {
                return Ok(state);
            }
            let retained = match earlier {
                Some(retained) => retained,
                None => self.time_travel.retained(cursor.epoch).await?,
            };
            self.time_travel.compute(cursor, None, &retained, &slot).await
        };
        // boxed: the future of the computation is large
        self.until_deadline(Box::pin(computed)).await
    }

    /// The map at a time: with every event before the first one that was logged later. For a time after the newest
    /// event it is the current map.
    ///
    /// # Errors
    /// [`TimeTravelError::Gone`] for a time before the oldest position, and see [`TimeTravelError`].
    pub async fn state_at_time(&mut self, time: DateTime<Utc>) -> Result<State, TimeTravelError> {
        let (newest, newest_at) = self.time_travel.0.live.with(|state| (state.cursor(), state.logged_at()));
        if newest.seq == 0 || time >= newest_at {
            return self.state_at(newest).await;
        }
        let slot = self.slot().await?;
        let computed = async {
            let (last, retained) = self.time_travel.log_at(newest, time).await?;
            let state = self.time_travel.compute(last, Some(time), &retained, &slot).await?;
            if state.cursor().seq == 0 && retained.starts_empty() {
                return Err(TimeTravelError::Gone { oldest: self.time_travel.oldest().await? });
            }
            Ok(state)
        };
        self.until_deadline(Box::pin(computed)).await
    }

    /// This request's slot, once there is one.
    async fn slot(&mut self) -> Result<Arc<Slot>, TimeTravelError> {
        if let Some(slot) = &self.slot {
            return Ok(Arc::clone(slot));
        }
        let slot = self.time_travel.pool().acquire(self.client.clone(), self.deadline).await;
        let slot = Arc::new(slot.map_err(|full| refused(TimeTravelError::Busy(full)))?);
        self.slot = Some(Arc::clone(&slot));
        Ok(slot)
    }

    async fn until_deadline(
        &self,
        computed: impl Future<Output = Result<State, TimeTravelError>> + Send,
    ) -> Result<State, TimeTravelError> {
        let started = Instant::now();
        let timed_out = |_| Err(refused(TimeTravelError::Unavailable("timed out".to_owned())));
        let state = timeout_at(self.deadline, computed).await.unwrap_or_else(timed_out)?;
        metrics::histogram!("living_map_past_seconds").record(started.elapsed());
        Ok(state)
    }
}

fn refused(error: TimeTravelError) -> TimeTravelError {
    metrics::counter!("living_map_past_refused_total").increment(1);
    error
}
