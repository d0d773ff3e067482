//! The dao service: DAOs, their members, proposals and treasuries.

use futures::StreamExt;
use serde_json::Value;
use tokio::time::Instant;

use super::client::{Call, UpstreamClient};
use super::read::{self, Fields, Item};
use super::{AdapterError, AdaptersConfig, PollContext};
use crate::model::{Answer, EntityType, Facts, Service};

#[derive(Debug)]
pub(super) struct Dao {
    client: UpstreamClient,
    concurrency: usize,
}

impl Dao {
    pub fn new(config: &AdaptersConfig, client: UpstreamClient) -> Self {
        Self { client, concurrency: config.concurrency.max(1) }
    }

    pub async fn poll(&self, context: &PollContext) -> Result<Answer, AdapterError> {
        const LIST: Call<'_> = Call::main(&["dao"]);
        let answer = self.client.get(LIST, context.deadline).await?;
        let listed = read::as_list(&answer)
            .and_then(|items| read::each(Service::Dao, items, |item| Some((dao(item)?, read::name(item, "slug")))))
            .map_err(|kind| self.client.error(LIST, kind))?;
        let entities = futures::stream::iter(listed)
            .map(|(facts, slug)| self.detailed(facts, slug, context.deadline))
            .buffered(self.concurrency)
            .collect()
            .await;
        Ok(Answer { service: Service::Dao, entities, complete: vec![EntityType::Dao], layers: vec![] })
    }

    /// Adds counts and balances, which only the overview has.
    async fn detailed(&self, mut facts: Facts, slug: Option<String>, deadline: Instant) -> Facts {
        let Some(slug) = slug else { return facts };
        let overview = self.client.get(Call::detail(&["dao", &slug]), deadline).await;
        let details = read::detail(Service::Dao, overview).map(|overview| of_overview(&overview)).unwrap_or_default();
        facts.partial = DETAILS.iter().any(|detail| !details.contains_key(*detail));
        facts.fields.extend(details);
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

/// Fields that the overview has.
const DETAILS: [&str; 3] = ["members", "active_proposals", "treasury"];

fn of_overview(overview: &Value) -> Item {
    let Some(overview) = overview.as_object() else { return Item::new() };
    let [members, proposals, treasury] = DETAILS;
    Fields::default()
        .put(members, read::count(overview, "members_count"))
        .put(proposals, read::count(overview, "active_proposals_count"))
        .put(treasury, read::list(overview, "treasury_items").map(read::treasury))
        .into_map()
}
