//! A helper that binds any port that is free, the same one each time, and fails
//! or dies at one of its requests, if it is to.

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use banger_protocol::{Handle, Install, OpError, Request, Response, Retry, frame, version};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, bind, getsockname};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::live::object;
use super::*;
use crate::controller::Published;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// An error is the answer.
    Error,
    /// The helper dies, and is there again for the next try but one.
    Hangup,
    /// The daemon dies. The helper only says that it is to.
    Death,
}

/// Whether the request is carried out all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Before,
    After,
}

/// What goes wrong, and at which request: the one that comes after so many others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strike {
    pub(super) at: usize,
    pub(super) fault: Fault,
    pub(super) when: When,
}

pub(super) struct Helper {
    dir: TempDir,
    state: Arc<State>,
}

struct State {
    /// The operation of each request but hello.
    heard: Mutex<Vec<&'static str>>,
    strike: Option<Strike>,
    /// The next connection is closed at once.
    away: Mutex<bool>,
    deaths: UnboundedSender<()>,
    /// Where the server's sockets are bound; the first ones decide.
    address: watch::Sender<Option<SocketAddr>>,
    /// What systemd-resolved knows.
    told: Mutex<bool>,
    /// Whether a daemon was answered that it knows.
    confirmed: watch::Sender<bool>,
}

impl Helper {
    /// Serves for as long as the process lives. The receiver hears when the
    /// daemon is to die.
    pub(super) fn start(strike: Option<Strike>) -> (Self, UnboundedReceiver<()>) {
        let (deaths, dies) = unbounded_channel();
        let helper = Self {
            dir: tempfile::tempdir().unwrap(),
            state: Arc::new(State {
                heard: Mutex::default(),
                strike,
                away: Mutex::default(),
                deaths,
                address: watch::Sender::default(),
                told: Mutex::default(),
                confirmed: watch::Sender::default(),
            }),
        };
        let listener = UnixListener::bind(helper.socket()).unwrap();
        let state = Arc::clone(&helper.state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), Arc::clone(&state));
                std::thread::spawn(move || state.serve(stream));
            }
        });
        (helper, dies)
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("helper.sock")
    }

    /// Where the server is, once it is.
    pub(super) async fn address(&self) -> SocketAddr {
        let mut address = self.state.address.subscribe();
        let known = address.wait_for(Option::is_some).await.unwrap();
        known.unwrap()
    }

    /// Until systemd-resolved was told, and a daemon knows that.
    pub(super) async fn confirmed(&self) {
        let mut confirmed = self.state.confirmed.subscribe();
        confirmed.wait_for(|confirmed| *confirmed).await.unwrap();
    }

    pub(super) fn is_told(&self) -> bool {
        *self.state.told.lock().unwrap()
    }

    pub(super) fn heard(&self) -> Vec<&'static str> {
        self.state.heard().clone()
    }
}

impl State {
    fn heard(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.heard.lock().unwrap()
    }

    /// Serves one connection.
    fn serve(&self, mut stream: UnixStream) {
        if std::mem::take(&mut *self.away.lock().unwrap()) {
            return;
        }
        let mut is_old = false;
        while let Some((request, descriptors)) = receive_request(&mut stream) {
            if let Request::Hello { .. } = request {
                let version = version::CURRENT;
                answer(&mut stream, &Response::Hello { version });
                continue;
            }
            let struck = self.hear(&request);
            let mut response = match struck {
                Some(Strike {
                    when: When::Before, ..
                }) => error(&request),
                _ => self.carry_out(&request, &descriptors),
            };
            drop(descriptors);
            match struck.map(|strike| strike.fault) {
                None => {}
                Some(Fault::Error) => response = error(&request),
                Some(Fault::Hangup) => {
                    // What fails on an old connection is tried on a new one at once.
                    *self.away.lock().unwrap() = is_old;
                    return;
                }
                Some(Fault::Death) => {
                    self.deaths.send(()).unwrap();
                    // Nobody is there to be answered; that is seen here.
                    let _ = stream.read(&mut [0]);
                    return;
                }
            }
            answer(&mut stream, &response);
            if struck.is_none() && matches!(request, Request::EnsureResolver {}) {
                self.confirmed.send_replace(true);
            }
            is_old = true;
        }
    }

    fn hear(&self, request: &Request) -> Option<Strike> {
        let mut heard = self.heard();
        heard.push(request.op());
        self.strike.filter(|strike| strike.at + 1 == heard.len())
    }

    fn carry_out(&self, request: &Request, descriptors: &[OwnedFd]) -> Response {
        match request {
            Request::EnsureDns {} => {
                for socket in descriptors {
                    let port = self.address.borrow().map_or(0, |address| address.port());
                    let address = SocketAddr::new(SERVER.into(), port);
                    if bind(socket, &address).is_err() {
                        return error(request);
                    }
                    let address = getsockname(socket).unwrap().try_into().unwrap();
                    self.address.send_replace(Some(address));
                }
            }
            Request::EnsureResolver {} => *self.told.lock().unwrap() = true,
            Request::RemoveResolver {} => *self.told.lock().unwrap() = false,
            other => panic!("{} is nothing that the service asks for", other.op()),
        }
        Response::Changed {
            handle: Handle::None,
        }
    }
}

/// As of something that may pass.
fn error(request: &Request) -> Response {
    Response::Error {
        error: OpError {
            op: request.op().to_owned(),
            step: "injected".to_owned(),
            errno: None,
            message: "an error".to_owned(),
            retry: Retry::Later,
        },
    }
}

/// Who asked may be gone.
fn answer(stream: &mut UnixStream, response: &Response) {
    let bytes = frame::encode(response, frame::MAX_RESPONSE).unwrap();
    let _ = stream.write_all(&bytes);
}

/// One request and what came with it.
fn receive_request(stream: &mut UnixStream) -> Option<(Request, Vec<OwnedFd>)> {
    let mut header = [0; frame::HEADER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut header)];
    // Whoever dies doesn't read the answer: that is a reset.
    let received =
        rustix::net::recvmsg(&*stream, &mut parts, &mut control, RecvFlags::WAITALL).ok()?;
    if received.bytes < frame::HEADER {
        return None;
    }
    let descriptors = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    let mut body = vec![0; frame::body_length(header, frame::MAX_REQUEST).unwrap()];
    stream.read_exact(&mut body).ok()?;
    Some((frame::decode(&body).unwrap(), descriptors))
}

pub(super) fn install() -> Install {
    Install::of("owner", 1000, 1000, "127.77.0.0/16".parse().unwrap())
}

pub(super) fn published(phase: &str) -> Arc<Published> {
    Arc::new(Published {
        vms: vec![object("web", "127.77.0.2", phase)],
        complete: true,
        ..Published::default()
    })
}
