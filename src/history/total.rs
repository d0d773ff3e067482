//! Totals of pages: known from the page itself, or cached for a short time, so that a page with many viewers is not counted
//! for each of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::{HistoryConfig, HistoryPage, HistoryQuery, HistoryRow, Page, Total};

impl Page<HistoryRow> {
    /// The number of rows that match `query`, whose page this is, if the page is the last one and the number of rows before
    /// it is known.
    fn total(&self, query: &HistoryQuery) -> Option<Total> {
        let rows = self.items.len() as u64;
        let counted = query.after.is_none() && (query.offset == 0 || rows > 0);
        (counted && !self.has_more).then_some(Total { rows: rows + query.offset, exact: true })
    }
}

/// Cache of totals, by filter.
pub struct TotalCache {
    entries: Mutex<HashMap<String, (Instant, Total)>>,
    ttl: std::time::Duration,
    capacity: usize,
}

impl TotalCache {
    pub fn new(config: &HistoryConfig) -> Self {
        Self { entries: Mutex::default(), ttl: config.count_ttl, capacity: config.count_cache.max(1) }
    }

    /// The page of `query` with its total; `count` is awaited only if neither the page nor the cache has the total.
    pub async fn complete<E>(
        &self,
        query: &HistoryQuery,
        page: Page<HistoryRow>,
        count: impl Future<Output = Result<Total, E>>,
    ) -> Result<HistoryPage, E> {
        let total = match page.total(query) {
            Some(total) => total,
            None => self.get_or_count(query, count).await?,
        };
        Ok(HistoryPage { rows: page.items, has_more: page.has_more, total })
    }

    async fn get_or_count<E>(
        &self,
        query: &HistoryQuery,
        count: impl Future<Output = Result<Total, E>>,
    ) -> Result<Total, E> {
        let key = key(query);
        if let Some(total) = self.get(&key) {
            return Ok(total);
        }
        let total = count.await?;
        self.put(key, total);
        Ok(total)
    }

    /// The total of `key`, unless it has expired. It is not exact: rows may have been added since it was counted.
    fn get(&self, key: &str) -> Option<Total> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|(at, _)| at.elapsed() < self.ttl).map(|(_, total)| Total { exact: false, ..*total })
    }

    fn put(&self, key: String, total: Total) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.capacity {
            entries.retain(|_, (at, _)| at.elapsed() < self.ttl);
        }
        if entries.len() < self.capacity {
            entries.insert(key, (Instant::now(), total));
        }
    }
}

/// A query's filters, without its paging.
fn key(query: &HistoryQuery) -> String {
    let HistoryQuery { since, until, event_type, entity_ids, entity_type, source_service, .. } = query;
    format!("{:?}", (since, until, event_type, entity_ids, entity_type, source_service))
}

/// True if a query has no filter.
pub fn is_unfiltered(query: &HistoryQuery) -> bool {
    query.since.is_none()
        && query.until.is_none()
        && query.event_type.as_ref().is_none_or(|pattern| pattern.as_str() == ">")
        && query.entity_ids.is_empty()
        && query.entity_type.is_none()
        && query.source_service.is_none()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_cache_is_bounded_and_entries_expire() {
        let config = HistoryConfig { count_cache: 2, count_ttl: Duration::from_mins(1), ..HistoryConfig::default() };
        let totals = TotalCache::new(&config);
        let total = Total { rows: 1, exact: true };
        for name in ["a", "b", "c"] {
            totals.put(name.into(), total);
        }
        let cached = Some(Total { exact: false, ..total });
        assert_eq!([totals.get("a"), totals.get("b"), totals.get("c")], [cached, cached, None]);
        let totals = TotalCache::new(&HistoryConfig { count_ttl: Duration::ZERO, ..config });
        totals.put("a".into(), total);
        assert_eq!(totals.get("a"), None);
    }

    #[test]
    fn paging_is_not_part_of_the_key() {
        let query = HistoryQuery { limit: 10, ..HistoryQuery::default() };
        assert_eq!(key(&query), key(&HistoryQuery { limit: 20, offset: 5, ..query.clone() }));
        assert_ne!(key(&query), key(&HistoryQuery { source_service: Some("a".into()), ..query }));
    }
}
