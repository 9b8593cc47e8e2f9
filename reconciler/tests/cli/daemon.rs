//! A daemon that answers from a script and remembers what it was asked.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use banger::wire::{Request, Response};

/// The answers to a request, in order. After the last the connection is closed,
/// but that of a `Watch` stays open until the client hangs up.
pub(crate) type Script = dyn Fn(&Request) -> Vec<Response> + Send + Sync;

pub(crate) struct FakeDaemon {
    asked: Arc<Mutex<Vec<Request>>>,
}

impl FakeDaemon {
    /// Listens at once; its threads end with the test's process.
    pub(crate) fn listen(
        socket: &Path,
        script: impl Fn(&Request) -> Vec<Response> + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                std::thread::spawn(move || serve(stream.unwrap(), &log, &*script));
            }
        });
        Self { asked }
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    /// The requests that change something.
    pub(crate) fn told(&self) -> Vec<Request> {
        let tells = |request: &Request| {
            matches!(
                request,
                Request::Power { .. }
                    | Request::Confirm { .. }
                    | Request::Delete { .. }
                    | Request::EmptyTrash { .. }
                    | Request::Undelete { .. }
                    | Request::LeaveInTrash { .. }
                    | Request::Rename { .. }
                    | Request::Prune { .. }
                    | Request::Collect { .. }
            )
        };
        self.asked().into_iter().filter(tells).collect()
    }
}

fn serve(mut stream: UnixStream, asked: &Mutex<Vec<Request>>, script: &Script) {
    let mut prefix = [0; 4];
    if stream.read_exact(&mut prefix).is_err() {
        return;
    }
    let mut body = vec![0; u32::from_be_bytes(prefix) as usize];
    stream.read_exact(&mut body).unwrap();
    let request: Request = serde_json::from_slice(&body).unwrap();
    asked.lock().unwrap().push(request.clone());
    for response in script(&request) {
        let body = serde_json::to_vec(&response).unwrap();
        let length = u32::try_from(body.len()).unwrap();
        if stream.write_all(&length.to_be_bytes()).is_err() || stream.write_all(&body).is_err() {
            return;
        }
    }
    if matches!(request, Request::Watch { .. }) {
        // Until the client hangs up.
        let _ = stream.read(&mut prefix);
    }
}
