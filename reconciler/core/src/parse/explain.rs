//! What was found, as a sentence, and what to write instead.

use serde_saphyr::{DefaultMessageFormatter, MessageFormatter};

use super::decode::What;
use super::suggest::{listed, nearest};
use super::{limits, tree};
use crate::api::API_VERSION;

/// Message and remedy.
pub(super) type Words = (String, String);

/// How a field is written. Looked up by the last name of its path.
const EXAMPLES: [(&str, &str); 42] = [
    ("apiVersion", "apiVersion: banger.dev/v1alpha1"),
    ("kind", "kind: VirtualMachine"),
    ("metadata", "metadata: {name: web}"),
    ("name", "name: web"),
    ("labels", "labels: {app: shop}"),
    ("annotations", "annotations: {note: \"any text\"}"),
    ("spec", "spec: {image: debian-12}"),
    ("image", "image: debian-12"),
    ("runPolicy", "runPolicy: Always"),
    ("vcpus", "vcpus: 2` (a whole number from 1 to 32)"),
    ("memory", "memory: 512Mi"),
    ("rootDisk", "rootDisk: {size: 4Gi}"),
    ("workDisk", "workDisk: {size: 8Gi}"),
    ("workSeed", "workSeed: {size: 1Gi}"),
    ("size", "size: 8Gi"),
    ("network", "network: {nat: true}"),
    ("nat", "nat: true` or `nat: false"),
    ("ports", "ports: [{host: 8080, guest: 80}]"),
    ("host", "host: 8080` (a whole number from 1024 to 65535)"),
    ("guest", "guest: 80` (a whole number from 1 to 65535)"),
    ("protocol", "protocol: tcp"),
    ("address", "address: 127.0.0.1"),
    ("egress", "egress: {allow: [10.0.0.0/8]}"),
    ("allow", "allow: [10.0.0.0/8, 192.0.2.7/32]"),
    (
        "sshAuthorizedKeys",
        "sshAuthorizedKeys: [\"ssh-ed25519 AAAA… you@host\"]",
    ),
    (
        "fileSync",
        "fileSync: [{source: ~/.gitconfig, path: /root/.gitconfig}]",
    ),
    ("source", "source: ~/.gitconfig"),
    ("env", "env: {EDITOR: vi}"),
    ("updatePolicy", "updatePolicy: OnNextBoot"),
    (
        "terminationGracePeriodSeconds",
        "terminationGracePeriodSeconds: 30` (a whole number from 0 to 3600)",
    ),
    ("rootfs", "rootfs: {disk: {path: ./debian-12.ext4}}"),
    ("disk", "disk: {path: ./debian-12.ext4}"),
    ("archive", "archive: {path: ./rootfs.tar.zst}"),
    ("oci", "oci: {reference: docker.io/library/debian:12}"),
    ("reference", "reference: docker.io/library/debian:12"),
    (
        "build",
        "build: {from: debian-12, steps: [{run: apt-get install -y nginx}]}",
    ),
    ("kernel", "kernel: {path: /boot/vmlinuz}"),
    ("modules", "modules: {path: /lib/modules/6.1.0}"),
    ("initrd", "initrd: {path: ./initrd.img}"),
    ("path", "path: ./debian-12.ext4"),
    ("sha256", "sha256: \"<64 hexadecimal digits>\""),
    ("run", "run: apt-get install -y nginx"),
];

/// Fields that can't be left out.
const REQUIRED: [&str; 10] = [
    "metadata", "name", "spec", "image", "rootfs", "path", "size", "host", "guest", "allow",
];

/// `for example` and how the field is written, with its backquotes.
fn example(field: &str) -> Option<String> {
    let name = last_name(field);
    let (_, text) = EXAMPLES.iter().find(|(known, _)| *known == name)?;
    let end = if text.ends_with(')') { "" } else { "`" };
    Some(format!("for example `{text}{end}"))
}

fn last_name(field: &str) -> &str {
    let name = field.rsplit('.').next().unwrap_or(field);
    name.split('[').next().unwrap_or(name)
}

