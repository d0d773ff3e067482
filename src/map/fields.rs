//! The fields of entities: names, shapes of values, and the precedence of services.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::{EntityType, Service, time};

use super::names;

/// Longest text of one field, in bytes; a longer one is ignored like a wrong type.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Most items of one list field; the rest is dropped.
const MAX_LIST_ITEMS: usize = 1_024;

/// A field of any type of entity. Saved states keep the names of the variants, and the order decides the order of
/// facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Field {
    Name,
    Slug,
    Kind,
    Description,
    Role,
    Model,
    MicrodaoId,
    IsActive,
    Status,
    Health,
    Members,
    Agents,
    Treasury,
    Balance,
    TreasuryValue,
    ActiveProposals,
    Activity,
    AnomalyScore,
    Position,
    Orbits,
    Cpu,
    Gpu,
    Ram,
    Disk,
    NetIn,
    NetOut,
    Temperature,
    LatencyMs,
    Alerts,
    UptimeSeconds,
    RecordUpdatedAt,
}

impl Field {
    /// Returns `true` if it is a measurement, which events report more often than polls: an event's value is not
    /// overruled by an answer that only repeats the service's last one.
    pub(super) const fn is_measured(self) -> bool {
        matches!(
            self,
            Self::Members
                | Self::Agents
                | Self::Treasury
                | Self::Balance
                | Self::TreasuryValue
                | Self::ActiveProposals
                | Self::Activity
                | Self::AnomalyScore
                | Self::Cpu
                | Self::Gpu
                | Self::Ram
                | Self::Disk
                | Self::NetIn
                | Self::NetOut
                | Self::Temperature
                | Self::LatencyMs
                | Self::UptimeSeconds
        )
    }

    /// Returns `true` if it shows only among an item's live fields, where the item has any.
    pub(super) const fn is_live(self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::IsActive
                | Self::Agents
                | Self::Cpu
                | Self::Gpu
                | Self::Ram
                | Self::Disk
                | Self::NetIn
                | Self::NetOut
                | Self::Temperature
                | Self::LatencyMs
                | Self::UptimeSeconds
                | Self::RecordUpdatedAt
        )
    }
}

/// The shape of a field's value; a value of another shape is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A non-empty text.
    Text,
    /// An id: a text or an integer.
    Reference,
    /// Ids, ordered.
    References,
    Flag,
    /// A whole number, at least 0.
    Count,
    Number,
    /// 0 to 1; a number above 1 and up to 100 is a percentage.
    Load,
    Texts,
    /// `[{token_symbol, balance}]`, ordered by token.
    Treasury,
    /// An exact decimal, as text.
    Decimal,
    /// A time, as text in UTC.
    Time,
    Position,
}

/// One row of the table of precedence.
struct Spec {
    name: &'static str,
    field: Field,
    shape: Shape,
    /// Services by precedence, best first. Services that are not listed rank last.
    order: &'static [Service],
}

const fn spec(name: &'static str, field: Field, shape: Shape, order: &'static [Service]) -> Spec {
    Spec { name, field, shape, order }
}

use Field as F;
use Service::{Agents, City, Dao, Microdao, Space};
use Shape as S;

const AGENT: &[Spec] = &[
    spec("name", F::Name, S::Text, &[Agents, City]),
    spec("kind", F::Kind, S::Text, &[Agents, City]),
    spec("description", F::Description, S::Text, &[Agents, City]),
    spec("role", F::Role, S::Text, &[City, Agents]),
    spec("model", F::Model, S::Text, &[Agents]),
    spec("microdao_id", F::MicrodaoId, S::Reference, &[Agents, City]),
    spec("is_active", F::IsActive, S::Flag, &[Agents]),
    spec("status", F::Status, S::Text, &[City, Agents]),
    // recorded for `Compatibility::Prototype` only
    spec("record_updated_at", F::RecordUpdatedAt, S::Time, &[Agents]),
];

const MICRODAO: &[Spec] = &[
    spec("name", F::Name, S::Text, &[Microdao, City]),
    spec("slug", F::Slug, S::Text, &[Microdao]),
    spec("description", F::Description, S::Text, &[Microdao]),
    spec("is_active", F::IsActive, S::Flag, &[Microdao]),
    spec("members", F::Members, S::Count, &[Microdao, City]),
    spec("agents", F::Agents, S::Count, &[Microdao, City]),
    spec("treasury", F::Treasury, S::Treasury, &[Microdao]),
    spec("balance", F::Balance, S::Decimal, &[City]),
];

