//! `tests/run` and `packaging/install` with everything that they call replaced:
//! what they call, in which order and how, and what is counted.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Notes how it was called; `deps` of the host may be refused.
const CARGO: &str = r#"
case "$*" in
    'nextest --version') exit 1 ;;
    *'--bin host -- deps') echo packages >> "$CALLS"; [ -z "$REFUSED" ] || { echo "$REFUSED"; exit 1; } ;;
    *'--test host'*) echo host >> "$CALLS"; echo 'test result: ok. 2 passed; 0 failed; 0 ignored' ;;
    'test '*) echo unit >> "$CALLS"
        echo 'SKIPPED a_native_one: needs root'
        echo 'test result: ok. 5 passed; 0 failed; 0 ignored' ;;
    *'--bin scenarios'*) echo scenarios >> "$CALLS"; echo '3 passed, 0 failed, 0 skipped' ;;
esac
"#;

/// A program in place of another.
fn replace(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// What was called, and what was printed.
fn run(refused: &str) -> (Vec<String>, String) {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let program = |name: &str, text: &str| replace(&path(name), text);
    program("bin/cargo", CARGO);
    program("bin/rustfmt", "");
    program("bin/c++", "");
    program("helper/fuzz/run", "echo fuzz >> \"$CALLS\"");
    program("tests/deps", "echo \"deps $*\" >> \"$CALLS\"");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../run");
    fs::copy(own, path("tests/run")).unwrap();
    let output = Command::new(path("tests/run"))
        .env("PATH", format!("{}:/usr/bin:/bin", path("bin").display()))
        .env("CARGO_TARGET_DIR", path("target"))
        .env("CALLS", path("calls"))
        .env("REFUSED", refused)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let calls = fs::read_to_string(path("calls")).unwrap();
    (calls.lines().map(str::to_owned).collect(), said)
}

#[test]
fn packages_are_there_before_any_test_runs() {
    let (calls, said) = run("");
    let expected = [
        "deps fuzz trace",
        "packages",
        "unit",
        "fuzz",
        "host",
        "scenarios",
    ];
    assert_eq!(calls, expected);
    // fmt, fmt-fuzz, clippy, licences, fuzz; 5 - 1, 2 and 3.
    let end = "SKIPPED a_native_one: needs root\n14 passed, 0 failed, 1 skipped\n";
    assert!(said.ends_with(end), "{said}");
}

#[test]
fn without_packages_the_rest_is_tested_and_the_skipped_is_named() {
    let (calls, said) = run("sudo: a password is required");
    assert_eq!(calls, ["deps fuzz trace", "packages", "unit", "fuzz"]);
    let end = "SKIPPED a_native_one: needs root\n\
               SKIPPED the disposable host's own tests: sudo: a password is required\n\
               SKIPPED scenarios on the disposable host: sudo: a password is required\n\
               9 passed, 0 failed, 3 skipped\n";
    assert!(said.ends_with(end), "{said}");
}

/// As the README has it: `make install OWNER=… FIRECRACKER=… JAILER=…`, on what
/// was built before.
#[test]
fn an_installation_gets_what_make_was_given() {
    let target = tempfile::tempdir().unwrap();
    let path = |name: &str| target.path().join(name);
    replace(&path("dist/banger"), "printf '[%s]' \"$@\"");
    replace(&path("bin/sudo"), "exec \"$@\"");
    let installed = |given: &[&str]| {
        let output = Command::new("make")
            .args(["-s", "--old-file=build", "install"])
            .args(given)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .env("PATH", format!("{}:/usr/bin:/bin", path("bin").display()))
            .env("CARGO_TARGET_DIR", target.path())
            .env_remove("MAKEFLAGS")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let given = [
        "OWNER=ada",
        "FIRECRACKER=/opt/fire cracker",
        "JAILER=/opt/jailer",
    ];
    assert_eq!(
        installed(&given),
        "[system][install][--owner][ada][--firecracker][/opt/fire cracker][--jailer][/opt/jailer]"
    );
    assert_eq!(installed(&[]), "[system][install]");
}
