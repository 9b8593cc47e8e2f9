//! A guest at its tap over IPv6: frames as it would send them, and those that
//! reach it.

use std::fs::File;
use std::io::Write;
use std::net::Ipv6Addr;
use std::time::Instant;

use crate::bench::attach;
use crate::frames::{HEADER, LIMIT, checksum, frame};

/// All nodes, and the MAC of that group (RFC 2464).
pub(crate) const EVERYBODY: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const EVERYBODYS_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

const UDP: u8 = 17;
const ICMP: u8 = 58;
const OPTIONS: u8 = 60;
pub(crate) const ROUTER_ADVERT: u8 = 134;
pub(crate) const NEIGHBOUR_SOLICIT: u8 = 135;
pub(crate) const NEIGHBOUR_ADVERT: u8 = 136;

/// Who sends, as the frame and the packet have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub(crate) mac: [u8; 6],
    pub(crate) address: Ipv6Addr,
}

/// A datagram that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram {
    pub(crate) source: Ipv6Addr,
    target: Ipv6Addr,
    ports: (u16, u16),
}

/// A tap with somebody behind it.
pub(crate) struct Guest {
    tap: File,
    pub(crate) seat: Seat,
    router: [u8; 6],
    /// Whether a header of destination options stands before what its packets
    /// carry (RFC 8200, 4.6).
    pub(crate) options: bool,
    /// What came and nobody has asked for yet.
    came: Vec<Datagram>,
}

impl Guest {
    pub(crate) fn new(tap: &str, seat: Seat, router: [u8; 6]) -> Self {
        Self {
            tap: attach(tap),
            seat,
            router,
            options: false,
            came: Vec::new(),
        }
    }

    /// A datagram, by way of the router.
    pub(crate) fn send(&mut self, to: Ipv6Addr, from_port: u16, port: u16) {
        self.send_as(self.seat, self.router, to, from_port, port);
    }

    pub(crate) fn send_as(
        &mut self,
        from: Seat,
        mac: [u8; 6],
        to: Ipv6Addr,
        from_port: u16,
        port: u16,
    ) {
        let mut body = Vec::new();
        body.extend(from_port.to_be_bytes());
        body.extend(port.to_be_bytes());
        body.extend([0, 12, 0, 0]);
        body.extend(b"word");
        self.packet(from, mac, to, UDP, 64, body, 6);
    }

    /// The way back of a datagram.
    pub(crate) fn answer(&mut self, to: Datagram) {
        let (theirs, ours) = to.ports;
        let from = Seat {
            address: to.target,
            ..self.seat
        };
        self.send_as(from, self.router, to.source, ours, theirs);
    }

    pub(crate) fn ping(&mut self, to: Ipv6Addr) {
        let echo = vec![128, 0, 0, 0, 0, 1, 0, 1];
        self.packet(self.seat, self.router, to, ICMP, 64, echo, 2);
    }

    /// A message of RFC 4861: its type, target, and the MAC in its option.
    pub(crate) fn tell(
        &mut self,
        from: Seat,
        to: (Ipv6Addr, [u8; 6]),
        kind: u8,
        target: Ipv6Addr,
        option: Option<[u8; 6]>,
    ) {
        // An answer that was asked for, and replaces what is known.
        let flags = if kind == NEIGHBOUR_ADVERT { 0x60 } else { 0 };
        let mut body = vec![kind, 0, 0, 0, flags, 0, 0, 0];
        body.extend(target.octets());
        if let Some(mac) = option {
            let of_sender = if kind == NEIGHBOUR_ADVERT { 2 } else { 1 };
            body.extend([of_sender, 1]);
            body.extend(mac);
        }
        self.packet(from, to.1, to.0, ICMP, 255, body, 2);
    }

    #[expect(clippy::too_many_arguments, reason = "a packet has that many parts")]
    fn packet(
        &mut self,
        from: Seat,
        mac: [u8; 6],
        to: Ipv6Addr,
        next: u8,
        hops: u8,
        mut body: Vec<u8>,
        sum_at: usize,
    ) {
        let length = u16::try_from(body.len()).unwrap();
        let mut summed = Vec::new();
        summed.extend(from.address.octets());
        summed.extend(to.octets());
        summed.extend(u32::from(length).to_be_bytes());
        summed.extend([0, 0, 0, next]);
        summed.extend(&body);
        body[sum_at..sum_at + 2].copy_from_slice(&checksum(&summed));
        let (mut length, mut first) = (length, next);
        if self.options {
            // Nothing but padding: PadN of four octets.
            body.splice(0..0, [next, 0, 1, 4, 0, 0, 0, 0]);
            (length, first) = (length + 8, OPTIONS);
        }
        let mut all = HEADER.to_vec();
        all.extend(mac);
        all.extend(from.mac);
        all.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        all.extend(length.to_be_bytes());
        all.extend([first, hops]);
        all.extend(from.address.octets());
        all.extend(to.octets());
        all.extend(body);
        self.tap.write_all(&all).unwrap();
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
        self.next_that("an echo", |frame| message(frame) == Some(129));
    }

    /// Waits for a message of RFC 4861: its type and its target.
    pub(crate) fn next_told(&mut self, kind: u8, target: Ipv6Addr) {
        let is = |frame: &[u8]| {
            message(frame) == Some(kind) && frame.get(62..78) == Some(&target.octets()[..])
        };
        self.next_that(&format!("{kind} about {target}"), is);
    }

    fn next_that(&mut self, what: &str, is: impl Fn(&[u8]) -> bool) {
        let until = Instant::now() + LIMIT;
        loop {
            let frame = frame(&mut self.tap, until);
            let frame = frame.unwrap_or_else(|| panic!("no {what} within 5 s"));
            self.came.extend(datagram(&frame));
            if is(&frame) {
                return;
            }
        }
    }

    /// The types of the messages from a MAC until a datagram to this port.
    pub(crate) fn messages_until(&mut self, port: u16, from: [u8; 6]) -> Vec<u8> {
        let until = Instant::now() + LIMIT;
        let mut kinds = Vec::new();
        loop {
            let frame = frame(&mut self.tap, until).expect("the last frame");
            if frame[6..12] == from {
                kinds.extend(message(&frame));
            }
            if datagram(&frame).is_some_and(|it| it.ports.1 == port) {
                return kinds;
            }
        }
    }
}

fn message(frame: &[u8]) -> Option<u8> {
    if frame.len() <= 54 || frame[12..14] != [0x86, 0xdd] {
        return None;
    }
    match (frame[20], frame[54]) {
        (ICMP, kind) => Some(kind),
        (OPTIONS, ICMP) => frame.get(62).copied(),
        _ => None,
    }
}

fn datagram(frame: &[u8]) -> Option<Datagram> {
    if frame.len() < 62 || frame[12..14] != [0x86, 0xdd] || frame[20] != UDP {
        return None;
    }
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap());
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    Some(Datagram {
        source: address(22),
        target: address(38),
        ports: (port(54), port(56)),
    })
}