const DAO: &[Spec] = &[
    spec("name", F::Name, S::Text, &[Dao, Space]),
    spec("slug", F::Slug, S::Text, &[Dao]),
    spec("is_active", F::IsActive, S::Flag, &[Dao]),
    spec("microdao_id", F::MicrodaoId, S::Reference, &[Dao, Space]),
    spec("members", F::Members, S::Count, &[Dao]),
    spec("active_proposals", F::ActiveProposals, S::Count, &[Dao]),
    spec("treasury", F::Treasury, S::Treasury, &[Dao]),
    spec("treasury_value", F::TreasuryValue, S::Number, &[Space]),
    spec("health", F::Health, S::Text, &[Space]),
    spec("activity", F::Activity, S::Number, &[Space]),
    spec("anomaly_score", F::AnomalyScore, S::Number, &[Space]),
    spec("position", F::Position, S::Position, &[Space]),
    spec("orbits", F::Orbits, S::References, &[Space]),
];

const NODE: &[Spec] = &[
    spec("name", F::Name, S::Text, &[Space, City]),
    spec("microdao_id", F::MicrodaoId, S::Reference, &[Space, City]),
    spec("status", F::Status, S::Text, &[Space, City]),
    spec("cpu", F::Cpu, S::Load, &[Space, City]),
    spec("gpu", F::Gpu, S::Load, &[Space, City]),
    spec("ram", F::Ram, S::Load, &[Space, City]),
    spec("disk", F::Disk, S::Load, &[Space, City]),
    spec("net_in", F::NetIn, S::Number, &[Space, City]),
    spec("net_out", F::NetOut, S::Number, &[Space, City]),
    spec("temperature", F::Temperature, S::Number, &[Space, City]),
    spec("latency_ms", F::LatencyMs, S::Number, &[Space, City]),
    spec("agents", F::Agents, S::Count, &[Space, City]),
    spec("alerts", F::Alerts, S::Texts, &[Space, City]),
    spec("uptime_seconds", F::UptimeSeconds, S::Count, &[Space, City]),
];

const CHANNEL: &[Spec] =
    &[spec("name", F::Name, S::Text, &[City]), spec("microdao_id", F::MicrodaoId, S::Reference, &[City])];

const fn specs(kind: EntityType) -> &'static [Spec] {
    match kind {
        EntityType::Agent => AGENT,
        EntityType::Microdao => MICRODAO,
        EntityType::Dao => DAO,
        EntityType::Node => NODE,
        EntityType::Channel => CHANNEL,
        EntityType::City | EntityType::Space => &[],
    }
}

/// Rank of a service for a field: the smallest wins; never 0 or 255.
pub(super) fn service_rank(kind: EntityType, field: Field, service: Service) -> u8 {
    let order = specs(kind).iter().find(|spec| spec.field == field).map_or(&[][..], |spec| spec.order);
    let rank = order.iter().position(|listed| *listed == service).unwrap_or(order.len() + service as usize);
    u8::try_from(rank + 1).unwrap_or(u8::MAX - 1)
}

/// Normalizes a field's value, so that equal values compare equal and a value read back from the log is the same; none
/// for a wrong type or an unknown field. JSON null states that there is no value.
pub(super) fn read(kind: EntityType, name: &str, value: &Value) -> Option<(Field, Value)> {
    let spec = specs(kind).iter().find(|spec| spec.name == name)?;
    Some((spec.field, spec.read(value)?))
}

/// [`read`] for a known field.
pub(super) fn read_field(kind: EntityType, field: Field, value: &Value) -> Option<Value> {
    specs(kind).iter().find(|spec| spec.field == field)?.read(value)
}

/// The field of a name.
pub(super) fn field_named(kind: EntityType, name: &str) -> Option<Field> {
    specs(kind).iter().find(|spec| spec.name == name).map(|spec| spec.field)
}

/// The name of a field in payloads and answers.
pub(super) fn name_of(kind: EntityType, field: Field) -> &'static str {
    specs(kind).iter().find(|spec| spec.field == field).map_or("", |spec| spec.name)
}

impl Spec {
    fn read(&self, value: &Value) -> Option<Value> {
        if value.is_null() { Some(Value::Null) } else { self.shape.read(value) }
    }
}

