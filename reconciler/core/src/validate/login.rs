//! Who may log in, and with what environment.

use std::collections::BTreeMap;

use super::findings::Findings;
use super::keys;
use crate::api::bounds::{MAX_ENV, MAX_ENV_BYTES, MAX_KEYS, MAX_KEYS_BYTES};

pub(super) fn ssh_keys(list: &[String], findings: &mut Findings<'_>) {
    let field = "spec.sshAuthorizedKeys";
    let bytes: usize = list.iter().map(String::len).sum();
    if list.len() > MAX_KEYS {
        findings.refuse(
            field,
            format!("{} keys are too many", list.len()),
            format!("list {MAX_KEYS} or fewer"),
        );
    } else if bytes > MAX_KEYS_BYTES {
        findings.refuse(
            field,
            format!("keys of {bytes} bytes are too long together"),
            format!("keep them below {MAX_KEYS_BYTES} bytes (96 KiB); ed25519 keys are short"),
        );
    }
    for (index, key) in list.iter().enumerate() {
        if let Some((message, remedy)) = keys::refusal(key) {
            findings.refuse(&format!("{field}[{index}]"), message, remedy);
        }
    }
}

pub(super) fn environment(env: &BTreeMap<String, String>, findings: &mut Findings<'_>) {
    if env.len() > MAX_ENV {
        findings.refuse(
            "spec.env",
            format!("{} variables are too many", env.len()),
            format!("set {MAX_ENV} or fewer"),
        );
    }
    let bytes: usize = env
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > MAX_ENV_BYTES {
        findings.refuse(
            "spec.env",
            format!("an environment of {bytes} bytes is too long"),
            format!(
                "keep it below {MAX_ENV_BYTES} bytes (32 KiB); put more into a file of the guest"
            ),
        );
    }
    for (name, value) in env {
        let field = format!("spec.env.{name}");
        if !is_name(name) {
            findings.refuse(
                &field,
                format!("`{name}` is not the name of a variable"),
                "use letters, digits and `_`, not beginning with a digit, such as `EDITOR`",
            );
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            findings.refuse(
                &field,
                format!("the value of `{name}` holds a line break or another control character"),
                "keep it on one line: `/etc/environment` has one variable on each",
            );
        }
    }
}

/// POSIX.1-2017, 8.1, with lower case.
fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
