//! What 64 taps cost: in parallel, one after another, and in a bare loop of the
//! same system calls in one process, which is the limit. Twice: cold taps for
//! VMs (made, enslaved, up), and warm ones for the pool (made, enslaved). Then
//! what the pool saves: taps from it, and back to it.
//!
//! As root: `cargo run -p banger-helper --example bench_taps [ROUNDS] [--at-most
//! RATIO]`. It works in a network namespace of its own.
#![allow(clippy::unwrap_used, missing_docs)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banger_helper::netlink::Netlink;
use banger_helper::op::{bridge, pool, tap};
use banger_helper::tun::Tap;
use banger_helper::{Host, Outcome};
use banger_protocol::{Install, PoolSize, Slot, VmUid, WarmUps};
use clap::Parser;
use futures::{StreamExt, stream};
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::InfoKind;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use rtnetlink::LinkUnspec;
use tokio::runtime::{Builder, Runtime};

const TAPS: u16 = 64;
const PARALLEL: u8 = 16;
/// What must be within so many times its limit, the bare loop.
const JUDGED: &str = "VMs' taps, 16 at once";

/// Makes the taps, and answers how long that took.
type Way = fn(&Bench) -> Duration;

fn main() -> ExitCode {
    let Arguments { rounds, at_most } = Arguments::parse();
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run this as root");
    // As the helper's own.
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let host = Arc::new(Host::new(install()));
    runtime.block_on(bridge::ensure(&host, false)).unwrap();
    let netlink = {
        let _inside = runtime.enter();
        Netlink::open().unwrap()
    };
    let link = runtime.block_on(netlink.link("br-bench")).unwrap().unwrap();

    let bench = Bench {
        runtime,
        host,
        netlink,
        bridge: link.index,
    };
    let ways: [(&str, Way); 10] = [
        ("VMs' taps, bare loop", |b| b.bare("bgr", Some(uid(1)))),
        ("VMs' taps, one after another", |b| b.cold(1)),
        (JUDGED, |b| b.cold(PARALLEL.into())),
        ("pool, bare loop", |b| b.bare("tap-pool-", None)),
        ("pool, one after another", |b| b.pool(1)),
        ("pool, 4 at once", |b| b.pool(4)),
        ("pool, 16 at once", |b| b.pool(PARALLEL)),
        ("VMs' taps, warm, 16 at once", |b| b.warm(PARALLEL.into())),
        ("given back, deleted", |b| b.back(false)),
        ("given back, kept", |b| b.back(true)),
    ];
    // The ways take turns, so that the machine's moods hit them alike.
    let mut times = vec![Vec::new(); ways.len()];
    for round in 0..=rounds {
        for (way, times) in ways.iter().zip(&mut times) {
            let took = way.1(&bench);
            bench.clear();
            if round > 0 {
                times.push(took);
            }
        }
    }
    println!("{TAPS} taps, median of {rounds} rounds (fastest, slowest), against the limit above");
    let mut limit = Duration::ZERO;
    let mut beyond = false;
    for (way, mut times) in ways.iter().zip(times) {
        times.sort();
        let (fastest, median, slowest) = (times[0], times[rounds / 2], times[rounds - 1]);
        if way.0.ends_with("bare loop") || way.0.ends_with("deleted") {
            limit = median;
        }
        let ratio = median.as_secs_f64() / limit.as_secs_f64();
        beyond |= way.0 == JUDGED && at_most.is_some_and(|most| ratio > most);
        println!(
            "{:<30} {:6.1} ms ({:.1}, {:.1})  {ratio:.2}x",
            way.0,
            millis(median),
            millis(fastest),
            millis(slowest),
        );
    }
    if !beyond {
        return ExitCode::SUCCESS;
    }
    eprintln!("{JUDGED}: that is too much");
    ExitCode::FAILURE
}

