//! One connection to the API of one VMM.
//!
//! The VMM may have been taken over by its guest, so that what it answers is
//! bounded in size and time.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::Put;

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// A request that the VMM didn't carry out.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The connection can't be made or broke.
    #[error("Firecracker's API doesn't answer")]
    Connection(#[source] hyper::Error),
    /// No answer in time.
    #[error("Firecracker's API did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The answer could not be read.
    #[error("Firecracker's API gave an answer that can't be read: {0}")]
    Answer(String),
    /// It refused.
    #[error("Firecracker refused {resource} ({status}): {fault}")]
    Refused {
        /// What was to be set.
        resource: String,
        /// The status.
        status: u16,
        /// Its `fault_message`.
        fault: String,
    },
}

/// What Firecracker says to a second `PUT /metrics` (its `MetricsError`).
const METRICS_ALREADY: &str = "Reinitialization of metrics not allowed";

impl ApiError {
    /// Whether it refused a metrics file because it has one.
    pub fn has_metrics_already(&self) -> bool {
        matches!(self, Self::Refused { fault, .. } if fault.contains(METRICS_ALREADY))
    }

    /// The error with its causes in one line.
    pub fn chain(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// `InstanceInfo.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum InstanceState {
    /// The guest was never started.
    #[serde(rename = "Not started")]
    NotStarted,
    /// It runs.
    Running,
    /// It was paused.
    Paused,
}

/// What a guest that was started is to do (`Vm.state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum VmState {
    /// Stand still.
    Paused,
    /// Go on.
    Resumed,
}

#[derive(Deserialize)]
struct InstanceInfo {
    state: InstanceState,
}

#[derive(Deserialize)]
struct Fault {
    fault_message: String,
}

/// The API of one VMM.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    limit: Duration,
    _connection: AbortOnDropHandle<()>,
}

impl Client {
    /// Speaks HTTP on a connected socket; every request ends within `limit`.
    pub async fn new(stream: UnixStream, limit: Duration) -> Result<Self, ApiError> {
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(ApiError::Connection)?;
        let connection = tokio::spawn(async move {
            // An error of the connection is also the error of the request on it.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            limit,
            _connection: AbortOnDropHandle::new(connection),
        })
    }

    /// `GET /`.
    pub async fn instance(&mut self) -> Result<InstanceState, ApiError> {
        let (_, body) = self.request(Method::GET, "/", String::new()).await?;
        serde_json::from_slice::<InstanceInfo>(&body)
            .map(|instance| instance.state)
            .map_err(|error| ApiError::Answer(error.to_string()))
    }

    /// `PATCH /vm`; harmless where the guest does so already.
    pub async fn set_vm_state(&mut self, state: VmState) -> Result<(), ApiError> {
        let body = json!({"state": state}).to_string();
        self.request(Method::PATCH, "/vm", body).await.map(drop)
    }

    /// Sets one resource.
    pub async fn put(&mut self, put: &Put) -> Result<(), ApiError> {
        self.request(Method::PUT, &put.resource, put.body.to_string())
            .await
            .map(drop)
    }

    async fn request(
        &mut self,
        method: Method,
        resource: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), ApiError> {
        let request = Request::builder()
            .method(method)
            .uri(resource)
            .header("Host", "localhost")
            .header("Accept", "application/json")
            .header("Content-Type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ApiError::Answer(error.to_string()))?;
        let answered = async {
            // The answer to one request is read before the connection is
            // ready for the next one.
            self.sender.ready().await.map_err(ApiError::Connection)?;
            let response = self
                .sender
                .send_request(request)
                .await
                .map_err(ApiError::Connection)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|error| ApiError::Answer(error.to_string()))?
                .to_bytes();
            Ok((status, body))
        };
        let (status, body) = tokio::time::timeout(self.limit, answered)
            .await
            .map_err(|_| ApiError::TimedOut(self.limit))??;
        if status.is_success() {
            return Ok((status, body));
        }
        let fault = serde_json::from_slice::<Fault>(&body)
            .map(|fault| fault.fault_message)
            .unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned());
        Err(ApiError::Refused {
            resource: resource.to_owned(),
            status: status.as_u16(),
            fault: one_line(&fault),
        })
    }
}

impl From<ApiError> for io::Error {
    fn from(error: ApiError) -> Self {
        io::Error::other(error)
    }
}

/// At most 500 printable characters: what a VMM says ends on a terminal.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(500)
        .collect()
}
