//! systemd's watchdog, with a socket of the test's in place of systemd's.

use std::os::unix::net::UnixDatagram;

use banger_testkit::Site;
use sd_notify::NotifyState;

use super::*;

/// `WatchdogSec=` of the shipped unit.
const LIMIT: Duration = Duration::from_secs(30);

struct Systemd {
    socket: UnixDatagram,
    feeder: JoinHandle<()>,
}

impl Systemd {
    fn watches(daemon: &Daemon) -> Self {
        let path = daemon.root.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let ours = UnixDatagram::unbound().unwrap();
        ours.connect(&path).unwrap();
        let tell = move || {
            let text = NotifyState::Watchdog.to_string();
            ours.send(text.as_bytes()).unwrap();
        };
        let heartbeat = daemon.handle.heartbeat();
        Self {
            socket,
            feeder: tokio::spawn(heartbeat.feed(LIMIT, tell)),
        }
    }

    /// How often it was told within so much time.
    async fn fed(&self, within: Duration) -> u32 {
        let mut fed = 0;
        let end = Instant::now() + within;
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut message = [0; 64];
            while let Ok(length) = self.socket.recv(&mut message) {
                assert_eq!(&message[..length], b"WATCHDOG=1");
                fed += 1;
            }
        }
        fed
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.feeder.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_stands_still_is_not_kept_alive() {
    let daemon = Daemon::start().await;
    daemon.until("a pass", |_| true).await;
    let systemd = Systemd::watches(&daemon);
    // An idle loop moves on, too.
    assert!(systemd.fed(Duration::from_secs(600)).await >= 55);

    let observing = Site {
        name: "observing".into(),
        nth: 0,
    };
    daemon.host.faults().aim(observing, When::Timeout);
    // The next pass hangs; for a while that may be a slow host.
    systemd.fed(Duration::from_secs(200)).await;
    assert!(daemon.host.faults().struck());
    assert_eq!(systemd.fed(Duration::from_secs(3600)).await, 0);
    daemon.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_ended_is_not_kept_alive() {
    let daemon = Daemon::start().await;
    daemon.until("a pass", |_| true).await;
    let systemd = Systemd::watches(&daemon);
    daemon.task.abort();
    systemd.fed(Duration::from_secs(200)).await;
    assert_eq!(systemd.fed(Duration::from_secs(600)).await, 0);
}
