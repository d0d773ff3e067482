//! Depth and size of values, and of those that a text is parsed into.

use serde_json::{Map, Value};

/// Levels of arrays and objects in a value.
#[must_use]
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Approximate size of a value's JSON in bytes, without writing it.
#[must_use]
pub fn approximate_bytes(value: &Value) -> usize {
    /// Of a number, or of the punctuation around a value.
    const OTHERS: usize = 4;
    OTHERS
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(approximate_bytes).sum(),
            Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + approximate_bytes(value)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => OTHERS,
        }
}

/// Bytes of an allocation besides its content.
const ALLOCATION: usize = 16;
/// Bytes of a node of an object's tree: eleven members, of which about six are used.
const NODE: usize = 11 * (size_of::<String>() + size_of::<Value>()) + ALLOCATION;
/// Bytes of a member of an object with many.
const MEMBER: usize = NODE / 6;

/// Approximate memory of a value, in bytes. It may be a hundred times its JSON: an object with one member takes a node.
#[must_use]
pub fn memory_bytes(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => ALLOCATION + text.capacity(),
            Value::Array(items) => {
                let unused = (items.capacity() - items.len()) * size_of::<Value>();
                ALLOCATION + unused + items.iter().map(memory_bytes).sum::<usize>()
            }
            Value::Object(members) => members_bytes(members),
        }
}

/// Approximate memory of an object's members, in bytes.
#[must_use]
pub fn members_bytes(members: &Map<String, Value>) -> usize {
    let nodes = if members.is_empty() { 0 } else { NODE + members.len().saturating_sub(6) * MEMBER };
    // the values are in the nodes
    let content =
        |(name, value): (&String, &Value)| ALLOCATION + name.capacity() + memory_bytes(value) - size_of::<Value>();
    nodes + members.iter().map(content).sum::<usize>()
}

/// Approximate memory of the value that a JSON text is parsed into, in bytes, without parsing it. See [`memory_bytes`].
#[must_use]
pub fn parsed_bytes(text: &[u8]) -> usize {
    let (mut bytes, mut in_string, mut escaped) = (size_of::<Value>() + text.len(), false, false);
    for byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        bytes += match byte {
            b'"' => {
                in_string = true;
                ALLOCATION
            }
            // an array begins with room for four items, and doubles it
            b'[' => ALLOCATION + 4 * size_of::<Value>(),
            b',' => 2 * size_of::<Value>(),
            b'{' => NODE,
            b':' => MEMBER,
            _ => 0,
        };
    }
    bytes
}
