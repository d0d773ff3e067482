//! The microdao service: microDAOs, their members and treasuries.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio::time::Instant;

use super::client::{Call, UpstreamClient};
use super::read::{self, Fields, Item};
use super::{AdapterError, AdaptersConfig, PollContext};
use crate::model::{Answer, EntityType, Facts, Service};

#[derive(Debug)]
pub(super) struct Microdao {
    client: UpstreamClient,
    concurrency: usize,
    recheck: Duration,
    /// Until then the internal list is not requested, because the service does not have it.
    no_internal_list_until: Mutex<Option<Instant>>,
}

impl Microdao {
    pub fn new(config: &AdaptersConfig, client: UpstreamClient) -> Self {
        Self {
            client,
            concurrency: config.concurrency.max(1),
            recheck: config.internal_list_recheck,
            no_internal_list_until: Mutex::new(None),
        }
    }

    /// Requests the internal list again at the next poll.
    pub fn reset(&self) {
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

    /// Some deployments list all microDAOs at an internal path; elsewhere the list has those that the token's owner is a
    /// member of.
    async fn list(&self, context: &PollContext) -> Result<(Call<'static>, Value), AdapterError> {
        const INTERNAL: Call<'_> = Call::main(&["internal", "microdaos"]);
        const OWN: Call<'_> = Call::main(&["microdao"]);
        let until = *self.no_internal_list_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_none_or(|until| Instant::now() >= until) {
            match self.client.get(INTERNAL, context.deadline).await {
                // an internal list that we may not read counts as absent
                Err(error) if [401, 403, 404].iter().any(|status| error.is_status(*status)) => {
                    let until = Instant::now() + self.recheck;
                    *self.no_internal_list_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
                }
                answer => return Ok((INTERNAL, answer?)),
            }
        }
        Ok((OWN, self.client.get(OWN, context.deadline).await?))
    }

    /// Adds members and treasury, which the list does not have (its `member_count` is always 1).
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
