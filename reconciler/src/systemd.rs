//! systemd, as the daemon asks it (org.freedesktop.systemd1(5)).

use std::time::Duration;

use zbus::Connection;
use zbus::proxy::CacheProperties;

/// How long it may take to answer.
const CALL: Duration = Duration::from_secs(5);
/// What it is as soon as a shutdown was asked for (systemctl(1), is-system-running).
const STOPPING: &str = "stopping";

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    #[zbus(property)]
    fn system_state(&self) -> zbus::Result<String>;
}

/// Why it gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Silent {
    /// D-Bus said why.
    #[error("the system bus: {0}")]
    Bus(#[from] zbus::Error),
    /// Nobody did.
    #[error("the system bus: no answer within {} s", CALL.as_secs())]
    Late(#[from] tokio::time::error::Elapsed),
}

/// Whether the host goes down: it is powered off or rebooted.
pub async fn host_goes_down() -> Result<bool, Silent> {
    let state = async {
        let connection = Connection::system().await?;
        let manager = ManagerProxy::builder(&connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        manager.system_state().await
    };
    Ok(tokio::time::timeout(CALL, state).await?? == STOPPING)
}
