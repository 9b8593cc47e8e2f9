//! The host's requests. Each connection has a thread and may carry several.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use banger_agent_protocol::{AGENT_PORT, AgentRequest, AgentResponse, Readiness, frame};

use super::{ready, stop};
use crate::fault::{During, Fault};
use crate::guest::{Root, authorize, write_files};
use crate::{boot, host, log};

/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections at once; the host needs one or two.
const AT_ONCE: usize = 16;

/// What the requests need.
struct Agent {
    root: Root,
    ready: OnceLock<Readiness>,
}

/// Serves until the machine ends.
pub(crate) fn run() -> ExitCode {
    let Err(fault) = serve();
    log::error(format_args!("{fault} failed: {}", fault.source));
    ExitCode::FAILURE
}

fn serve() -> Result<std::convert::Infallible, Fault> {
    let agent = Arc::new(Agent {
        root: Root::open(Path::new("/")).during("opening the guest's root")?,
        ready: OnceLock::new(),
    });
    let listener = host::listen_on(AGENT_PORT).during("listening for the host")?;
    let waiting = Arc::clone(&agent);
    thread::spawn(move || {
        let readiness = waiting.ready.get_or_init(|| ready::wait(&waiting.root));
        ready::announce(readiness);
    });
    loop {
        let stream = match host::accept_host(&listener, PATIENCE) {
            Ok(stream) => stream,
            Err(error) => {
                log::error(format_args!(
                    "the host's connection could not be taken: {error}"
                ));
                // Out of memory or descriptors: trying at once would only spin.
                thread::sleep(Duration::from_millis(200));
                continue;
            }
        };
        // Each thread holds one reference, as do this function and the announcer.
        if Arc::strong_count(&agent) > AT_ONCE + 2 {
            continue;
        }
        let agent = Arc::clone(&agent);
        let converse = move || {
            if let Err(error) = converse(&agent, &stream) {
                log::note(format_args!(
                    "a conversation with the host broke off: {error}"
                ));
            }
        };
        if let Err(error) = thread::Builder::new().spawn(converse) {
            log::error(format_args!("no thread for the host's connection: {error}"));
        }
    }
}

fn converse(agent: &Agent, stream: &File) -> io::Result<()> {
    while let Some(request) = frame::read_or_end::<serde_json::Value>(stream)? {
        match serde_json::from_value(request) {
            Ok(request) => {
                let then = agent.answer(&request, stream)?;
                if let Some(grace) = then {
                    stop::begin(grace);
                }
            }
            // A newer host may ask for what this agent doesn't know.
            Err(error) => frame::write(
                stream,
                &AgentResponse::Error {
                    message: format!("the request is not known: {error}"),
                },
            )?,
        }
    }
    Ok(())
}

impl Agent {
    /// Answers; a grace period comes back where the guest is to be stopped,
    /// for the answer must have gone out before the network does.
    fn answer(&self, request: &AgentRequest, stream: &File) -> io::Result<Option<Duration>> {
        let mut stop = None;
        let done = match request {
            AgentRequest::Ping => Ok(AgentResponse::Pong {
                agent: env!("CARGO_PKG_VERSION").to_owned(),
                uptime_seconds: uptime(),
                ready: self.ready.get().cloned(),
            }),
            AgentRequest::Shutdown { grace_seconds } => {
                stop = Some(Duration::from_secs(u64::from(*grace_seconds)));
                Ok(AgentResponse::Ok)
            }
            AgentRequest::SetClock { now_ns } => boot::set_clock(*now_ns)
                .during("setting the clock")
                .map(|()| AgentResponse::Ok),
            AgentRequest::SetAuthorizedKeys { keys } => authorize(&self.root, keys)
                .during("writing /root/.ssh/authorized_keys")
                .map(|()| AgentResponse::Ok),
            AgentRequest::SetFiles { files } => {
                write_files(&self.root, files).map(|()| AgentResponse::Ok)
            }
        };
        let response = done.unwrap_or_else(|fault| AgentResponse::Error {
            message: format!("{fault} failed: {}", fault.source),
        });
        frame::write(stream, &response)?;
        Ok(stop)
    }
}

/// Seconds since the kernel started.
fn uptime() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0)
}
