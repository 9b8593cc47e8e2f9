//! One connection: a request and its answers.

use std::collections::HashMap;
use std::sync::Arc;

use banger_core::api::{Kind, Name};
use tokio::io::{AsyncReadExt, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;

use super::frame::{self, FrameError};
use super::serve::Identity;
use crate::controller::{Collect, Confirm, Handle, Published, Refusal};
use crate::wire::response::{Code, Event};
use crate::wire::{Request, Response};

/// What a connection is answered from.
#[derive(Debug)]
pub(super) struct Session {
    handle: Handle,
    identity: Identity,
    /// Places for streams.
    streams: Arc<Semaphore>,
}

type Reader = ReadHalf<UnixStream>;
type Writer = WriteHalf<UnixStream>;

impl Session {
    pub(super) const fn new(handle: Handle, identity: Identity, streams: Arc<Semaphore>) -> Self {
        Self {
            handle,
            identity,
            streams,
        }
    }

    /// Reads the request and answers it.
    pub(super) async fn run(self, stream: UnixStream) -> Result<(), FrameError> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let request = match frame::read::<Request>(&mut reader).await {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(FrameError::Json(error)) => {
                let response = Response::Error {
                    code: Code::Invalid,
                    message: format!("the request can't be understood: {error}"),
                    remedy: Some("use `banger` of the same version as `bangerd`".into()),
                };
                return frame::write(&mut writer, &response).await;
            }
            Err(error) => return Err(error),
        };
        let stream = matches!(
            request,
            Request::Watch { .. } | Request::Events { follow: true, .. }
        );
        let _place = match stream.then(|| self.streams.try_acquire()).transpose() {
            Ok(place) => place,
            Err(_) => {
                let response = Response::Error {
                    code: Code::Conflict,
                    message: "too many clients watch already".into(),
                    remedy: Some("end some of them (`banger … -w`), then try again".into()),
                };
                return frame::write(&mut writer, &response).await;
            }
        };
        match request {
            Request::Watch { kind, name } => self.watch(kind, name, reader, writer).await,
            Request::Events { object, follow } => self.events(object, follow, reader, writer).await,
            request => {
                let response = self.answer(request).await.unwrap_or_else(refused);
                frame::write(&mut writer, &response).await
            }
        }
    }

    async fn answer(&self, request: Request) -> Result<Response, Refusal> {
        let done = |()| Response::Done {};
        match request {
            Request::Version {} => Ok(Response::Version {
                daemon: env!("CARGO_PKG_VERSION").into(),
                helper: (self.identity.helper)().await,
                simulated: self.identity.simulated,
                landlock: Some(self.identity.landlock.clone()),
            }),
            Request::List { kind, name } => self.list(kind, name).await,
            Request::Diff { overlay } => self.handle.diff(overlay).await.map(|report| {
                let report = Box::new(report);
                Response::Diff { report }
            }),
            Request::Sync {} => {
                let (admitted, problems) = self.handle.sync().await?;
                Ok(Response::Synced { admitted, problems })
            }
            Request::Power { name, power } => self.handle.power(name, power).await.map(done),
            Request::Confirm {
                name,
                replace_root,
                allow_data_loss,
            } => {
                let confirm = Confirm {
                    replace_root,
                    allow_data_loss,
                };
                self.handle.confirm(name, confirm).await.map(done)
            }
            Request::Delete { kind, name, purge } => {
                self.handle.delete(kind, name, purge).await.map(done)
            }
            Request::Trash {} => {
                let entries = self.handle.trash().await?;
                Ok(Response::Trash { entries })
            }
            Request::EmptyTrash { ids } => self.handle.empty_trash(ids).await.map(done),
            Request::Undelete { id } => self.handle.undelete(id).await.map(done),
            Request::LeaveInTrash { id } => self.handle.leave_in_trash(id).await.map(done),
            Request::Rename { name, to } => self.handle.rename(name, to).await.map(done),
            Request::Prune { directories } => {
                let objects = self.handle.prune(directories).await?;
                Ok(Response::Pruned { objects })
            }
            Request::Inventory {} => self.handle.inventory().await.map(|report| {
                let report = Box::new(report);
                Response::Inventory { report }
            }),
            Request::Collect { dry_run, orphans } => {
                let collect = Collect { dry_run, orphans };
                let collected = self.handle.collect(collect).await?;
                Ok(Response::Collected { collected })
            }
            Request::Watch { .. } | Request::Events { .. } => Err(Refusal {
                code: Code::Internal,
                message: "a stream was asked for where there is one answer".into(),
                remedy: None,
            }),
        }
    }

    async fn list(&self, kind: Kind, name: Option<Name>) -> Result<Response, Refusal> {
        let mut published = self.handle.published();
        // Right after its start the daemon has nothing to show yet.
        let now = published.wait_for(|now| now.complete).await;
        let now = now.map(|now| (*now).clone()).unwrap_or_default();
        let objects = now.objects(kind, name.as_ref());
        match name {
            Some(name) if objects.is_empty() => Err(Refusal::not_found(kind, &name)),
            _ => Ok(listing(&now, kind, name.as_ref())),
        }
    }

    async fn watch(
        &self,
        kind: Kind,
        name: Option<Name>,
        mut reader: Reader,
        mut writer: Writer,
    ) -> Result<(), FrameError> {
        let mut published = self.handle.published();
        let mut sent = None;
        loop {
            let now = published.borrow_and_update().clone();
            if now.complete {
                let response = listing(&now, kind, name.as_ref());
                if sent.as_ref() != Some(&response) {
                    frame::write(&mut writer, &response).await?;
                    sent = Some(response);
                }
            }
            tokio::select! {
                changed = published.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = hung_up(&mut reader) => return Ok(()),
            }
        }
    }

    async fn events(
        &self,
        object: Option<(Kind, Name)>,
        follow: bool,
        mut reader: Reader,
        mut writer: Writer,
    ) -> Result<(), FrameError> {
        // Counts by id: an event may be told again only with a higher count.
        let mut told: HashMap<u64, u32> = HashMap::new();
        loop {
            let (past, mut coming) = match self.handle.events(object.clone()).await {
                Ok(events) => events,
                Err(refusal) => return frame::write(&mut writer, &refused(refusal)).await,
            };
            for event in past {
                tell(&mut writer, &mut told, event).await?;
            }
            if !follow {
                return frame::write(&mut writer, &Response::Done {}).await;
            }
            loop {
                let event = tokio::select! {
                    event = coming.recv() => event,
                    () = hung_up(&mut reader) => return Ok(()),
                };
                match event {
                    Ok(event) if concerns(&event, object.as_ref()) => {
                        tell(&mut writer, &mut told, event).await?;
                    }
                    Ok(_) => {}
                    // Too slow for the queue: what was missed is in the store.
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Ok(()),
                }
            }
        }
    }
}

async fn tell(
    writer: &mut Writer,
    told: &mut HashMap<u64, u32>,
    event: Event,
) -> Result<(), FrameError> {
    let before = told.insert(event.id, event.count);
    if before.is_some_and(|count| count >= event.count) {
        return Ok(());
    }
    frame::write(writer, &Response::Event { event }).await
}

fn concerns(event: &Event, object: Option<&(Kind, Name)>) -> bool {
    object.is_none_or(|(kind, name)| event.kind == *kind && event.name == name.as_str())
}

fn listing(now: &Published, kind: Kind, name: Option<&Name>) -> Response {
    Response::Objects {
        objects: now.objects(kind, name),
        problems: now.problems.clone(),
    }
}

fn refused(refusal: Refusal) -> Response {
    Response::Error {
        code: refusal.code,
        message: refusal.message,
        remedy: refusal.remedy,
    }
}

/// Resolves once the client is gone. What it sends after its request is of no
/// meaning and ends the connection as well.
async fn hung_up(reader: &mut Reader) {
    let _ = reader.read_u8().await;
}
