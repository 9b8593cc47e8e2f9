//! Connections that wait for the next call.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use banger_protocol::{Handle, Inventory, Request, Response, Version};
use tokio::sync::Semaphore;

use super::HelperError;
use super::connection::Connection;

/// Calls under way at once; more wait for one of them to end.
const CALLS: usize = 32;
/// Idle connections that are kept.
const IDLE: usize = 8;

/// The helper, as the daemon sees it.
pub struct HelperClient {
    socket: PathBuf,
    calls: Semaphore,
    /// A leaf lock: never held across an await.
    idle: Mutex<Vec<Connection>>,
}

impl HelperClient {
    /// A client of the helper that listens there; nothing is connected yet.
    pub fn new(socket: impl AsRef<Path>) -> Self {
        Self {
            socket: socket.as_ref().to_owned(),
            calls: Semaphore::new(CALLS),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Everything that the host holds of banger's.
    pub async fn inventory(&self) -> Result<Inventory, HelperError> {
        match self.call(&Request::Inventory {}, &[]).await? {
            Response::Inventory { inventory } => Ok(*inventory),
            _ => Err(HelperError::OtherAnswer { op: "inventory" }),
        }
    }

    /// Has the host changed as the request says, if it isn't so already.
    pub async fn ensure(
        &self,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Handle, HelperError> {
        match self.call(&request, &descriptors).await? {
            Response::Unchanged { handle } | Response::Changed { handle } => Ok(handle),
            _ => Err(HelperError::OtherAnswer { op: request.op() }),
        }
    }

    /// Opens a connection to learn whether the helper is there and understands
    /// this daemon. What it speaks: its minor version may be another one.
    pub async fn hello(&self) -> Result<Version, HelperError> {
        let connection = self.connect("hello", limit(&Request::Inventory {})).await?;
        let version = connection.helper;
        self.put_back(connection);
        Ok(version)
    }

    async fn call(&self, request: &Request, fds: &[OwnedFd]) -> Result<Response, HelperError> {
        debug_assert_eq!(request.descriptors(), fds.len());
        let _call = self.calls.acquire().await.expect("it is never closed");
        // An idle connection may be one to a helper that is gone.
        while let Some(connection) = self.take_idle() {
            match self.call_on(connection, request, fds).await {
                Err(HelperError::Broken { .. }) => {}
                answer => return answer,
            }
        }
        let connection = self.connect(request.op(), limit(request)).await?;
        self.call_on(connection, request, fds).await
    }

    async fn call_on(
        &self,
        mut connection: Connection,
        request: &Request,
        fds: &[OwnedFd],
    ) -> Result<Response, HelperError> {
        let limit = limit(request);
        let op = request.op();
        let answer = tokio::time::timeout(limit, connection.exchange(request, fds))
            .await
            .map_err(|_| HelperError::TimedOut { op, limit })??;
        self.put_back(connection);
        match answer {
            Response::Error { error } => Err(HelperError::Refused(error)),
            answer => Ok(answer),
        }
    }

    async fn connect(&self, op: &'static str, limit: Duration) -> Result<Connection, HelperError> {
        tokio::time::timeout(limit, Connection::open(&self.socket))
            .await
            .map_err(|_| HelperError::TimedOut { op, limit })?
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle().pop()
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long an operation may take: generous, because a host under load (or one
/// that is emulated) is slow and not broken.
fn limit(request: &Request) -> Duration {
    match request {
        Request::StartVmm { .. } | Request::KillVmm { .. } | Request::RemoveVmm { .. } => {
            Duration::from_secs(90)
        }
        _ => Duration::from_secs(45),
    }
}
