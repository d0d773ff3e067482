//! The microdao service: what communities there are.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio::time::Instant;

use super::client::{Call, Client};
use super::read::{self, Fields, Item};
use super::{AdapterError, AdaptersConfig, PollContext};
use crate::model::{Answer, EntityType, Facts, Service};

#[derive(Debug)]
pub(super) struct Microdao {
    client: Client,
    concurrency: usize,
    recheck: Duration,
    /// Until then the service is known to have no internal list.
    no_internal_list_until: Mutex<Option<Instant>>,
}

impl Microdao {
    pub fn new(client: Client, config: &AdaptersConfig) -> Self {
        Self {
            client,
            concurrency: config.concurrency.max(1),
            recheck: config.internal_list_recheck,
            no_internal_list_until: Mutex::new(None),
        }
    }

    /// Looks for the internal list again at the next poll.
    pub fn forget(&self) {
        *self.no_internal_list_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub async fn poll(&self, context: &PollContext) -> Result<Answer, AdapterError> {
        let (call, answer) = self.list(context).await?;
        let items = read::as_list(&answer).map_err(|kind| self.client.error(call, kind))?;
        let items = read::each(Service::Microdao, items, |item| microdao(item).map(|_| item.clone()))
            .map_err(|kind| self.client.error(call, kind))?;
        let entities = futures::stream::iter(items)
            .map(|item| self.detailed(item, context.deadline))
            .buffered(self.concurrency)
            .filter_map(std::future::ready)
            .collect()
            .await;
        Ok(Answer { service: Service::Microdao, entities, complete: vec![EntityType::Microdao], layers: vec![] })
    }

    /// Some deployments list every microDAO for their neighbours; elsewhere there are those that the token's owner is a
    /// member of.
    async fn list(&self, context: &PollContext) -> Result<(Call<'static>, Value), AdapterError> {
        const INTERNAL: Call<'_> = Call::main(&["internal", "microdaos"]);
        const OWN: Call<'_> = Call::main(&["microdao"]);
        let until = *self.no_internal_list_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_none_or(|until| Instant::now() >= until) {
            match self.client.get(INTERNAL, context.deadline).await {
                // a neighbour's list that is not for us is as good as none
                Err(error) if [401, 403, 404].iter().any(|status| error.is_status(*status)) => {
                    let until = Instant::now() + self.recheck;
                    *self.no_internal_list_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
                }
                answer => return Ok((INTERNAL, answer?)),
            }
        }
        Ok((OWN, self.client.get(OWN, context.deadline).await?))
    }

    /// Members and treasury are not in the list (its `member_count` is always 1).
    async fn detailed(&self, item: Item, deadline: Instant) -> Option<Facts> {
        let mut facts = microdao(&item)?;
        let Some(slug) = read::name(&item, "slug") else { return Some(facts) };
        let (detail, treasury) = (["microdao", &slug], ["microdao", &slug, "treasury"]);
        let (detail, treasury) = tokio::join!(
            self.client.get(Call::detail(&detail), deadline),
            self.client.get(Call::detail(&treasury), deadline)
        );
        let detail = read::detail(Service::Microdao, detail);
        let treasury = read::detail(Service::Microdao, treasury);
        let counts = detail.as_ref().and_then(Value::as_object);
        let members = counts.and_then(|counts| read::count(counts, "member_count"));
        let treasury = treasury.as_ref().and_then(Value::as_array).map(|items| read::treasury(items));
        facts.partial = members.is_none() || treasury.is_none();
        let details = Fields::default()
            .put("members", members)
            .put("agents", counts.and_then(|counts| read::count(counts, "agent_count")))
            .put("treasury", treasury);
        facts.fields.extend(details.into_map());
        Some(facts)
    }
}

fn microdao(item: &Item) -> Option<Facts> {
    Fields::default()
        .text(item, "name")
        .text(item, "slug")
        .text(item, "description")
        .flag(item, "is_active")
        .put("agents", read::count(item, "agent_count"))
        .facts(
            EntityType::Microdao,
            [read::name(item, "external_id"), read::name(item, "slug"), read::name(item, "id")],
        )
}
