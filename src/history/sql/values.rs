//! Values of statements and rows, for code that is generic over the database.
//!
//! sqlx wants `T: Encode<DB> + Type<DB>` wherever a value is bound, and `where` clauses of a trait are not implied where
//! the trait is a bound; its supertraits are. So [`Dialect`](super::Dialect) has [`Binds`] and [`Stores`] as supertraits,
//! for each type in use.

use chrono::{DateTime, Utc};
use sqlx::query::Query;
use sqlx::types::Json;
use sqlx::{ColumnIndex, Database, Decode, Encode, QueryBuilder, Row, Type};
use uuid::Uuid;

use crate::history::lessons::Announcement;
use crate::model::Lesson;

/// A statement with its arguments.
pub type SqlQuery<'q, DB> = Query<'q, DB, <DB as Database>::Arguments>;

/// A point in time: `timestamptz` in `PostgreSQL`, microseconds since 1970 in `SQLite`.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp(pub DateTime<Utc>);

/// Values of type `T` can be bound.
pub trait Binds<T>: Database {
    fn bind(query: SqlQuery<'_, Self>, value: T) -> SqlQuery<'_, Self>;
    fn push_bind(sql: &mut QueryBuilder<Self>, value: T);
}

impl<'t, DB: Database, T: Encode<'t, DB> + Type<DB>> Binds<T> for DB {
    fn bind(query: SqlQuery<'_, Self>, value: T) -> SqlQuery<'_, Self> {
        query.bind(value)
    }
    fn push_bind(sql: &mut QueryBuilder<Self>, value: T) {
        sql.push_bind(value);
    }
}

/// Lists of values of type `T` can be bound.
pub trait BindsList<T>: Database {
    /// Appends the condition that the expression in front of it equals one of `values`.
    fn push_any(sql: &mut QueryBuilder<Self>, values: &[T]);
}

/// Adds an argument to a statement.
pub trait Arg<T> {
    /// Binds `value` to the next placeholder; a [`QueryBuilder`] also appends the placeholder.
    fn arg(self, value: T) -> Self;
}

impl<DB: Binds<T>, T> Arg<T> for SqlQuery<'_, DB> {
    fn arg(self, value: T) -> Self {
        DB::bind(self, value)
    }
}

impl<DB: Binds<T>, T> Arg<T> for &mut QueryBuilder<DB> {
    fn arg(self, value: T) -> Self {
        DB::push_bind(self, value);
        self
    }
}

/// Adds the values of a tuple to a statement.
pub trait Args<T> {
    /// Binds `values` to the next placeholders.
    fn args(self, values: T) -> Self;
}

macro_rules! args {
    ($($value:ident $type:ident)+) => {
        impl<DB: $(Binds<$type> +)+, $($type),+> Args<($($type,)+)> for SqlQuery<'_, DB> {
            fn args(self, ($($value,)+): ($($type,)+)) -> Self {
                self$(.arg($value))+
            }
        }
    };
}
args!(a A b B);
args!(a A b B c C);
args!(a A b B c C d D);
args!(a A b B c C d D e E);

/// Appends `condition` with a value, if there is one.
pub fn push_if<DB: Binds<T>, T>(sql: &mut QueryBuilder<DB>, condition: &str, value: Option<T>) {
    if let Some(value) = value {
        sql.push(condition).arg(value);
    }
}

/// Skips the first `offset` rows.
pub fn push_offset<DB: Binds<i64>>(sql: &mut QueryBuilder<DB>, offset: u32) {
    push_if(sql, " OFFSET ", (offset > 0).then_some(i64::from(offset)));
}

/// Appends the condition that `expression` equals one of `values`, if there are any.
pub fn push_any_if<DB: BindsList<T>, T>(sql: &mut QueryBuilder<DB>, expression: &str, values: &[T]) {
    if !values.is_empty() {
        DB::push_any(sql.push(expression), values);
    }
}

/// A row whose columns can be read as `T`.
pub trait Column<T>: Row {
    /// The value of the column at `index`, from 0.
    fn read(&self, index: usize) -> sqlx::Result<T>;
}

impl<R: Row, T> Column<T> for R
where
    T: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    usize: ColumnIndex<R>,
{
    fn read(&self, index: usize) -> sqlx::Result<T> {
        self.try_get(index)
    }
}

/// Values of type `T` are bound and read, also as `NULL`.
pub trait Stores<T>: Database<Row: Column<T> + Column<Option<T>>> + Binds<T> + Binds<Option<T>> {}

impl<T, DB: Database<Row: Column<T> + Column<Option<T>>> + Binds<T> + Binds<Option<T>>> Stores<T> for DB {}

/// Everything that is bound or read.
pub trait Values:
    Stores<bool>
    + Stores<i32>
    + Stores<i64>
    + Stores<f64>
    + Stores<Uuid>
    + Stores<String>
    + Stores<Vec<u8>>
    + Stores<Timestamp>
    + Stores<Json<Lesson>>
    + Stores<Json<Announcement>>
    + for<'t> Binds<&'t str>
    + for<'t> Binds<Option<&'t str>>
    + for<'t> Binds<&'t [u8]>
    + for<'t> Binds<Option<&'t [u8]>>
    + for<'t> Binds<Json<&'t Lesson>>
    + for<'t> Binds<Json<&'t Announcement>>
    + BindsList<i64>
    + BindsList<Uuid>
    + BindsList<String>
    + BindsList<&'static str>
{
}

impl Values for sqlx::Postgres {}
impl Values for sqlx::Sqlite {}
