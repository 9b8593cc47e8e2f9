#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Write;
use crate::cli::Exit;

fn write(path: &Path, before: Option<&str>, after: Option<&str>) -> Write {
    Write {
        path: path.to_owned(),
        before: before.map(|text| text.as_bytes().to_vec()),
        after: after.map(str::to_owned),
    }
}

#[test]
fn what_somebody_else_changed_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.yaml");
    // It came into being, it changed, it went.
    for (now, before) in [
        (Some("theirs"), None),
        (Some("theirs"), Some("old")),
        (None, Some("old")),
    ] {
        match now {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        for after in [Some("ours"), None] {
            let failure = write(&path, before, after).perform().unwrap_err();
            assert_eq!(failure.exit, Exit::Conflict);
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), now);
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_mode_stays_and_nothing_is_left_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.yaml");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    write(&path, Some("old"), Some("new")).perform().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    write(&path, Some("new"), None).perform().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_is_missing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vms/web.yaml");
    write(&path, None, Some("new")).perform().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
}

#[test]
fn a_write_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.yaml");
    let read = || fs::read_to_string(&path).ok();
    for (before, after) in [
        (None, Some("new")),
        (Some("old"), Some("new")),
        (Some("old"), None),
    ] {
        let _ = fs::remove_file(&path);
        if let Some(text) = before {
            fs::write(&path, text).unwrap();
        }
        let write = write(&path, before, after);
        let undo = write.undo().unwrap();
        write.perform().unwrap();
        assert_eq!(read().as_deref(), after);
        undo.perform().unwrap();
        assert_eq!(read().as_deref(), before);
    }
    // A link comes back as a link.
    let target = dir.path().join("target");
    fs::rename(&path, &target).unwrap();
    std::os::unix::fs::symlink("target", &path).unwrap();
    let write = write(&path, Some("old"), None);
    let undo = write.undo().unwrap();
    write.perform().unwrap();
    assert!(!path.exists());
    undo.perform().unwrap();
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("target"));
}