/// Whether the values of this mapping are free text under free keys.
fn is_text_map(field: &str) -> bool {
    ["metadata.labels.", "metadata.annotations.", "spec.env."]
        .iter()
        .any(|prefix| field.starts_with(prefix))
}

/// What serde found in `field`; `raw` is the value as it stands in the file.
pub(super) fn decode(what: &What, field: &str, raw: Option<&str>) -> Words {
    match what {
        What::UnknownField {
            field: unknown,
            expected,
        } => unknown_field(unknown, field, expected),
        What::MissingField(missing) => (
            format!("`{missing}` is missing in `{field}`"),
            example(missing).map_or_else(
                || format!("add `{missing}: …`"),
                |example| format!("add it, {example}"),
            ),
        ),
        What::UnknownVariant { variant, expected } => {
            let did_you_mean = nearest(variant, expected)
                .map(|near| format!("did you mean `{near}`? "))
                .unwrap_or_default();
            let message = if variant.is_empty() {
                format!("`{field}` has no value")
            } else {
                format!("`{variant}` is not a value of `{field}`")
            };
            (
                message,
                format!("{did_you_mean}write one of {}", listed(expected)),
            )
        }
        What::Unfit { found, wanted } => unfit(found, wanted, field, raw),
        What::OutOfRange(found) => (
            format!("`{field}` is {found}, which is out of range"),
            write_example(field).unwrap_or_else(|| "write a smaller number".to_owned()),
        ),
        What::Refused(message) => (
            format!("`{field}`: {message}"),
            write_example(field).unwrap_or_else(|| "correct the value".to_owned()),
        ),
    }
}

fn write_example(field: &str) -> Option<String> {
    Some(format!("write {}", example(field)?))
}

fn unknown_field(unknown: &str, inside: &str, expected: &[&str]) -> Words {
    let message = format!("`{inside}` has no field `{unknown}`");
    let remedy = match nearest(unknown, expected) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("remove it; `{inside}` takes {}", listed(expected)),
    };
    (message, remedy)
}

fn unfit(found: &str, wanted: &str, field: &str, raw: Option<&str>) -> Words {
    let wanted = match wanted {
        "a string" | "a string or bytes" => "text",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "a mapping",
        w if w.starts_with("struct ") => "a mapping",
        "u8" | "u16" | "u32" | "u64" => "a whole number",
        "IP address" => "an IP address",
        other => other,
    };
    if found == "nothing" {
        return (
            format!("`{field}` has no value; {wanted} is wanted"),
            match write_example(field) {
                Some(example) if REQUIRED.contains(&last_name(field)) => example,
                Some(example) => format!("{example}, or leave the field out"),
                None => "write a value, or leave the field out".to_owned(),
            },
        );
    }
    let found = match raw {
        Some(raw) if !found.starts_with("the text") && !matches!(found, "a list" | "a mapping") => {
            format!("`{raw}`")
        }
        _ => found.to_owned(),
    };
    let message = format!("`{field}` is {found}; {wanted} is wanted");
    let scalar = raw.filter(|raw| !raw.contains('\n'));
    let remedy = match scalar {
        Some(raw) if wanted == "text" && (is_text_map(field) || example(field).is_none()) => {
            format!("put it in quotes: `\"{}\"`", raw.replace('"', "\\\""))
        }
        _ => write_example(field).unwrap_or_else(|| format!("write {wanted}")),
    };
    (message, remedy)
}

/// The document isn't a mapping.
pub(super) fn not_a_document() -> Words {
    (
        "this is not a document of banger's".to_owned(),
        format!(
            "a document has the fields `apiVersion: {API_VERSION}`, `kind: VirtualMachine` or \
             `kind: Image`, `metadata` and `spec`, each on its own line at the left edge"
        ),
    )
}

/// A field that every document has isn't there.
pub(super) fn missing(field: &str) -> Words {
    (
        format!("`{field}` is missing"),
        example(field).map_or_else(String::new, |example| format!("add it, {example}")),
    )
}

