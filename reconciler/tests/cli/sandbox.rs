//! The program `bangerd` confines itself (landlock(7)): here without its unit,
//! and where the tests are root's without a mode that would stop it.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use banger::client::Daemon;
use banger::sandbox::Landlock;
use serde_json::Value;

use crate::bench::Bench;

/// The daemon on the simulated host; it says at `notify` that it is ready.
pub(crate) fn bangerd(bench: &Bench, state: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bangerd"));
    command
        .arg("--sim")
        .arg("--state-dir")
        .arg(bench.path(state))
        .arg("--config-dir")
        .arg(bench.path("home/.config/banger"))
        .arg("--socket")
        .arg(bench.socket())
        .env_clear()
        .env("HOME", bench.path("home"))
        .env("NOTIFY_SOCKET", bench.path("notify"));
    command
}

/// Its database is a link that somebody planted.
fn link_database(bench: &Bench, state: &str, to: &str) {
    fs::create_dir_all(bench.path(state)).unwrap();
    fs::create_dir_all(bench.path(to)).unwrap();
    let database = bench.path(&format!("{to}/banger.db"));
    symlink(database, bench.path(&format!("{state}/banger.db"))).unwrap();
}

#[test]
fn the_daemon_writes_its_own_directories_alone() {
    let bench = Bench::new();
    let systemd = UnixDatagram::bind(bench.path("notify")).unwrap();
    systemd
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    link_database(&bench, "inside", "inside/db");
    let mut daemon = bangerd(&bench, "inside")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ready = systemd.recv(&mut [0; 64]);
    let version = Daemon::at(bench.socket()).version();
    let doctor = bench.banger(&["doctor", "-o", "json"]);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    ready.unwrap();
    let landlock = version.unwrap().landlock.unwrap();
    let checks: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let checks = checks["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "Landlock");
    let verdict = &check.unwrap()["verdict"];
    if !matches!(landlock, Landlock::Full { .. } | Landlock::Partial { .. }) {
        assert_eq!(verdict, "warn");
        eprintln!("SKIPPED the_daemon_writes_its_own_directories_alone: {landlock:?}");
        return;
    }
    assert_eq!(verdict, "pass");

    // The same, and the link leads out.
    link_database(&bench, "outside", "elsewhere");
    let output = bangerd(&bench, "outside").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("banger.db"),
        "{said}"
    );
    assert_eq!(fs::read_dir(bench.path("elsewhere")).unwrap().count(), 0);
    assert!(fs::read_dir(bench.path("inside/db")).unwrap().count() > 0);
}
