//! What `bangerd` tells systemd (sd_notify(3)), with a socket of the test's.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::bench::Bench;

#[test]
fn the_daemon_feeds_the_watchdog_that_it_is_told_of() {
    let bench = Bench::new();
    let (socket, notify) = (bench.path("sock"), bench.path("notify"));
    let systemd = UnixDatagram::bind(&notify).unwrap();
    systemd
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_bangerd"))
        .arg("--sim")
        .arg("--state-dir")
        .arg(bench.path("state"))
        .arg("--config-dir")
        .arg(bench.path("home/.config/banger"))
        .arg("--socket")
        .arg(&socket)
        .env_clear()
        .env("HOME", bench.path("home"))
        .env("NOTIFY_SOCKET", &notify)
        .env("WATCHDOG_USEC", "300000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let told = || {
        let mut message = [0; 64];
        let length = systemd.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let words = [told(), told(), told()];
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(words, ["READY=1\n", "WATCHDOG=1\n", "WATCHDOG=1\n"]);
}
