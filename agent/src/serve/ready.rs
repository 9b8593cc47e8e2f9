//! When is a guest ready? When its SSH server answers, where it has one.

use std::fs;
use std::net::Ipv6Addr;
use std::thread;
use std::time::{Duration, Instant};

use banger_agent_protocol::{Boot, Readiness};

use crate::boot::INTERFACE;
use crate::guest::{Root, has_ssh_server, public_host_keys};
use crate::{host, log};

/// How long an SSH server may take. One that is installed but not started
/// must not keep a guest from being ready for ever.
const SERVER_DEADLINE: Duration = Duration::from_secs(180);
/// Between two looks: no event says that somebody listens.
const PULSE: Duration = Duration::from_millis(100);
/// SSH's port.
const PORT: u16 = 22;
/// One round of telling the host; there is always another.
const ROUND: Duration = Duration::from_secs(60);

/// Waits until the guest is ready.
pub(super) fn wait(root: &Root) -> Readiness {
    let start = Instant::now();
    let mut ssh = false;
    if has_ssh_server(root) {
        loop {
            ssh = listens();
            if ssh || start.elapsed() >= SERVER_DEADLINE {
                break;
            }
            thread::sleep(PULSE);
        }
        if !ssh {
            log::error(format_args!(
                "the SSH server did not start within {} s",
                SERVER_DEADLINE.as_secs()
            ));
        }
    }
    let table = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    Readiness {
        host_keys: public_host_keys(root),
        ssh,
        ipv6: addresses(&table, INTERFACE),
    }
}

/// Tells the host, until it took it.
pub(super) fn announce(readiness: &Readiness) {
    let message = Boot::Ready {
        host_keys: readiness.host_keys.clone(),
        ssh: readiness.ssh,
        ipv6: readiness.ipv6.clone(),
    };
    while let Err(error) = host::tell(&message, ROUND) {
        log::error(format_args!(
            "the host could not be told of readiness: {error}"
        ));
    }
    log::note("ready");
}

/// Whether somebody takes connections to the port. A connection of our own
/// would cost a slow guest a process of the server's, and a line in its log.
fn listens() -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .any(|table| has_listener(&table, PORT))
}

/// proc(5), /proc/net/tcp: the second column is the local address and port in
/// hexadecimal, the fourth the state; `0A` is `TCP_LISTEN`.
fn has_listener(table: &str, port: u16) -> bool {
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace();
        words.nth(1).is_some_and(|local| local.ends_with(&suffix)) && words.nth(1) == Some("0A")
    })
}

/// proc(5), /proc/net/if_inet6: address in hexadecimal, index, prefix length,
/// scope (`00` is that of all the world), flags, interface.
fn addresses(table: &str, interface: &str) -> Vec<Ipv6Addr> {
    let of_interface = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [address, _, _, "00", _, name] if *name == interface => {
                u128::from_str_radix(address, 16).ok().map(Ipv6Addr::from)
            }
            _ => None,
        }
    };
    table.lines().filter_map(of_interface).collect()
}

#[cfg(test)]
mod tests {
    use super::{addresses, has_listener};

    #[test]
    fn only_addresses_that_others_can_reach_count() {
        let table = "\
00000000000000000000000000000001 01 80 10 80       lo
fdbaac1e000000100000000000000002 02 40 00 82     eth0
fe8000000000000000baacfffe1e0002 02 40 20 80     eth0
fdbaac1e000000100000000000000003 03 40 00 82    eth01
nonsense
";
        let found = addresses(table, "eth0");
        assert_eq!(
            found,
            ["fdba:ac1e:0:10::2"
                .parse::<std::net::Ipv6Addr>()
                .expect("one")]
        );
        assert!(addresses("", "eth0").is_empty());
    }

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0100007F:0017 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 3
";

    #[test]
    fn only_a_listener_counts() {
        assert!(has_listener(TABLE, 22));
        assert!(has_listener(TABLE, 8080));
        assert!(!has_listener(TABLE, 23));
        assert!(!has_listener(TABLE, 80));
        assert!(!has_listener("", 22));
    }

    #[test]
    fn a_listener_of_our_own_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let table = std::fs::read_to_string("/proc/net/tcp").expect("proc is mounted");
        assert!(has_listener(&table, port));
        drop(listener);
        let table = std::fs::read_to_string("/proc/net/tcp").expect("proc is mounted");
        assert!(!has_listener(&table, port));
    }
}