/// Lines that a merge left behind.
pub(super) fn merge_conflict() -> Words {
    (
        "this is the mark of a merge conflict".to_owned(),
        "resolve the conflict: keep one of the two sides, and remove the lines that begin with \
         `<<<<<<<`, `=======` and `>>>>>>>`"
            .to_owned(),
    )
}

/// What the YAML parser found.
pub(super) fn yaml(error: &serde_saphyr::Error) -> (Option<(u32, u32)>, Words) {
    let error = error.without_snippet();
    let at = error.location().and_then(tree::position);
    (at, yaml_words(error))
}

fn yaml_words(error: &serde_saphyr::Error) -> Words {
    use serde_saphyr::Error;
    use serde_saphyr::budget::BudgetBreach;
    let too_big = |what: &str, most: usize| {
        (
            format!("{what}; more than {most} are not read"),
            "write it out plainly: no spec needs nearly as much".to_owned(),
        )
    };
    match error {
        Error::DuplicateMappingKey { key, .. } => (
            match key {
                Some(key) => format!("the key `{key}` stands twice in the same mapping"),
                None => "a key stands twice in the same mapping".to_owned(),
            },
            "keep one of the two and remove the other".to_owned(),
        ),
        Error::AliasError { error, .. } => yaml_words(error.without_snippet()),
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => too_deep(),
            BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. } => too_big(
                "the document has too many anchors or aliases",
                limits::MAX_ALIASES,
            ),
            _ => too_big("the document holds too many values", limits::MAX_NODES),
        },
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => too_big(
            "the aliases of the document stand for too many values",
            limits::MAX_ALIASED_NODES,
        ),
        Error::Message { msg, .. } if msg.starts_with("a key is") => syntax(msg),
        Error::UnknownAnchor { .. } => (
            "this alias refers to an anchor that doesn't exist".to_owned(),
            "write the value itself, or define the anchor before with `&name`; text that begins \
             with `*` needs quotes"
                .to_owned(),
        ),
        other => {
            let message = DefaultMessageFormatter.format_message(other).into_owned();
            syntax(&message)
        }
    }
}

fn too_deep() -> Words {
    (
        format!(
            "the document is nested too deeply; more than {} levels are not read",
            limits::MAX_DEPTH
        ),
        "write it out plainly: no spec needs nearly as much".to_owned(),
    )
}

fn syntax(message: &str) -> Words {
    let lower = message.to_lowercase();
    if lower.contains("recursion limit") || lower.contains("nest") && lower.contains("limit") {
        return too_deep();
    }
    let remedy = if lower.contains("tab") {
        "indent with spaces, not with tabs"
    } else if lower.contains("escape") {
        "write the text in single quotes, between which a backslash is a backslash"
    } else if lower.contains("a key is") {
        "write a single word before the `:`"
    } else if lower.contains("\\u{") {
        "remove this character: it can't be seen, and no document has it"
    } else if lower.contains("quote") || lower.contains("scalar") || lower.contains("character") {
        "close the quote that was opened; text that begins with a quote, `[`, `{`, `*`, `&`, `!`, \
         `%`, `@` or a backquote, or that holds `: ` or ` #`, needs quotes around all of it"
    } else if lower.contains("tag") {
        "remove the tag (`!…`), or put the text in quotes"
    } else if lower.contains("flow") || lower.contains("bracket") || lower.contains("brace") {
        "close every `[` and `{` and put a comma between their items"
    } else if lower.contains("mapping values") || lower.contains("simple key") {
        "write each `key: value` on a line of its own, with a blank after the colon and the same \
         indentation as its neighbours; text that holds `: ` needs quotes"
    } else if lower.contains("anchor") {
        "text that begins with `&` or `*` needs quotes"
    } else {
        "check the indentation of this line and of the one before it, and that every quote, `[` \
         and `{` is closed"
    };
    (
        format!("this is not valid YAML: {message}"),
        remedy.to_owned(),
    )
}
