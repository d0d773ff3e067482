//! The dao service: who governs what, with which treasury.

use futures::StreamExt;
use serde_json::Value;
use tokio::time::Instant;

use super::client::{Call, Client};
use super::details::Details;
use super::read::{self, Fields, Item};
use super::{AdapterError, AdaptersConfig, PollContext};
use crate::model::{Answer, EntityType, Facts, Service};

#[derive(Debug)]
pub(super) struct Dao {
    client: Client,
    concurrency: usize,
    details: Details,
}

impl Dao {
    pub fn new(client: Client, config: &AdaptersConfig) -> Self {
        Self { client, concurrency: config.concurrency.max(1), details: Details::default() }
    }

    pub async fn poll(&self, context: &PollContext) -> Result<Answer, AdapterError> {
        const LIST: Call<'_> = Call::main(&["dao"]);
        let answer = self.client.get(LIST, context.deadline).await?;
        let listed = read::as_list(&answer)
            .and_then(|items| read::each(Service::Dao, items, |item| Some((dao(item)?, read::name(item, "slug")))))
            .map_err(|kind| self.client.error(LIST, kind))?;
        self.details.keep(&listed.iter().filter_map(|(_, slug)| slug.clone()).collect());
        let entities = futures::stream::iter(listed)
            .map(|(facts, slug)| self.detailed(facts, slug, context.deadline))
            .buffered(self.concurrency)
            .collect()
            .await;
        Ok(Answer { service: Service::Dao, entities, complete: vec![EntityType::Dao], layers: vec![] })
    }

    /// Counts and balances are in the overview alone. Where it cannot be had and never could they are left out.
    async fn detailed(&self, mut facts: Facts, slug: Option<String>, deadline: Instant) -> Facts {
        let Some(slug) = slug else { return facts };
        let fresh = match self.client.get(Call::detail(&["dao", &slug]), deadline).await {
            Ok(overview) => of_overview(&overview),
            Err(error) => {
                tracing::debug!(service = %self.client.service(), %error, "a detail stays as it was");
                Item::new()
            }
        };
        facts.fields.extend(self.details.with_known(&slug, fresh));
        facts
    }
}

fn dao(item: &Item) -> Option<Facts> {
    Fields::default()
        .text(item, "name")
        .text(item, "slug")
        .text(item, "description")
        .text(item, "microdao_id")
        .flag(item, "is_active")
        .facts(EntityType::Dao, [read::name(item, "slug"), read::name(item, "id")])
}

fn of_overview(overview: &Value) -> Item {
    let Some(overview) = overview.as_object() else { return Item::new() };
    Fields::default()
        .put("members", read::count(overview, "members_count"))
        .put("active_proposals", read::count(overview, "active_proposals_count"))
        .put("treasury", read::list(overview, "treasury_items").map(read::treasury))
        .into_map()
}
