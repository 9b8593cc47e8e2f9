//! A document as a tree in which every node knows where it is written.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::limits;

/// A node and its line and column in the document, from 1.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: (u32, u32),
    pub(super) value: Value,
    /// Its bytes in the document's text, for scalars that stand there as they are.
    pub(super) bytes: Option<(usize, usize)>,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Whole(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its place, and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: (u32, u32),
    pub(super) value: Node,
}

impl Node {
    /// The value under this key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Adds so many lines to every position.
    pub(super) fn shift(&mut self, lines: u32) {
        self.at.0 = self.at.0.saturating_add(lines);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Value::Map(entries) => {
                for entry in entries {
                    entry.at.0 = entry.at.0.saturating_add(lines);
                    entry.value.shift(lines);
                }
            }
            _ => {}
        }
    }
}

/// Reads one document. Booleans are `true` and `false` alone, a key that stands
/// twice is an error, and the caps of [`limits`] hold.
pub(super) fn read(text: &str) -> Result<Node, serde_saphyr::Error> {
    let budget = serde_saphyr::budget! {
        max_depth: limits::MAX_DEPTH,
        flow_nesting_limit: limits::MAX_DEPTH,
        max_nodes: limits::MAX_NODES,
        max_events: 3 * limits::MAX_NODES,
        max_aliases: limits::MAX_ALIASES,
        max_anchors: limits::MAX_ALIASES,
        max_merge_keys: limits::MAX_ALIASES,
        max_total_scalar_bytes: limits::MAX_FILE_BYTES,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        emit_comments: false,
        strict_booleans: true,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: limits::MAX_ALIASED_NODES,
            max_alias_expansions_per_anchor: limits::MAX_ALIASES,
        },
    };
    serde_saphyr::from_str_with_options(text, options)
}

pub(super) fn position(location: Location) -> Option<(u32, u32)> {
    let line = u32::try_from(location.line()).ok().filter(|n| *n > 0)?;
    let column = u32::try_from(location.column()).ok()?.max(1);
    Some((line, column))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned {
            value, referenced, ..
        } = Spanned::<Value>::deserialize(deserializer)?;
        let span = referenced.span();
        let bytes = span
            .byte_offset()
            .zip(span.byte_len())
            .and_then(|(from, length)| {
                Some((usize::try_from(from).ok()?, usize::try_from(length).ok()?))
            });
        Ok(Self {
            at: position(referenced).unwrap_or((1, 1)),
            value,
            bytes,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(i128::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Whole))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(key) = map.next_key::<Node>()? {
            let text = match key.value {
                Value::Text(text) => text,
                Value::Null => "null".to_owned(),
                Value::Bool(value) => value.to_string(),
                Value::Whole(value) => value.to_string(),
                Value::Float(value) => value.to_string(),
                Value::List(_) | Value::Map(_) => {
                    return Err(de::Error::custom(
                        "a key is a word, not a list or a mapping",
                    ));
                }
            };
            let mut value: Node = map.next_value()?;
            if matches!(value.value, Value::Null) {
                // A value that isn't written has no place of its own.
                value.at = key.at;
            }
            entries.push(Entry {
                key: text,
                at: key.at,
                value,
            });
        }
        Ok(Value::Map(entries))
    }
}