impl Shape {
    fn read(self, value: &Value) -> Option<Value> {
        match self {
            Self::Text => text(value).map(Value::from),
            Self::Reference => names::raw_id(value).map(Value::from),
            Self::References => {
                let mut ids: Vec<String> = value.as_array()?.iter().filter_map(names::raw_id).collect();
                ids.sort_unstable();
                ids.dedup();
                ids.truncate(MAX_LIST_ITEMS);
                Some(Value::from(ids))
            }
            Self::Flag => value.as_bool().map(Value::from),
            Self::Count => count(value).map(Value::from),
            Self::Number => number(value).map(Value::from),
            Self::Load => match number(value)? {
                load if (0.0..=1.0).contains(&load) => Some(Value::from(load)),
                percent if (1.0..=100.0).contains(&percent) => Some(Value::from(percent / 100.0)),
                _ => None,
            },
            Self::Texts => {
                let texts = value.as_array()?.iter().filter_map(|item| Self::Text.read(item));
                Some(Value::Array(texts.take(MAX_LIST_ITEMS).collect()))
            }
            Self::Treasury => treasury(value),
            Self::Decimal => decimal(value).map(Value::from),
            Self::Time => time::lenient(value).map(|at| Value::from(time::text(at))),
            Self::Position => {
                let axis = |name: &str| number(value.get(name)?);
                Some(json!({"x": axis("x")?, "y": axis("y")?, "z": axis("z")?}))
            }
        }
    }
}

/// A non-empty text of bounded length.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty() && text.len() <= MAX_TEXT_BYTES)
}

/// A whole number, at least 0, also if written as a float.
pub(super) fn count(value: &Value) -> Option<u64> {
    /// 2^53: up to it floats represent every whole number exactly.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
    value.as_u64().or_else(|| {
        let float = value.as_f64()?;
        (float.fract() == 0.0 && (0.0..=EXACT).contains(&float)).then_some(float as u64)
    })
}

/// A finite number; negative zero becomes zero, as in the log.
pub(super) fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite()).map(|number| number + 0.0)
}

/// An exact decimal (`-12.50`), from a string or a number.
pub(super) fn decimal(value: &Value) -> Option<String> {
    const MAX_DIGITS: usize = 80;
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let unsigned = text.strip_prefix('-').unwrap_or(&text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (text.len() <= MAX_DIGITS && digits(whole) && digits(fraction)).then_some(text)
}

fn treasury(value: &Value) -> Option<Value> {
    let mut tokens: Vec<(String, String)> = value
        .as_array()?
        .iter()
        .filter_map(|item| {
            let token = item.get("token_symbol")?.as_str().filter(|token| !token.is_empty())?;
            Some((token.to_owned(), decimal(item.get("balance")?)?))
        })
        .collect();
    // if a token is listed twice, the last balance counts
    tokens.reverse();
    tokens.sort_by(|a, b| a.0.cmp(&b.0));
    tokens.dedup_by(|a, b| a.0 == b.0);
    tokens.truncate(MAX_LIST_ITEMS);
    let items = tokens.into_iter().map(|(token, balance)| json!({"token_symbol": token, "balance": balance}));
    Some(Value::Array(items.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_types_and_unknown_fields_are_ignored() {
        use EntityType::{Agent, Dao, Node};
        for (kind, name, value) in [
            (Agent, "name", json!(5)),
            (Agent, "name", json!("")),
            (Agent, "is_active", json!("yes")),
            (Agent, "treasury", json!([])),
            (Agent, "last_action", json!("x")),
            (Dao, "members", json!(-1)),
            (Dao, "members", json!(1.5)),
            (Dao, "position", json!({"x": 1, "y": 2})),
            (Node, "cpu", json!(101)),
            (Node, "cpu", json!(-0.1)),
            (Node, "cpu", json!({"load": 0.5})),
        ] {
            assert_eq!(read(kind, name, &value), None, "{name} {value}");
        }
    }

    #[test]
    fn normalizing_twice_changes_nothing() {
        use EntityType::{Agent, Dao, Node};
        for (kind, name, value, normal) in [
            (Agent, "microdao_id", json!(7), json!("7")),
            (Dao, "members", json!(7.0), json!(7)),
            (Node, "cpu", json!(1), json!(1.0)),
            (Node, "cpu", json!(45), json!(0.45)),
            (Node, "net_in", json!(-0.0), json!(0.0)),
            (Dao, "orbits", json!(["node:2", 1, "node:2", null]), json!(["1", "node:2"])),
            (
                Dao,
                "treasury",
                json!([{"token_symbol": "B", "balance": 2.5}, {"token_symbol": "A", "balance": "1.50"},
                    {"token_symbol": "B", "balance": "3"}, {"token_symbol": "C", "balance": "1e5"}]),
                json!([{"token_symbol": "A", "balance": "1.50"}, {"token_symbol": "B", "balance": "3"}]),
            ),
        ] {
            let (_, read_once) = read(kind, name, &value).unwrap();
            assert_eq!(read_once, normal, "{name}");
            assert_eq!(read(kind, name, &read_once).unwrap().1, normal, "{name}");
        }
    }
}
