#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use banger_protocol::install::SUBNET;

use super::*;

pub(crate) fn good() -> Install {
    Install {
        subnet6: None,
        uid_base: 900_000,
        slots: 1000,
        ..Install::of("owner", 1000, 1000, SUBNET)
    }
}

fn field(change: impl FnOnce(&mut Install)) -> &'static str {
    let mut install = good();
    change(&mut install);
    match check(&install) {
        Err(InstallError::Value { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn values_out_of_their_range_are_named() {
    check(&good()).unwrap();
    assert_eq!(field(|i| i.owner_uid = 0), "ownerUid");
    assert_eq!(field(|i| i.bridge = "bgr1".into()), "bridge");
    assert_eq!(field(|i| i.bridge = "a-name-of-16-byt".into()), "bridge");
    assert_eq!(field(|i| i.bridge = "x\" accept".into()), "bridge");
    assert_eq!(field(|i| i.slots = 0), "slots");
    assert_eq!(
        field(|i| i.subnet = "10.0.0.0/24".parse().unwrap()),
        "slots"
    );
    assert_eq!(
        field(|i| i.subnet = "10.0.0.0/31".parse().unwrap()),
        "slots"
    );
    assert_eq!(
        field(|i| i.subnet = "127.0.0.0/8".parse().unwrap()),
        "subnet"
    );
    assert_eq!(field(|i| i.uid_base = 0), "uidBase");
    assert_eq!(field(|i| i.uid_base = u32::MAX - 500), "uidBase");
    assert_eq!(field(|i| i.owner_uid = 900_500), "uidBase");
    assert_eq!(field(|i| i.jail_dir = "/var/../etc".into()), "jailDir");
    assert_eq!(field(|i| i.state_dir = "banger".into()), "stateDir");
    assert_eq!(field(|i| i.jailer = "/a:b".into()), "jailer");
}

/// A directory whose chain is root's, or the reason why there is none.
pub(crate) fn roots_directory(name: &str) -> Option<tempfile::TempDir> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED {name}: needs root");
        return None;
    }
    let directory = tempfile::tempdir_in("/run").unwrap();
    if let Err(e) = trusted_directory(directory.path()) {
        eprintln!("SKIPPED {name}: {e}");
        return None;
    }
    Some(directory)
}

#[test]
fn only_what_root_alone_can_write_is_read() {
    let Some(at) = roots_directory("only_what_root_alone_can_write_is_read") else {
        return;
    };
    let path = at.path().join("install.toml");
    assert!(matches!(load(&path), Err(InstallError::Read { .. })));
    fs::write(&path, toml::to_string(&good()).unwrap()).unwrap();
    assert_eq!(load(&path).unwrap(), good());

    let untrusted = |path: &Path| matches!(load(path), Err(InstallError::Trust(_)));
    for mode in [0o664, 0o646] {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert!(untrusted(&path), "mode {mode:o}");
    }
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    chown(&path, Some(1000), None).unwrap();
    assert!(untrusted(&path), "another owner");
    chown(&path, Some(0), None).unwrap();

    let link = at.path().join("link.toml");
    symlink(&path, &link).unwrap();
    assert!(
        matches!(load(&link), Err(InstallError::Read { .. })),
        "a link"
    );
    fs::set_permissions(at.path(), PermissionsExt::from_mode(0o777)).unwrap();
    assert!(untrusted(&path), "a directory that others write");
    fs::set_permissions(at.path(), PermissionsExt::from_mode(0o755)).unwrap();

    fs::write(&path, "owner = 3\n").unwrap();
    assert!(matches!(load(&path), Err(InstallError::Parse { .. })));
    fs::write(
        &path,
        format!("extra = 1\n{}", toml::to_string(&good()).unwrap()),
    )
    .unwrap();
    assert!(matches!(load(&path), Err(InstallError::Parse { .. })));
}

#[test]
fn a_program_in_somebody_elses_hands_is_not_run() {
    let Some(at) = roots_directory("a_program_in_somebody_elses_hands_is_not_run") else {
        return;
    };
    let directory = at.path().join("bin");
    fs::create_dir(&directory).unwrap();
    let program = directory.join("firecracker");
    fs::write(&program, "").unwrap();
    assert!(trusted_program(&program).is_err(), "not executable");
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    trusted_program(&program).unwrap();

    let link = at.path().join("link");
    symlink(&directory, &link).unwrap();
    assert!(
        trusted_program(&link.join("firecracker")).is_err(),
        "behind a link"
    );
    chown(&directory, Some(1000), None).unwrap();
    assert_eq!(trusted_program(&program).unwrap_err().path, directory);
    chown(&directory, Some(0), None).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o775)).unwrap();
    assert_eq!(trusted_program(&program).unwrap_err().path, program);
}
