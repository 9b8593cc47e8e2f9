//! systemd over D-Bus (org.freedesktop.systemd1(5)): transient units, their
//! jobs, and what is loaded. One connection, made when first needed and again
//! after it broke.

use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Mutex;
use zbus::Connection;
use zbus::{ObjectPath, OwnedObjectPath, Variant};

use crate::Failure;

/// How long a job may take before the operation gives up on it.
const JOB: Duration = Duration::from_secs(30);
/// How long a plain call may take.
const CALL: Duration = Duration::from_secs(10);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Variant<'_>)],
        auxiliary: &[(&str, Vec<(&str, Variant<'_>)>)],
    ) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn list_units_by_patterns(
        &self,
        states: &[&str],
        patterns: &[&str],
    ) -> zbus::Result<Vec<RawUnit>>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: ObjectPath<'_>, unit: &str, result: &str);
}

/// `a(ssssssouso)` of ListUnitsByPatterns.
type RawUnit = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

/// A loaded unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// `active`, `activating`, `deactivating`, `inactive`, `failed`.
    pub active: String,
    /// For a failed service the word for why, where there is no exit record.
    pub sub: String,
}

impl Unit {
    /// Whether processes of it may be there.
    pub fn live(&self) -> bool {
        !matches!(self.active.as_str(), "inactive" | "failed")
    }
}

/// The service manager.
#[derive(Debug, Default)]
pub struct Systemd {
    connection: Mutex<Option<Connection>>,
}

impl Systemd {
    /// The manager's proxy on a connection that works.
    async fn manager(&self) -> Result<ManagerProxy<'static>, Failure> {
        let mut slot = self.connection.lock().await;
        let connection = match slot.as_ref().filter(|c| !c.is_closed()) {
            Some(connection) => connection.clone(),
            None => {
                let connection =
                    within("D-Bus", "connect to the system bus", Connection::system()).await?;
                // JobRemoved is sent to subscribers only, once per connection.
                let manager = ManagerProxy::new(&connection)
                    .await
                    .map_err(|e| failure("D-Bus", "systemd", e))?;
                within("Subscribe", "systemd", manager.subscribe()).await?;
                *slot = Some(connection.clone());
                connection
            }
        };
        ManagerProxy::new(&connection)
            .await
            .map_err(|e| failure("D-Bus", "systemd", e))
    }

    /// Starts a transient unit and waits for its job.
    pub async fn start(
        &self,
        unit: &str,
        properties: &[(&str, Variant<'_>)],
    ) -> Result<(), Failure> {
        let step = "StartTransientUnit";
        let manager = self.manager().await?;
        let call = manager.start_transient_unit(unit, "fail", properties, &[]);
        match finish(&manager, step, unit, call).await?.as_str() {
            "done" => Ok(()),
            other => Err(Failure::later(
                step,
                format!("{unit}: the job ended `{other}`"),
            )),
        }
    }

    /// Kills every process of a unit, and waits until the unit is down.
    /// `false`: there was no such unit.
    pub async fn kill(&self, unit: &str) -> Result<bool, Failure> {
        let manager = self.manager().await?;
        let signal = nix::libc::SIGKILL;
        match within("KillUnit", unit, manager.kill_unit(unit, "all", signal)).await {
            Err(e) if e.absent => return Ok(false),
            // Nothing left to kill is what is wanted; the stop below decides.
            Ok(()) | Err(_) => {}
        }
        match finish(
            &manager,
            "StopUnit",
            unit,
            manager.stop_unit(unit, "replace"),
        )
        .await
        {
            // Gone between the two calls.
            Err(e) if e.absent => Ok(true),
            Err(e) => Err(e.failure),
            Ok(_) => Ok(true),
        }
    }

    /// Forgets a failed unit. `false`: there was none.
    pub async fn reset(&self, unit: &str) -> Result<bool, Failure> {
        let manager = self.manager().await?;
        match within("ResetFailedUnit", unit, manager.reset_failed_unit(unit)).await {
            Ok(()) => Ok(true),
            Err(e) if e.absent => Ok(false),
            Err(e) => Err(e.failure),
        }
    }

    /// Loaded units by shell pattern.
    pub async fn units(&self, pattern: &str) -> Result<Vec<Unit>, Failure> {
        let manager = self.manager().await?;
        let patterns = [pattern];
        let call = manager.list_units_by_patterns(&[], &patterns);
        let units = within("ListUnitsByPatterns", pattern, call).await?;
        let unit = |raw: RawUnit| Unit {
            name: raw.0,
            active: raw.3,
            sub: raw.4,
        };
        Ok(units.into_iter().map(unit).collect())
    }

    /// One loaded unit.
    pub async fn unit(&self, name: &str) -> Result<Option<Unit>, Failure> {
        Ok(self.units(name).await?.into_iter().find(|u| u.name == name))
    }
}

/// Makes a call that queues a job, and waits for that job's removal. The
/// signals are listened to before the call, so none is missed.
async fn finish(
    manager: &ManagerProxy<'_>,
    step: &'static str,
    unit: &str,
    call: impl Future<Output = zbus::Result<OwnedObjectPath>>,
) -> Result<String, Refused> {
    let mut removed = within(step, unit, manager.receive_job_removed()).await?;
    let job = within(step, unit, call).await?;
    let wait = async {
        while let Some(signal) = removed.next().await {
            if let Ok(args) = signal.args()
                && args.job.as_str() == job.as_str()
            {
                return Some(args.result.to_string());
            }
        }
        None
    };
    match tokio::time::timeout(JOB, wait).await {
        Ok(Some(result)) => Ok(result),
        Ok(None) => Err(Failure::later(step, format!("{unit}: the system bus went away")).into()),
        Err(_) => {
            Err(Failure::later(step, format!("{unit}: no end of its job after {JOB:?}")).into())
        }
    }
}

async fn within<T>(
    step: &'static str,
    object: &str,
    call: impl Future<Output = zbus::Result<T>>,
) -> Result<T, Refused> {
    match tokio::time::timeout(CALL, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(Refused {
            absent: matches!(&e, zbus::Error::MethodError(name, ..) if *name == NO_SUCH_UNIT),
            failure: failure(step, object, e),
        }),
        Err(_) => Err(Failure::later(step, format!("{object}: no answer after {CALL:?}")).into()),
    }
}

/// systemd's word for a unit that isn't loaded.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// A call that failed, and whether only because the unit isn't loaded.
struct Refused {
    absent: bool,
    failure: Failure,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            absent: false,
            failure,
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        refused.failure
    }
}

fn failure(step: &'static str, object: &str, error: zbus::Error) -> Failure {
    match error {
        zbus::Error::MethodError(name, text, _) => Failure::later(
            step,
            format!("{object}: {}: {}", name.as_str(), text.unwrap_or_default()),
        ),
        other => Failure::later(step, format!("{object}: {other}")),
    }
}
