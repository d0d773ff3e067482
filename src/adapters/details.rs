//! Last good details of listed things.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::read::Item;

/// What detail requests said, by slug. A field that an answer leaves out is taken for one that is no more, so a detail
/// that cannot be had for once is told as it was.
#[derive(Debug, Default)]
pub(super) struct Details(Mutex<HashMap<String, Item>>);

impl Details {
    /// Remembers what is fresh; it with what was known before.
    pub fn with_known(&self, slug: &str, fresh: Item) -> Item {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(slug.to_owned()).or_default();
        known.extend(fresh);
        known.clone()
    }

    /// Forgets all others.
    pub fn keep(&self, slugs: &HashSet<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|slug, _| slugs.contains(slug));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn item(value: Value) -> Item {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_known_fills_what_is_missing_until_its_owner_is_gone() {
        let details = Details::default();
        let first = item(json!({"members": 2, "agents": 1}));
        assert_eq!(details.with_known("a", first.clone()), first);
        assert_eq!(details.with_known("a", item(json!({"members": 3}))), item(json!({"members": 3, "agents": 1})));
        details.keep(&HashSet::from(["b".to_owned()]));
        assert_eq!(details.with_known("a", Item::new()), Item::new());
    }
}
