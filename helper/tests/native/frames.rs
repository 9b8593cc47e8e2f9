//! A guest at its tap: frames as it would send them, and those that reach it.

use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::bench::attach;

/// `struct virtio_net_hdr`: nothing to offload.
pub(crate) const HEADER: [u8; 10] = [0; 10];
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// An Ethernet frame of `frame_mac` that asks who has the gateway's address, and
/// tells that `from` is at `mac`.
pub(crate) fn arp(frame_mac: [u8; 6], mac: [u8; 6], from: [u8; 4]) -> Vec<u8> {
    let mut frame = HEADER.to_vec();
    frame.extend([0xff; 6]);
    frame.extend(frame_mac);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(from);
    frame.extend([0; 6]);
    frame.extend([10, 213, 0, 1]);
    frame
}

/// The next frame, without its header; `None` when there is none by then.
pub(crate) fn frame(tap: &mut File, until: Instant) -> Option<Vec<u8>> {
    let left = until.saturating_duration_since(Instant::now());
    let limit = rustix::time::Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: left.subsec_nanos().into(),
    };
    let mut ready = [PollFd::new(&*tap, PollFlags::IN)];
    if poll(&mut ready, Some(&limit)) != Ok(1) {
        return None;
    }
    let mut bytes = [0; 2048];
    let length = tap.read(&mut bytes).unwrap();
    Some(bytes[HEADER.len()..length].to_vec())
}

/// The address that the next ARP reply on this tap is for.
pub(crate) fn answered(tap: &mut File) -> [u8; 4] {
    let until = Instant::now() + LIMIT;
    loop {
        let frame = frame(tap, until).expect("no ARP reply within 5 s");
        if frame.len() >= 42 && frame[12..14] == [0x08, 0x06] && frame[21] == 2 {
            return frame[38..42].try_into().unwrap();
        }
    }
}

/// An IPv4 datagram over UDP that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) source: [u8; 4],
    target: [u8; 4],
    ports: (u16, u16),
}

/// A tap with somebody behind it who has an address and knows one neighbour.
pub(crate) struct Guest {
    tap: File,
    address: [u8; 4],
    mac: [u8; 6],
    router: [u8; 6],
    /// What came and nobody has asked for yet.
    came: Vec<Datagram>,
}

impl Guest {
    /// At this tap; a guest of the bridge has the MAC of its address.
    pub(crate) fn new(tap: &str, address: [u8; 4], router: [u8; 6]) -> Self {
        let [a, b, c, d] = address;
        let guest = tap.starts_with("bgr");
        Self {
            tap: attach(tap),
            address,
            mac: if guest {
                [2, 0xba, a, b, c, d]
            } else {
                [2, 0, 0, 0, 0, 2]
            },
            router,
            came: Vec::new(),
        }
    }

    /// A datagram, to a neighbour at its MAC or by way of the router.
    pub(crate) fn send(&mut self, to: [u8; 4], from_port: u16, port: u16) {
        let [a, b, c, d] = to;
        let near = self.address[..3] == to[..3] && self.mac[1] == 0xba && d != 1;
        let mac = if near {
            [2, 0xba, a, b, c, d]
        } else {
            self.router
        };
        self.send_to_mac(mac, to, from_port, port);
    }

    pub(crate) fn send_to_mac(&mut self, mac: [u8; 6], to: [u8; 4], from_port: u16, port: u16) {
        // Without a checksum (RFC 768: zero means that there is none).
        let mut datagram = Vec::new();
        datagram.extend(from_port.to_be_bytes());
        datagram.extend(port.to_be_bytes());
        datagram.extend([0, 12, 0, 0]);
        datagram.extend(b"word");
        self.packet(mac, to, 17, &datagram);
    }

    /// The way back of a datagram.
    pub(crate) fn answer(&mut self, to: &Datagram) {
        let (theirs, ours) = to.ports;
        let before = std::mem::replace(&mut self.address, to.target);
        self.send_to_mac(self.router, to.source, ours, theirs);
        self.address = before;
    }

    /// An echo request.
    pub(crate) fn ping(&mut self, to: [u8; 4]) {
        let mut echo = vec![8, 0, 0, 0, 0, 1, 0, 1];
        let sum = checksum(&echo);
        echo[2..4].copy_from_slice(&sum);
        self.packet(self.router, to, 1, &echo);
    }

    fn packet(&mut self, mac: [u8; 6], to: [u8; 4], protocol: u8, body: &[u8]) {
        let length = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
        let mut header = vec![
            0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0,
        ];
        header.extend(self.address);
        header.extend(to);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum);
        let mut rest = vec![0x08, 0x00];
        rest.extend(header);
        rest.extend(body);
        self.raw(mac, &rest);
    }

    /// A frame of any kind: EtherType and what follows.
    pub(crate) fn raw(&mut self, mac: [u8; 6], rest: &[u8]) {
        let mut frame = HEADER.to_vec();
        frame.extend(mac);
        frame.extend(self.mac);
        frame.extend(rest);
        frame.resize(frame.len().max(HEADER.len() + 60), 0);
        self.tap.write_all(&frame).unwrap();
    }

    /// The next datagram to this port. What came before it is kept.
    pub(crate) fn next_to(&mut self, port: u16) -> Datagram {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(found) = self.seen(port) {
                return found;
            }
            let frame = frame(&mut self.tap, until);
            let frame = frame.unwrap_or_else(|| panic!("nothing to port {port} within 5 s"));
            self.came.extend(datagram(&frame));
        }
    }

    /// A datagram to this port among those that came before the last one that
    /// was waited for.
    pub(crate) fn seen(&mut self, port: u16) -> Option<Datagram> {
        let at = self.came.iter().position(|it| it.ports.1 == port)?;
        Some(self.came.remove(at))
    }

    /// Waits for an echo reply.
    pub(crate) fn next_echo(&mut self) {
        let until = Instant::now() + LIMIT;
        loop {
            let frame = frame(&mut self.tap, until).expect("no echo within 5 s");
            if frame.len() > 34 && frame[12..14] == [0x08, 0x00] && frame[23] == 1 && frame[34] == 0
            {
                return;
            }
        }
    }

    /// The EtherTypes of everything that came from a MAC until a datagram to this port.
    pub(crate) fn kinds_until(&mut self, port: u16, from: [u8; 6]) -> Vec<u16> {
        let until = Instant::now() + LIMIT;
        let mut kinds = Vec::new();
        loop {
            let frame = frame(&mut self.tap, until).expect("the last frame");
            if frame[6..12] == from {
                kinds.push(u16::from_be_bytes([frame[12], frame[13]]));
            }
            if datagram(&frame).is_some_and(|it| it.ports.1 == port) {
                return kinds;
            }
        }
    }
}

fn datagram(frame: &[u8]) -> Option<Datagram> {
    if frame.len() < 42 || frame[12..14] != [0x08, 0x00] || frame[14] != 0x45 || frame[23] != 17 {
        return None;
    }
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    Some(Datagram {
        source: frame[26..30].try_into().unwrap(),
        target: frame[30..34].try_into().unwrap(),
        ports: (port(34), port(36)),
    })
}

/// RFC 1071.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2);
    let mut sum: u32 = words
        .map(|it| u32::from(it[0]) << 8 | u32::from(it.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(u16::try_from(sum).unwrap())).to_be_bytes()
}
