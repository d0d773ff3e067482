//! Reading rows up to a number of bytes: one after the other, so that memory is bounded whatever the rows contain.

use futures::TryStreamExt;

use super::values::SqlQuery;
use super::{Dialect, ReadRow, Session};
use crate::history::Page;

/// Bounds of what one statement reads.
#[derive(Debug, Clone, Copy)]
pub struct ReadBounds {
    /// Maximum number of rows. Of a statement for one row more, that row is not returned.
    pub rows: usize,
    /// Bytes of the rows as the database returns them; a row beyond them is not returned, unless it is the first one.
    pub bytes: usize,
}

/// Rows that one statement returned, within its bounds.
#[derive(Debug)]
pub struct BoundedRead<T> {
    pub page: Page<T>,
    /// True if rows were left unread on the connection.
    pub is_unread: bool,
}

/// Reads the rows of a statement up to `bounds`.
pub async fn read_bounded<DB: Dialect, T>(
    session: &mut Session<DB>,
    query: SqlQuery<'_, DB>,
    bounds: ReadBounds,
    read: impl ReadRow<DB, T>,
) -> sqlx::Result<BoundedRead<T>> {
    let mut rows = session.fetch(query);
    let (mut items, mut bytes, mut has_more, mut is_unread) = (Vec::new(), 0_usize, false, false);
    while let Some(row) = rows.try_next().await? {
        if items.len() >= bounds.rows {
            has_more = true;
            continue;
        }
        bytes = bytes.saturating_add(DB::row_bytes(&row));
        if !items.is_empty() && bytes > bounds.bytes {
            (has_more, is_unread) = (true, true);
            break;
        }
        items.push(read(&row)?);
    }
    Ok(BoundedRead { page: Page { items, has_more }, is_unread })
}
