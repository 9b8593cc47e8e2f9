//! Between a client of the helper and the helper.

use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use banger_protocol::frame;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::{Cut, Line, Passage};

/// Descriptors of one request, at most.
const DESCRIPTORS: usize = 8;

/// Listens at `at` for as long as the process lives. What connects there is
/// connected to the helper's socket, by the thread that calls this or one that it
/// starts: the helper sees whom that runs as.
///
/// # Errors
/// `at` can't be listened at.
pub fn relay(at: &Path, helper: &Path, line: Line) -> io::Result<()> {
    let listener = UnixListener::bind(at)?;
    let helper = helper.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (helper, line) = (helper.clone(), line.clone());
            // However it ends, both ends are closed then.
            thread::spawn(move || carry(client, &helper, &line));
        }
    });
    Ok(())
}

/// Carries requests one way and answers the other, until one is cut off.
fn carry(mut client: UnixStream, helper: &PathBuf, line: &Line) -> io::Result<()> {
    let mut helper = UnixStream::connect(helper)?;
    loop {
        let (request, descriptors) = request(&mut client)?;
        let Passage { number, cut } = match field(&request, "op") {
            op if op == "hello" => Passage {
                number: None,
                cut: None,
            },
            op => line.pass(op),
        };
        if cut == Some(Cut::Before) {
            return Ok(());
        }
        send(&mut helper, &request, &descriptors)?;
        let answer = message(&mut helper)?;
        if cut == Some(Cut::After) {
            return Ok(());
        }
        line.answered(number, field(&answer, "result"));
        client.write_all(&answer)?;
    }
}

/// One request, with its header and with the descriptors that come with its first byte.
fn request(client: &mut UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut first = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut first)];
    let got = recvmsg(&*client, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let mut message = first.to_vec();
    rest(client, &mut message)?;
    Ok((message, descriptors))
}

/// One message, with its header.
fn message(from: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    rest(from, &mut message)?;
    Ok(message)
}

fn rest(from: &mut UnixStream, message: &mut Vec<u8>) -> io::Result<()> {
    let mut header = [0; frame::HEADER];
    header[..message.len()].copy_from_slice(message);
    from.read_exact(&mut header[message.len()..])?;
    let length = frame::body_length(header, frame::MAX_RESPONSE).map_err(io::Error::other)?;
    message.splice(.., header);
    message.resize(frame::HEADER + length, 0);
    from.read_exact(&mut message[frame::HEADER..])
}

/// The word that says what a message is.
fn field(message: &[u8], name: &str) -> String {
    let body = message.get(frame::HEADER..).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    json[name].as_str().unwrap_or_default().to_owned()
}

fn send(to: &mut UnixStream, request: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
    use std::io::IoSlice;
    use std::os::fd::AsFd as _;

    let borrowed: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::other("too many descriptors"));
    }
    let parts = [IoSlice::new(request)];
    let sent = sendmsg(&*to, &parts, &mut control, SendFlags::NOSIGNAL)?;
    to.write_all(&request[sent..])
}
