//! Labels and annotations, by the rules of Kubernetes.

use std::collections::BTreeMap;

use super::findings::Findings;
use crate::api::Metadata;
use crate::api::bounds::{
    MAX_ANNOTATIONS_BYTES, MAX_LABEL, MAX_LABELS, MAX_PREFIX, PREVENT_DELETION,
};

/// The prefix that is banger's own.
const OWN_PREFIX: &str = "banger.dev";

pub(super) fn check(metadata: &Metadata, findings: &mut Findings<'_>) {
    labels(&metadata.labels, findings);
    annotations(&metadata.annotations, findings);
}

fn labels(labels: &BTreeMap<String, String>, findings: &mut Findings<'_>) {
    if labels.len() > MAX_LABELS {
        findings.refuse(
            "metadata.labels",
            format!("{} labels are too many", labels.len()),
            format!("keep {MAX_LABELS} or fewer; notes go into annotations"),
        );
    }
    for (key, value) in labels {
        let field = format!("metadata.labels.{key}");
        check_key(&field, key, findings);
        if key
            .split_once('/')
            .is_some_and(|(prefix, _)| prefix == OWN_PREFIX)
        {
            findings.refuse(
                &field,
                format!("labels with the prefix `{OWN_PREFIX}/` are reserved"),
                "use a prefix of your own, or none",
            );
        }
        if !value.is_empty() && !is_label(value) {
            findings.refuse(
                &field,
                format!("`{value}` is not a valid value of a label"),
                format!(
                    "use at most {MAX_LABEL} letters, digits, `-`, `_` and `.`, beginning and \
                     ending with a letter or digit; other text goes into annotations"
                ),
            );
        }
    }
}

fn annotations(annotations: &BTreeMap<String, String>, findings: &mut Findings<'_>) {
    let bytes: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if bytes > MAX_ANNOTATIONS_BYTES {
        findings.refuse(
            "metadata.annotations",
            format!("annotations of {bytes} bytes are too long"),
            format!("keep them below {MAX_ANNOTATIONS_BYTES} bytes (256 KiB) together"),
        );
    }
    for (key, value) in annotations {
        let field = format!("metadata.annotations.{key}");
        check_key(&field, key, findings);
        if key == PREVENT_DELETION {
            if !matches!(value.as_str(), "true" | "false") {
                findings.refuse(
                    &field,
                    format!("`{value}` is not a value of `{PREVENT_DELETION}`"),
                    "write \"true\" or \"false\", in quotes",
                );
            }
        } else if key
            .split_once('/')
            .is_some_and(|(prefix, _)| prefix == OWN_PREFIX)
        {
            findings.refuse(
                &field,
                format!("banger knows no annotation `{key}`"),
                format!("the one that it knows is `{PREVENT_DELETION}`; use a prefix of your own for notes"),
            );
        }
    }
}

fn check_key(field: &str, key: &str, findings: &mut Findings<'_>) {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if !is_label(name) {
        findings.refuse(
            field,
            format!("`{key}` is not a valid key"),
            format!(
                "use at most {MAX_LABEL} letters, digits, `-`, `_` and `.`, beginning and ending \
                 with a letter or digit, such as `app`"
            ),
        );
    }
    if prefix.is_some_and(|prefix| !is_dns_name(prefix)) {
        findings.refuse(
            field,
            format!("the prefix of `{key}` is not a DNS name"),
            "write a DNS name in lower case before the `/`, such as `example.org/app`",
        );
    }
}

/// `[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?`, at most 63.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= MAX_LABEL
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_dns_name(text: &str) -> bool {
    text.len() <= MAX_PREFIX
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
}
