//! The built-in alert about too many dead letters.

use serde_json::{Value, json};

use crate::model::alert;

/// Id of the alert.
pub const ALERT_ID: &str = "dead_letters";

type MapState = Box<dyn Fn() -> Option<bool> + Send + Sync>;
type Covered = Box<dyn Fn() -> bool + Send + Sync>;

/// Decides when the alert is raised and cleared.
pub struct DeadLetterAlert {
    active: MapState,
    covered_by_rule: Covered,
}

impl DeadLetterAlert {
    /// `active` returns whether the alert is active on the map, or `None` while the map is catching up. While
    /// `covered_by_rule` returns true, a configured alert rule counts dead letters, and this alert is not raised: one
    /// problem, one alert.
    #[must_use]
    pub fn new(
        active: impl Fn() -> Option<bool> + Send + Sync + 'static,
        covered_by_rule: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { active: Box::new(active), covered_by_rule: Box::new(covered_by_rule) }
    }

    /// The event to publish when there are `dead` dead letters; `None` when the alert does not change.
    pub(super) fn event(&self, dead: u64, threshold: u64) -> Option<Value> {
        let active = (self.active)()?;
        match (dead > threshold && !(self.covered_by_rule)(), active) {
            (true, false) => Some(json!({
                "event_type": alert::RAISED, "source": "living-map",
                "payload": {
                    "alert_id": ALERT_ID, "severity": "warning",
                    "title": format!("more than {threshold} dead letters"),
                    "message": "messages could not be processed: GET /living-map/dead-letters lists them",
                    "value": dead, "threshold": threshold,
                    "measurement": {"field": ALERT_ID, "value": dead, "condition": "above", "bound": threshold,
                        "window_seconds": null},
                },
            })),
            (false, true) => Some(json!({
                "event_type": alert::CLEARED, "source": "living-map",
                "payload": {"alert_id": ALERT_ID, "value": dead, "threshold": threshold},
            })),
            _ => None,
        }
    }
}
