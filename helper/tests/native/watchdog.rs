//! What systemd's watchdog is told.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use banger_helper::server;

use crate::bench::native;

/// How often it is told within a while, of which `WatchdogSec=` is a tenth.
fn told(socket: &Path) -> usize {
    const WHILE: Duration = Duration::from_secs(3);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut times = 0;
    let socket: PathBuf = socket.into();
    runtime.block_on(async {
        let feed = server::feed(socket, WHILE / 10, || times += 1);
        assert!(tokio::time::timeout(WHILE, feed).await.is_err());
    });
    // As a helper that stops does: it waits for all of its threads.
    let before = Instant::now();
    drop(runtime);
    let waited = before.elapsed();
    assert!(waited < WHILE, "its end took {waited:?}");
    times
}

#[test]
fn the_watchdog_is_fed_while_clients_are_served() {
    let name = "the_watchdog_is_fed_while_clients_are_served";
    native(name, &[], |bench| {
        let times = told(&bench.socket);
        assert!((2..=31).contains(&times), "{times}");

        // Somebody listens, and serves nobody: accepting is all that the kernel does.
        let mute = bench.dir().join("mute.sock");
        let _listener = UnixListener::bind(&mute).unwrap();
        assert_eq!(told(&mute), 0);
        assert_eq!(told(&bench.dir().join("nobody.sock")), 0);
    });
}
