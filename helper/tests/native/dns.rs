//! The DNS server's sockets.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use banger_protocol::{Request, Retry};
use rustix::net::sockopt::set_ip_freebind;
use rustix::net::{AddressFamily, SocketType, listen, socket};

use crate::bench::{native, run};

const REQUEST: Request = Request::EnsureDns {};

fn udp() -> OwnedFd {
    socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap()
}

fn tcp() -> OwnedFd {
    socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()
}

fn bound(socket: &OwnedFd) -> SocketAddr {
    let socket = UdpSocket::from(socket.try_clone().unwrap());
    socket.local_addr().unwrap()
}

#[test]
fn port_53_is_bound_on_the_bridge_s_address_alone() {
    native(
        "port_53_is_bound_on_the_bridge_s_address_alone",
        &["/sbin/ip", "/sys/module/bridge"],
        |bench| {
            let (udp, tcp) = (udp(), tcp());
            let sockets = [udp.as_fd(), tcp.as_fd()];
            // Before the first address of all the kernel takes any.
            run("ip", &["link", "set", "lo", "up"]);
            // Without the address it waits for the bridge, ...
            assert_eq!(bench.error(&REQUEST, &sockets).retry, Retry::Later);
            bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
            bench.changed(&REQUEST, &sockets);
            let at: SocketAddr = "10.213.0.1:53".parse().unwrap();
            assert_eq!((bound(&udp), bound(&tcp)), (at, at));
            bench.unchanged(&REQUEST, &sockets);

            // ... and it is one server's: the next one hears that.
            listen(&tcp, 8).unwrap();
            let (second, third) = (self::udp(), self::tcp());
            let error = bench.error(&REQUEST, &[second.as_fd(), third.as_fd()]);
            assert_eq!((error.step.as_str(), error.retry), ("bind", Retry::Later));
            assert!(error.message.contains("10.213.0.1:53"), "{error}");
        },
    );
}

#[test]
fn the_bridge_may_come_after_the_sockets() {
    native("the_bridge_may_come_after_the_sockets", &[], |bench| {
        let (udp, tcp) = (udp(), tcp());
        for socket in [&udp, &tcp] {
            set_ip_freebind(socket, true).unwrap();
        }
        bench.changed(&REQUEST, &[udp.as_fd(), tcp.as_fd()]);
        listen(&tcp, 8).unwrap();
        run("ip", &["link", "set", "lo", "up"]);
        run("ip", &["addr", "add", "10.213.0.1/24", "dev", "lo"]);
        let client = UdpSocket::bind("10.213.0.1:0").unwrap();
        client.send_to(b"a question", "10.213.0.1:53").unwrap();
        let server = UdpSocket::from(udp);
        let mut buffer = [0; 64];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"a question");
        assert_eq!(from, client.local_addr().unwrap());
        std::net::TcpStream::connect("10.213.0.1:53").unwrap();
    });
}

/// No interface, no setting: of no other would the helper tell systemd-resolved.
#[test]
fn systemd_resolved_is_told_of_the_bridge_alone() {
    native(
        "systemd_resolved_is_told_of_the_bridge_alone",
        &["/sbin/ip", "/sys/module/bridge"],
        |bench| {
            let told = |bench: &crate::bench::Bench| {
                let error = bench.error(&Request::EnsureResolver {}, &[]);
                assert_eq!(error.retry, Retry::Later);
                error.step
            };
            assert_eq!(told(bench), "RTM_GETLINK");
            // Somebody else's bridge of that name is none.
            run("ip", &["link", "add", "br-test", "type", "bridge"]);
            assert_eq!(told(bench), "RTM_GETLINK");
            bench.unchanged(&Request::RemoveResolver {}, &[]);
        },
    );
}

#[test]
fn no_other_socket_gets_a_privileged_port() {
    native("no_other_socket_gets_a_privileged_port", &[], |bench| {
        run("ip", &["link", "set", "lo", "up"]);
        let (udp, tcp) = (udp(), tcp());
        let six = socket(AddressFamily::INET6, SocketType::DGRAM, None).unwrap();
        let elsewhere = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (local, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let cases: [[BorrowedFd<'_>; 2]; 6] = [
            [tcp.as_fd(), udp.as_fd()],
            [six.as_fd(), tcp.as_fd()],
            [elsewhere.as_fd(), tcp.as_fd()],
            [udp.as_fd(), listening.as_fd()],
            [udp.as_fd(), local.as_fd()],
            [file.as_fd(), tcp.as_fd()],
        ];
        for sockets in cases {
            bench.error(&REQUEST, &sockets);
            // One that is wrong keeps the other from being bound, too.
            assert_eq!((bound(&udp).port(), bound(&tcp).port()), (0, 0));
        }
    });
}