/// What 64 taps cost.
#[derive(Parser)]
struct Arguments {
    /// Measured runs of each kind.
    #[arg(default_value_t = 7)]
    rounds: usize,
    /// Fail where VMs' cold taps, 16 at once, take more than so many times the limit.
    #[arg(long)]
    at_most: Option<f64>,
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

struct Bench {
    runtime: Runtime,
    host: Arc<Host>,
    netlink: Netlink,
    bridge: u32,
}

impl Bench {
    /// The same calls, one after another, on one socket, with nothing around them.
    fn bare(&self, name: &str, uid: Option<VmUid>) -> Duration {
        let begun = Instant::now();
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )
        .unwrap();
        for n in 1..=TAPS {
            let name = format!("{name}{n}");
            let tap = Tap::make(&name, 0).unwrap();
            let message = LinkUnspec::new_with_name(&name).controller(self.bridge);
            let message = match uid {
                Some(uid) => message.alias(uid.to_string()).up(),
                None => message.alias(pool::ALIAS),
            };
            ask(&socket, RouteNetlinkMessage::SetLink(message.build()));
            tap.persist().unwrap();
        }
        begun.elapsed()
    }

    fn cold(&self, parallel: usize) -> Duration {
        let host = &self.host;
        let begun = Instant::now();
        self.runtime.block_on(async {
            let all = stream::iter(1..=TAPS).map(|n| {
                let host = Arc::clone(host);
                // A task each, as the server runs them.
                tokio::spawn(
                    async move { tap::ensure(&host, uid(n), Slot::try_from(n).unwrap()).await },
                )
            });
            let done: Vec<_> = all.buffer_unordered(parallel).collect().await;
            for one in done {
                assert!(matches!(one.unwrap().unwrap(), Outcome::Changed(_)));
            }
        });
        begun.elapsed()
    }

    fn warm(&self, parallel: usize) -> Duration {
        self.pool(PARALLEL);
        self.cold(parallel)
    }

    /// One after another.
    fn back(&self, kept: bool) -> Duration {
        if kept {
            self.pool(PARALLEL);
        }
        self.cold(PARALLEL.into());
        let begun = Instant::now();
        self.runtime.block_on(async {
            for n in 1..=TAPS {
                let slot = Slot::try_from(n).unwrap();
                tap::remove(&self.host, uid(n), slot).await.unwrap();
            }
        });
        begun.elapsed()
    }

    fn pool(&self, parallel: u8) -> Duration {
        let size = PoolSize::try_from(u8::try_from(TAPS).unwrap()).unwrap();
        let parallel = WarmUps::try_from(parallel).unwrap();
        let begun = Instant::now();
        let done = self
            .runtime
            .block_on(pool::ensure(&self.host, size, parallel));
        assert!(matches!(done.unwrap(), Outcome::Changed(_)));
        begun.elapsed()
    }

    fn clear(&self) {
        self.runtime.block_on(async {
            let off = (PoolSize::default(), WarmUps::try_from(1).unwrap());
            pool::ensure(&self.host, off.0, off.1).await.unwrap();
            let mut left = self.netlink.links().await.unwrap();
            left.retain(|link| link.kind == Some(InfoKind::Tun));
            for link in &left {
                let message = LinkUnspec::new_with_index(link.index).link_group(9);
                self.netlink.set(&link.name, message.build()).await.unwrap();
            }
            if !left.is_empty() {
                self.netlink.delete_group(9).await.unwrap();
            }
        });
    }
}

fn uid(n: u16) -> VmUid {
    VmUid::new(uuid::Uuid::from_u128(n.into()))
}

/// One request and its acknowledgement.
fn ask(socket: &OwnedFd, message: RouteNetlinkMessage) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    message.finalize();
    let mut buffer = vec![0; message.buffer_len()];
    message.serialize(&mut buffer);
    let fd = socket.as_raw_fd();
    send(fd, &buffer, MsgFlags::empty()).unwrap();
    let mut answer = [0u8; 4096];
    let length = recv(fd, &mut answer, MsgFlags::empty()).unwrap();
    // `struct nlmsgerr` after the header (netlink(7)).
    assert!(length >= 20);
    assert_eq!(answer[16..20], [0; 4], "refused");
}

fn install() -> Install {
    Install {
        bridge: "br-bench".into(),
        ..Install::of("owner", 41_000, 41_000, "10.213.0.0/24".parse().unwrap())
    }
}
