//! A tree to a manifest.

use super::decode::{self, DecodeError, What};
use super::explain::{self, Words};
use super::suggest::nearest;
use super::tree::{Entry, Node, Value};
use crate::api::{API_VERSION, Body, Kind, Manifest, Metadata, Name};

/// The fields of every document.
const FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

/// A problem before it knows its file.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) at: (u32, u32),
    pub(super) field: Option<String>,
    pub(super) words: Words,
}

/// Which object the document is about, as far as that can be told.
pub(super) fn object(root: &Node) -> Option<(Kind, Name)> {
    let word = |entry: &Entry| match &entry.value.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    };
    let kind = parse_kind(&word(root.get("kind")?)?)?;
    let name = word(root.get("metadata")?.value.get("name")?)?;
    Some((kind, name.parse().ok()?))
}

pub(super) fn parse_kind(text: &str) -> Option<Kind> {
    [Kind::VirtualMachine, Kind::Image]
        .into_iter()
        .find(|kind| kind.as_str() == text)
}

/// Reads the manifest; `text` is the text that the tree was read from.
pub(super) fn read(root: &Node, text: &str) -> Result<Manifest, Vec<Finding>> {
    let Value::Map(entries) = &root.value else {
        return Err(vec![Finding {
            at: root.at,
            field: None,
            words: explain::not_a_document(),
        }]);
    };
    if !entries
        .iter()
        .any(|entry| FIELDS.contains(&entry.key.as_str()))
    {
        return Err(vec![Finding {
            at: root.at,
            field: None,
            words: explain::not_a_document(),
        }]);
    }
    let mut findings = Vec::new();
    for entry in entries {
        if !FIELDS.contains(&entry.key.as_str()) {
            findings.push(unknown(entry));
        }
    }
    let version = api_version(root);
    let kind = kind(root);
    let metadata = section(root, "metadata", text, decode::decode::<Metadata>);
    let body = match kind {
        Ok(Kind::VirtualMachine) => Some(section(root, "spec", text, |node| {
            decode::decode(node).map(Body::VirtualMachine)
        })),
        Ok(Kind::Image) => Some(section(root, "spec", text, |node| {
            decode::decode(node).map(Body::Image)
        })),
        Err(_) => None,
    };
    findings.extend(version.err());
    findings.extend(kind.err());
    match (metadata, body) {
        (Ok(metadata), Some(Ok(body))) if findings.is_empty() => Ok(Manifest { metadata, body }),
        (metadata, body) => {
            findings.extend(metadata.err());
            findings.extend(body.and_then(Result::err));
            findings.sort_by_key(|finding| finding.at);
            Err(findings)
        }
    }
}

fn unknown(entry: &Entry) -> Finding {
    let message = format!("a document has no field `{}`", entry.key);
    let remedy = if entry.key == "status" {
        "remove it: `status` is what banger reports, not what is asked for".to_owned()
    } else if let Some(near) = nearest(&entry.key, &FIELDS) {
        format!("did you mean `{near}`?")
    } else {
        "remove it, or indent it below `spec` or `metadata` if it belongs there; a document takes \
         `apiVersion`, `kind`, `metadata`, `spec`"
            .to_owned()
    };
    Finding {
        at: entry.at,
        field: Some(entry.key.clone()),
        words: (message, remedy),
    }
}

fn api_version(root: &Node) -> Result<(), Finding> {
    let entry = required(root, "apiVersion")?;
    match &entry.value.value {
        Value::Text(text) if text == API_VERSION => Ok(()),
        other => Err(Finding {
            at: entry.value.at,
            field: Some("apiVersion".to_owned()),
            words: (
                match other {
                    Value::Text(text) => format!("banger doesn't know the apiVersion `{text}`"),
                    Value::Null => "`apiVersion` has no value".to_owned(),
                    _ => "`apiVersion` is not text".to_owned(),
                },
                format!("write `apiVersion: {API_VERSION}`"),
            ),
        }),
    }
}

fn kind(root: &Node) -> Result<Kind, Finding> {
    let entry = required(root, "kind")?;
    let wrong = |message: String, near: Option<&str>| Finding {
        at: entry.value.at,
        field: Some("kind".to_owned()),
        words: (
            message,
            match near {
                Some(near) => format!("did you mean `kind: {near}`?"),
                None => "write `kind: VirtualMachine` or `kind: Image`".to_owned(),
            },
        ),
    };
    match &entry.value.value {
        Value::Text(text) => parse_kind(text).ok_or_else(|| {
            let near = match text.to_ascii_lowercase().as_str() {
                "vm" | "vms" | "virtualmachines" => Some("VirtualMachine"),
                _ => nearest(text, &["VirtualMachine", "Image"]),
            };
            wrong(format!("banger doesn't know the kind `{text}`"), near)
        }),
        Value::Null => Err(wrong("`kind` has no value".to_owned(), None)),
        _ => Err(wrong("`kind` is not text".to_owned(), None)),
    }
}

fn required<'a>(root: &'a Node, field: &str) -> Result<&'a Entry, Finding> {
    root.get(field).ok_or_else(|| Finding {
        at: root.at,
        field: Some(field.to_owned()),
        words: explain::missing(field),
    })
}

fn section<'a, T>(
    root: &'a Node,
    name: &str,
    text: &str,
    decode: impl Fn(&'a Node) -> Result<T, DecodeError>,
) -> Result<T, Finding> {
    let entry = required(root, name)?;
    decode(&entry.value).map_err(|error| {
        let field = error.field(name);
        let raw = find(root, &field).and_then(|node| {
            let (from, length) = node.bytes?;
            text.get(from..from + length)
        });
        let words = explain::decode(&error.what, &field, raw);
        let at = match error.what {
            // At the key of what lacks the field, not at its first other field.
            What::MissingField(_) if error.is_outermost() => entry.at,
            _ => error.at.unwrap_or(entry.at),
        };
        let field = match &error.what {
            What::MissingField(missing) => format!("{field}.{missing}"),
            What::UnknownField { field: unknown, .. } => format!("{field}.{unknown}"),
            _ => field,
        };
        Finding {
            at,
            field: Some(field),
            words,
        }
    })
}

/// The scalar node of a field.
fn find<'a>(root: &'a Node, field: &str) -> Option<&'a Node> {
    match &root.value {
        Value::Map(entries) => entries.iter().find_map(|entry| {
            let rest = field.strip_prefix(entry.key.as_str())?;
            match rest.as_bytes().first() {
                None => Some(&entry.value),
                Some(b'.') => find(&entry.value, &rest[1..]),
                Some(b'[') => find(&entry.value, rest),
                Some(_) => None,
            }
        }),
        Value::List(items) => {
            let (index, rest) = field.strip_prefix('[')?.split_once(']')?;
            let item = items.get(index.parse::<usize>().ok()?)?;
            match rest.strip_prefix('.') {
                Some(rest) => find(item, rest),
                None if rest.is_empty() => Some(item),
                None => find(item, rest),
            }
        }
        _ => None,
    }
}
