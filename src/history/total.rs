//! Totals of pages: said by the page, or remembered for a short time, so that a page that many look at is not counted for
//! each of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::{HistoryConfig, HistoryPage, HistoryQuery, Record, Total};

/// A page without its total.
pub struct Rows {
    pub records: Vec<Record>,
    pub has_more: bool,
}

impl Rows {
    /// How many rows match `query`, whose page this is, if the page says it: it is the last one, and what is before it was
    /// counted.
    fn total(&self, query: &HistoryQuery) -> Option<Total> {
        let rows = self.records.len() as u64;
        let counted = query.after.is_none() && (query.offset == 0 || rows > 0);
        (counted && !self.has_more).then_some(Total { rows: rows + query.offset, exact: true })
    }
}

/// The remembered totals, by filter.
pub struct Totals {
    known: Mutex<HashMap<String, (Instant, Total)>>,
    ttl: std::time::Duration,
    capacity: usize,
}

impl Totals {
    pub fn new(config: &HistoryConfig) -> Self {
        Self { known: Mutex::default(), ttl: config.count_ttl, capacity: config.count_cache.max(1) }
    }

    /// The page of `query` with its total; `count` is asked only for one that neither the page says nor is known.
    pub async fn complete<E>(
        &self,
        query: &HistoryQuery,
        rows: Rows,
        count: impl Future<Output = Result<Total, E>>,
    ) -> Result<HistoryPage, E> {
        let total = match rows.total(query) {
            Some(total) => total,
            None => self.known_or(query, count).await?,
        };
        let Rows { records, has_more } = rows;
        Ok(HistoryPage { records, has_more, total })
    }

    async fn known_or<E>(
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

    /// What is known and fresh.
    fn get(&self, key: &str) -> Option<Total> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|(at, _)| at.elapsed() < self.ttl).map(|(_, total)| *total)
    }

    fn put(&self, key: String, total: Total) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.capacity {
            known.retain(|_, (at, _)| at.elapsed() < self.ttl);
        }
        if known.len() < self.capacity {
            known.insert(key, (Instant::now(), total));
        }
    }
}

/// A query's filters, without its paging.
fn key(query: &HistoryQuery) -> String {
    let HistoryQuery { since, until, event_type, entity_ids, entity_type, source_service, .. } = query;
    format!("{:?}", (since, until, event_type, entity_ids, entity_type, source_service))
}

/// Whether a query has no filter at all.
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
    fn the_cache_is_bounded_and_forgets() {
        let config = HistoryConfig { count_cache: 2, count_ttl: Duration::from_mins(1), ..HistoryConfig::default() };
        let totals = Totals::new(&config);
        let total = Total { rows: 1, exact: true };
        for name in ["a", "b", "c"] {
            totals.put(name.into(), total);
        }
        assert_eq!([totals.get("a"), totals.get("b"), totals.get("c")], [Some(total), Some(total), None]);
        let totals = Totals::new(&HistoryConfig { count_ttl: Duration::ZERO, ..config });
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
