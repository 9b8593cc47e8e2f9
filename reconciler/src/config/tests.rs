#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;

#[test]
fn a_missing_file_means_defaults_and_a_bad_one_does_not() {
    let home = tempfile::tempdir().unwrap();
    let config = load(home.path()).unwrap();
    assert_eq!(
        config.directories.vms,
        home.path().join(".config/banger/vms")
    );

    let file = path(home.path());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "[limits]\nmaxConcurrentActions = 7\n").unwrap();
    assert_eq!(load(home.path()).unwrap().limits.max_concurrent_actions, 7);

    fs::write(&file, "[limit]\n").unwrap();
    let Err(ConfigError::Invalid { problems, .. }) = load(home.path()) else {
        panic!("an unknown table");
    };
    assert_eq!(problems[0].at, Some((1, 2)));

    fs::write(&file, b"\xff").unwrap();
    assert!(matches!(load(home.path()), Err(ConfigError::Read { .. })));
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(matches!(load(home.path()), Err(ConfigError::Read { .. })));
}
