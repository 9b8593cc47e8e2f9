//! The owner's files that a guest is given: where they come from and go to.
//! What they really are is seen when they are read.

use std::collections::BTreeMap;

use super::findings::Findings;
use crate::api::bounds::{MAX_FILES, MAX_FILES_BYTES, MAX_PATH};
use crate::api::virtual_machine::FileSync;

/// Directories of a guest that its kernel makes, and what banger writes itself.
const TAKEN: [&str; 5] = [
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/root/.ssh/authorized_keys",
];

pub(super) fn check(files: &[FileSync], findings: &mut Findings<'_>) {
    let field = "spec.fileSync";
    let bytes: usize = files.iter().map(|file| file.path.len()).sum();
    if files.len() > MAX_FILES || bytes > MAX_FILES_BYTES {
        findings.refuse(
            field,
            format!("{} files are too many", files.len()),
            format!("list {MAX_FILES} or fewer; put more into the image, or copy it with scp"),
        );
    }
    let mut seen = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        let at = |key: &str| format!("{field}[{index}].{key}");
        let source = file.source.strip_prefix("~/").filter(|it| is_plain(it));
        if source.is_none() {
            findings.refuse(
                &at("source"),
                format!(
                    "`{}` is no file below the home directory",
                    shown(&file.source)
                ),
                "write `~/` and the path below it, such as `~/.gitconfig`, without `.` and `..`",
            );
        }
        let path = file.path.strip_prefix('/').filter(|it| is_plain(it));
        if path.is_none() {
            findings.refuse(
                &at("path"),
                format!("`{}` is no absolute path of a file", shown(&file.path)),
                "write where it goes in the guest, such as `/root/.gitconfig`, without `.` and `..`",
            );
        } else if let Some(taken) = TAKEN.iter().find(|it| is_within(&file.path, it)) {
            findings.refuse(
                &at("path"),
                format!(
                    "`{}` is no place for a file: the guest's kernel or banger makes {taken}",
                    file.path
                ),
                "choose a path elsewhere; keys for logins belong into `sshAuthorizedKeys`",
            );
        }
        if let Some(first) = seen.insert(file.path.as_str(), index) {
            findings.refuse(
                &at("path"),
                format!(
                    "`{}` is written twice, here and by `fileSync[{first}]`",
                    shown(&file.path)
                ),
                "keep one of the two",
            );
        }
    }
    for (path, index) in &seen {
        if let Some((below, _)) = seen
            .iter()
            .find(|(it, _)| *it != path && is_within(it, path))
        {
            findings.refuse(
                &format!("{field}[{index}].path"),
                format!(
                    "`{}` can't be a file: `{}` is below it",
                    shown(path),
                    shown(below)
                ),
                "choose another path for one of the two",
            );
        }
    }
}

/// Components that are names, and nothing that a terminal or a path reads otherwise.
fn is_plain(relative: &str) -> bool {
    relative.len() < MAX_PATH
        && !relative.chars().any(char::is_control)
        && relative
            .split('/')
            .all(|name| !["", ".", ".."].contains(&name))
}

fn is_within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Of a path that may hold anything, enough to know it by.
fn shown(path: &str) -> String {
    path.escape_debug().take(80).collect()
}
