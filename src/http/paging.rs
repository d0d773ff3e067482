//! Pages of lists. A page has at most the requested number of items, and ends earlier where its encoded items would exceed
//! [`HttpConfig::max_page_bytes`](super::HttpConfig::max_page_bytes).

use std::io::Write;
use std::marker::PhantomData;

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::ser::{Serialize, SerializeSeq, Serializer};

use super::answer::{self, PieceWriter};
use super::error::Problem;
use super::query::Params;
use super::state::AppState;

mod cursors;

pub use cursors::{decode_id, decode_position, encode_id, encode_position, invalid};

/// Response header of a page that ends before its `limit`, because its items have the maximum size.
pub const CUT: HeaderName = HeaderName::from_static("x-living-map-cut");

/// Maximum `offset`: the database reads all rows that it skips, while a cursor skips none.
const MAX_OFFSET: u32 = 100_000;

/// Beginning of a list in JSON.
const START: &[u8] = br#"{"items":["#;

/// Reads `offset` and `cursor`, of which at most one is given.
///
/// # Errors
/// 400: one of them is invalid, or both are given.
pub fn start<C>(params: &Params, decode: impl FnOnce(&str) -> Result<C, Problem>) -> Result<(u32, Option<C>), Problem> {
    let offset = params
        .number("offset", 0..=MAX_OFFSET, 0)
        .map_err(|problem| problem.with("hint", "use 'cursor' to read many pages".into()))?;
    let cursor = params.text("cursor")?.map(decode).transpose()?;
    if cursor.is_some() && offset > 0 {
        return Err(Problem::bad_request("offset", "expected either 'offset' or 'cursor', not both"));
    }
    Ok((offset, cursor))
}

/// Limits of a page, and the number of items before it.
#[derive(Debug, Clone, Copy)]
pub struct PageBounds {
    limit: u32,
    /// None if the page begins at a cursor.
    offset: Option<u32>,
    max_bytes: usize,
}

impl PageBounds {
    /// Bounds of a page of `limit` items that begins at `cursor`, otherwise at `offset`.
    pub fn new<C>(state: &AppState, limit: u32, offset: u32, cursor: Option<&C>) -> Self {
        let offset = cursor.is_none().then_some(offset);
        Self { limit, offset, max_bytes: state.config.max_page_bytes }
    }

    /// Number of the first `items` that fit on a page.
    ///
    /// # Errors
    /// 500: an item cannot be encoded.
    pub fn fitting<T: Serialize>(&self, items: &[T]) -> Result<usize, Problem> {
        let mut bytes = 0_usize;
        for (index, item) in items.iter().enumerate() {
            bytes += serde_json::to_vec(item).map_err(Problem::internal)?.len() + 1;
            if index > 0 && bytes > self.max_bytes {
                return Ok(index);
            }
        }
        Ok(items.len())
    }
}

/// Items of a list for one page.
#[derive(Debug)]
pub struct Found<I> {
    /// Items, at most as many as requested.
    pub items: I,
    /// True if more items follow.
    pub has_more: bool,
}

/// The way to the next page.
#[derive(Debug)]
pub struct NextPage {
    /// True if there is one.
    pub has_more: bool,
    /// Its cursor.
    pub cursor: Option<String>,
    /// Number of items before it; none if it is not known or too large.
    pub offset: Option<u32>,
}

/// Place of a list's items, which [`Page`] encodes; the first field of the list.
#[derive(Debug)]
pub struct Items;

impl Serialize for Items {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_seq(Some(0))?.end()
    }
}

/// Response with one page of the list `L`, encoded.
#[derive(Debug)]
pub struct Page<L> {
    json: Vec<Bytes>,
    is_cut: bool,
    list: PhantomData<fn() -> L>,
}

impl<L: Serialize> Page<L> {
    /// Encodes items until `bounds` are reached, at least one, on a thread for blocking tasks: a page can have megabytes.
    /// `cursor` is the cursor of the page after an item, `list` has the other fields of the list.
    ///
    /// # Errors
    /// 500: an item cannot be encoded.
    pub async fn new<T: Serialize>(
        found: Found<impl IntoIterator<Item = T> + Send + 'static>,
        bounds: PageBounds,
        cursor: impl Fn(&T) -> String + Send + 'static,
        list: impl FnOnce(NextPage) -> L + Send + 'static,
    ) -> Result<Self, Problem>
    where
        L: 'static,
    {
        answer::blocking(move || Self::encode(found, bounds, cursor, list)).await
    }

