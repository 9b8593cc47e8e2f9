//! The way to the host: vsock, with deadlines.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use banger_agent_protocol::{Boot, CONFIG_PORT, GuestConfig, frame};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, VsockAddr, bind, connect, getpeername, listen,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use rustix::net::SocketFlags;
use serde::de::DeserializeOwned;

use crate::log;

/// The host's context id (vsock(7), `VMADDR_CID_HOST`).
const HOST: u32 = 2;
/// Any of the guest's own (vsock(7), `VMADDR_CID_ANY`).
const ANY: u32 = u32::MAX;
/// How long the host may take to read or to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Waits between two tries, from and to.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Asks the host who this guest is, again and again until `deadline` has passed.
pub(crate) fn ask_config(deadline: Duration) -> io::Result<GuestConfig> {
    let hello = Boot::Hello {
        agent: env!("CARGO_PKG_VERSION").to_owned(),
    };
    persist(deadline, || converse(&hello))
}

/// Tells the host, again and again until it took it or `deadline` has passed.
pub(crate) fn tell(message: &Boot, deadline: Duration) -> io::Result<()> {
    persist(deadline, || converse::<Ignored>(message).map(drop))
}

/// The host's empty answer; a newer host may say more.
#[derive(serde::Deserialize)]
struct Ignored {}

fn persist<T>(deadline: Duration, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let start = Instant::now();
    let (mut pause, longest) = PAUSES;
    let mut said = false;
    loop {
        let error = match attempt() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if start.elapsed() + pause >= deadline {
            return Err(io::Error::new(
                error.kind(),
                format!(
                    "no answer from the host (vsock port {CONFIG_PORT}) within {} s: {error}",
                    deadline.as_secs()
                ),
            ));
        }
        if !said {
            log::note(format_args!("the host doesn't answer yet: {error}"));
            said = true;
        }
        // The host can't tell a guest that its daemon has come back.
        thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

fn converse<T: DeserializeOwned>(message: &Boot) -> io::Result<T> {
    let stream = vsock()?;
    // Without a listener it is refused at once; else the kernel gives up after 2 s.
    connect(stream.as_raw_fd(), &VsockAddr::new(HOST, CONFIG_PORT))?;
    let stream = with_patience(stream, PATIENCE)?;
    frame::write(&stream, message)?;
    frame::read(&stream)
}

/// Listens for the host.
pub(crate) fn listen_on(port: u32) -> io::Result<OwnedFd> {
    let listener = vsock()?;
    bind(listener.as_raw_fd(), &VsockAddr::new(ANY, port))?;
    listen(&listener, Backlog::new(16)?)?;
    Ok(listener)
}

/// The next connection of the host; one of the guest's own programs (vsock's
/// loopback) is hung up on. A peer gets `patience` for each read and write.
pub(crate) fn accept_host(listener: &OwnedFd, patience: Duration) -> io::Result<File> {
    loop {
        let stream = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?;
        // Who hung up already has no name any more.
        let peer = match getpeername::<VsockAddr>(stream.as_raw_fd()) {
            Err(Errno::ENOTCONN) => continue,
            other => other?,
        };
        if peer.cid() == HOST {
            return with_patience(stream, patience);
        }
    }
}

fn vsock() -> io::Result<OwnedFd> {
    Ok(socket(
        AddressFamily::Vsock,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?)
}

/// Read and write deadlines. A `File`, for std has no stream over vsock.
fn with_patience(stream: OwnedFd, patience: Duration) -> io::Result<File> {
    let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
    let limit = TimeVal::new(seconds, 0);
    setsockopt(&stream, sockopt::ReceiveTimeout, &limit)?;
    setsockopt(&stream, sockopt::SendTimeout, &limit)?;
    Ok(File::from(stream))
}
