//! Many connections, and what they say.

use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, ensure};
use banger_helper::client::Client;
use banger_protocol::{Request, install};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg,
};

use super::{Attack, HONEST, framed, honest_beside, socket, uid};

/// Connections at once, and how many frames are thrown at the helper.
const CONNECTIONS: usize = 10_000;
const FRAMES: usize = 2_000;
/// More connections than the helper serves at once.
const SEATS: usize = 700;
/// The most descriptors of one message (`SCM_MAX_FD`, unix(7)).
const MAX_DESCRIPTORS: usize = 253;

impl Attack {
    /// Each ends its connection or is refused, and nothing else.
    pub(super) fn frames(&self) -> Result<()> {
        let nested = "[".repeat(60_000);
        let bad: Vec<Vec<u8>> = vec![
            vec![0xff; 4],
            vec![0; 4],
            framed(b"{}"),
            framed(b"null"),
            framed(b"\xff\xfe"),
            framed(br#"{"op":"run-shell","line":"id"}"#),
            framed(br#"{"op":"inventory","path":"/etc/shadow"}"#),
            framed(br#"{"op":"ensure-nat","guests":[1e99]}"#),
            framed(nested.as_bytes()),
        ];
        let hello = hello()?;
        for n in 0..self.times(FRAMES) {
            let mut stream = UnixStream::connect(socket())?;
            stream.set_read_timeout(Some(HONEST))?;
            if n % 2 == 0 {
                stream.write_all(&hello)?;
            }
            // The helper may have hung up by now.
            let _ = stream.write_all(&bad[(n / 2) % bad.len()]);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut said = String::new();
            let _ = stream.read_to_string(&mut said);
            ensure!(!said.contains("\"panic\""), "frame {n} made it die: {said}");
        }
        Ok(())
    }

    /// As many as the kernel lets us have; they say nothing.
    pub(super) fn connections(&self) -> Result<()> {
        let limit = rustix::process::Rlimit {
            current: Some(CONNECTIONS as u64 + 100),
            maximum: Some(CONNECTIONS as u64 + 100),
        };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
            .context("this account may not have so many descriptors")?;
        let address = rustix::net::SocketAddrUnix::new(install::HELPER_SOCKET)?;
        let mut held = Vec::new();
        let mut full = 0;
        for _ in 0..CONNECTIONS {
            let socket = rustix::net::socket_with(
                AddressFamily::UNIX,
                SocketType::STREAM,
                rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC,
                None,
            )?;
            match rustix::net::connect(&socket, &address) {
                Ok(()) => held.push(socket),
                // The backlog is full.
                Err(Errno::AGAIN) => full += 1,
                Err(error) => return Err(error).context("connect"),
            }
        }
        ensure!(held.len() > 64, "only {} connections", held.len());
        println!(
            "    {} connected, {full} turned away by a full backlog",
            held.len()
        );
        let what = format!("{} silent connections", held.len());
        honest_beside(&what)
    }

    /// Every seat is taken by somebody who is slow, or silent after `hello`.
    pub(super) fn slow(&self) -> Result<()> {
        let (mut slow, mut silent) = (Vec::new(), Vec::new());
        for n in 0..SEATS {
            if n % 2 == 0 {
                let mut stream = UnixStream::connect(socket())?;
                stream.write_all(&[0])?;
                slow.push(stream);
            } else {
                silent.push(Client::connect(socket())?);
            }
        }
        honest_beside("slow frames and idle connections")
    }

    /// Every seat is taken by somebody who waits for the same VM's turn.
    pub(super) fn turns(&self) -> Result<()> {
        let remove = framed(&serde_json::to_vec(&Request::RemoveVmm { uid: uid(1) })?);
        let asked = [hello()?, remove].concat();
        let mut waiting = Vec::new();
        for _ in 0..SEATS {
            let mut stream = UnixStream::connect(socket())?;
            stream.write_all(&asked)?;
            waiting.push(stream);
        }
        honest_beside("a queue for one VM's turn")
    }

    /// Every seat holds as many descriptors as it can, in frames that don't end.
    pub(super) fn descriptors(&self) -> Result<()> {
        let file = self.own("descriptor")?;
        let mut held = Vec::new();
        for n in 0..SEATS {
            // So many as are kept, or as many as go.
            let many = if n % 2 == 0 { 3 } else { MAX_DESCRIPTORS };
            let all = vec![file.as_fd(); many];
            let rights = SendAncillaryMessage::ScmRights(&all);
            let mut space = vec![MaybeUninit::uninit(); rights.size()];
            let mut control = SendAncillaryBuffer::new(&mut space);
            ensure!(control.push(rights), "{many} descriptors don't go");
            let stream = UnixStream::connect(socket())?;
            match sendmsg(
                &stream,
                &[IoSlice::new(&[0])],
                &mut control,
                SendFlags::NOSIGNAL,
            ) {
                // So many are on their way that the kernel takes no more.
                Ok(_) | Err(Errno::TOOMANYREFS) => held.push(stream),
                Err(error) => return Err(error).context("sendmsg"),
            }
        }
        honest_beside("frames full of descriptors")
    }
}

fn hello() -> Result<Vec<u8>> {
    Ok(framed(&serde_json::to_vec(&Request::Hello {
        version: banger_protocol::version::CURRENT,
    })?))
}
