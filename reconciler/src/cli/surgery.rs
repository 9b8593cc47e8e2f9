//! A document as it is to stand in another file: its own bytes, with relative
//! paths made absolute. The caller parses the result and compares it with what
//! it meant to get.

use banger_core::api::{Body, ImageSpec, Name};

use super::documents::Document;

/// The document's own bytes, with every path that is relative to its file
/// written as the absolute path that it means. `None`: a path is written in a
/// way that can't be replaced safely.
pub(super) fn with_absolute_paths(text: &str, document: &Document) -> Option<String> {
    let mut own = text[document.span.clone()].to_owned();
    let (Body::Image(written), Body::Image(meant)) =
        (&document.manifest.body, &document.validated.body)
    else {
        return Some(own);
    };
    let mut changes = Vec::new();
    for ((field, written), (_, meant)) in paths(written).into_iter().zip(paths(meant)) {
        if written.starts_with('/') || written.starts_with("~/") || written == meant {
            continue;
        }
        let (line, column) = document.validated.places.of(field)?;
        let start = offset(text, line, column)?.checked_sub(document.span.start)?;
        changes.push((start, written, meant));
    }
    // From the end, so that earlier places stay where they are.
    changes.sort_unstable_by_key(|change| std::cmp::Reverse(change.0));
    for (start, written, meant) in changes {
        let token = own.get(start..)?;
        let quotes = token.starts_with(['"', '\'']);
        let start = start + usize::from(quotes);
        let end = start + written.len();
        if own.get(start..end)? != written {
            return None;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+@%".contains(c);
        let safe = meant.chars().all(plain);
        match (safe, quotes) {
            (true, _) => own.replace_range(start..end, meant),
            // JSON's strings are YAML's (YAML 1.2.2, 1.3).
            (false, false) => own.replace_range(start..end, &serde_json::to_string(meant).ok()?),
            (false, true) => {
                own.get(end..=end)?;
                own.replace_range(start - 1..=end, &serde_json::to_string(meant).ok()?);
            }
        }
    }
    Some(own)
}

/// The whole file's text, with another name in this document. `None`: the name
/// is written in a way that can't be replaced safely.
pub(super) fn with_name(text: &str, document: &Document, name: &Name) -> Option<String> {
    let (line, column) = document.validated.places.of("metadata.name")?;
    let at = offset(text, line, column)?;
    let old = document.object.name.as_str();
    let quoted = text.get(at..)?.starts_with(['"', '\'']);
    let start = at + usize::from(quoted);
    let end = start + old.len();
    if text.get(start..end)? != old {
        return None;
    }
    // `1e3` and `on` aren't text to every reader of YAML (YAML 1.1, "bool").
    let begins_a_word = name.as_str().starts_with(|c: char| c.is_ascii_alphabetic());
    let reserved = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let new = if quoted || (begins_a_word && !reserved.contains(&name.as_str())) {
        name.to_string()
    } else {
        format!("\"{name}\"")
    };
    Some([text.get(..start)?, &new, text.get(end..)?].concat())
}

fn paths(spec: &ImageSpec) -> Vec<(&'static str, &str)> {
    [
        ("spec.rootfs.disk.path", &spec.rootfs.disk),
        ("spec.rootfs.archive.path", &spec.rootfs.archive),
        ("spec.kernel.path", &spec.kernel),
        ("spec.modules.path", &spec.modules),
        ("spec.initrd.path", &spec.initrd),
    ]
    .into_iter()
    .filter_map(|(field, source)| Some((field, source.as_ref()?.path.as_str())))
    .collect()
}

/// The byte at a line and a column (in characters), both from 1.
fn offset(text: &str, line: u32, column: u32) -> Option<usize> {
    let index = usize::try_from(line).ok()?.checked_sub(1)?;
    let start: usize = text.split_inclusive('\n').take(index).map(str::len).sum();
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    let (within, _) = text.get(start..)?.char_indices().nth(column)?;
    Some(start + within)
}