    /// Like [`Page::new`], on this thread.
    ///
    /// # Errors
    /// See [`Page::new`].
    pub fn encode<T: Serialize>(
        found: Found<impl IntoIterator<Item = T>>,
        bounds: PageBounds,
        cursor: impl Fn(&T) -> String,
        list: impl FnOnce(NextPage) -> L,
    ) -> Result<Self, Problem> {
        let (mut json, mut encoded) = (PieceWriter::unbounded(), Vec::new());
        json.write_all(START).map_err(Problem::internal)?;
        let (mut count, mut bytes, mut last, mut has_more) = (0_u32, 0, None, found.has_more);
        for item in found.items {
            encoded.clear();
            if count > 0 {
                encoded.push(b',');
            }
            serde_json::to_writer(&mut encoded, &item).map_err(Problem::internal)?;
            bytes += encoded.len();
            if count > 0 && bytes > bounds.max_bytes {
                has_more = true;
                break;
            }
            json.write_all(&encoded).map_err(Problem::internal)?;
            count += 1;
            last = Some(item);
        }
        let next = NextPage {
            has_more,
            cursor: last.as_ref().filter(|_| has_more).map(cursor),
            offset: bounds.offset.filter(|_| has_more).map(|offset| offset + count).filter(|next| *next <= MAX_OFFSET),
        };
        let rest = serde_json::to_vec(&list(next)).map_err(Problem::internal)?;
        let rest = rest.strip_prefix(START).ok_or_else(|| Problem::internal("a list does not begin with its items"))?;
        json.write_all(rest).map_err(Problem::internal)?;
        Ok(Self { json: json.finish(), is_cut: has_more && count < bounds.limit, list: PhantomData })
    }
}

impl<L> IntoResponse for Page<L> {
    fn into_response(self) -> Response {
        let mut response = answer::json_of(self.json);
        if self.is_cut {
            metrics::counter!("living_map_http_pages_cut_total").increment(1);
            response.headers_mut().insert(CUT, HeaderValue::from_static("true"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use proptest::prelude::*;
    use serde::Serialize;
    use serde_json::Value;

    use super::*;

    #[derive(Serialize)]
    struct List {
        items: Items,
        has_more: bool,
        next_cursor: Option<String>,
        next_offset: Option<u32>,
    }

    fn list(next: NextPage) -> List {
        List { items: Items, has_more: next.has_more, next_cursor: next.cursor, next_offset: next.offset }
    }

    /// The page of `items` that begins at `offset`, with the value of its header.
    async fn page(items: &[String], offset: u32, limit: u32, max_bytes: usize) -> (Value, bool) {
        let left = &items[offset as usize..];
        let count = left.len().min(limit as usize);
        let found = Found { items: &left[..count], has_more: left.len() > count };
        let bounds = PageBounds { limit, offset: Some(offset), max_bytes };
        let response = Page::encode(found, bounds, |item| (*item).clone(), list).unwrap().into_response();
        let is_cut = response.headers().contains_key(CUT);
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (serde_json::from_slice(&body).unwrap(), is_cut)
    }

    proptest! {
        #[test]
        fn pages_cut_by_bytes_contain_every_item_once(
            sizes in prop::collection::vec(0_usize..200, 0..40), limit in 1_u32..20, max_bytes in 1_usize..500,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let items: Vec<String> = sizes.iter().enumerate().map(|(n, size)| format!("{n}{}", "x".repeat(*size))).collect();
            let (mut seen, mut offset) = (Vec::new(), 0);
            loop {
                let (page, is_cut) = runtime.block_on(page(&items, offset, limit, max_bytes));
                let received: Vec<String> = serde_json::from_value(page["items"].clone()).unwrap();
                let bytes: usize = received.iter().map(|item| item.len() + 3).sum();
                prop_assert!(received.len() <= 1 || bytes <= max_bytes + 1);
                let has_more = page["has_more"].as_bool().unwrap();
                prop_assert_eq!(is_cut, has_more && received.len() < limit as usize);
                prop_assert_eq!(page["next_cursor"].as_str(), received.last().filter(|_| has_more).map(String::as_str));
                offset += u32::try_from(received.len()).unwrap();
                seen.extend(received);
                prop_assert_eq!(page["next_offset"].as_u64(), has_more.then_some(offset.into()));
                if !has_more {
                    break;
                }
            }
            prop_assert_eq!(seen, items);
        }
    }

    #[tokio::test]
    async fn a_large_offset_is_continued_by_cursor_only() {
        let bounds = PageBounds { limit: 1, offset: Some(MAX_OFFSET), max_bytes: 100 };
        let found = Found { items: [1], has_more: true };
        let response = Page::encode(found, bounds, ToString::to_string, list).unwrap().into_response();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let expected = br#"{"items":[1],"has_more":true,"next_cursor":"1","next_offset":null}"#;
        assert_eq!(body.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
