//! The DNS server as the daemon runs it: a VM has a name, systemd-resolved is
//! told whom to ask, and told otherwise at the end.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use banger::controller::Published;
use banger::net::dns::{self, Service};
use banger_core::config::Dns;
use banger_core::intent::VmIntent;
use banger_inside::severed::Line;
use banger_protocol::Install;
use banger_protocol::slot::gateway;
use serde_json::json;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long the helper is away: until systemd has started it again.
const AWAY: Duration = Duration::from_millis(500);
/// The service's own pauses after one failure, on a slow host.
const SOON: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// For a server that is there.
const ANSWER: Duration = Duration::from_secs(5);
/// What systemd-resolved says of a bridge that it asks at.
const ROUTED: &str = "~vm";

/// The service from its start to its end, by way of a helper that listens there.
pub(crate) async fn come_and_go(
    install: &Install,
    vm: &VmIntent,
    helper: &Path,
    line: &Line,
) -> Result<(), String> {
    let _ = line.clone().mending_after(AWAY);
    gone(install).await?;
    let published = Published {
        vms: vec![object(vm)?],
        complete: true,
        ..Published::default()
    };
    let (_status, receiver) = watch::channel(Arc::new(published));
    let service = Service::new(&Dns::default(), install, None, helper.into(), receiver);
    let stop = CancellationToken::new();
    let running = tokio::spawn(service.run(stop.clone()));
    let found = until(async || found(install, vm).await).await;
    stop.cancel();
    running.await.map_err(|error| error.to_string())?;
    found?;
    gone(install).await
}

/// systemd-resolved asks at the bridge, and is answered there.
async fn found(install: &Install, vm: &VmIntent) -> Result<(), String> {
    let server = gateway(install.subnet);
    match probe(server).await {
        Ok(true) => {}
        other => return Err(format!("{server} answers {other:?}")),
    }
    let domains = resolvectl(&["domain", &install.bridge]).await?;
    if !domains.contains(ROUTED) {
        return Err(format!("systemd-resolved isn't told: {domains:?}"));
    }
    let (name, address) = (format!("{}.vm", vm.metadata.name), vm.allocation.address);
    let answer = resolvectl(&["query", "--cache=no", &name]).await?;
    match answer.contains(&address.to_string()) {
        true => Ok(()),
        false => Err(format!("{name} is not {address}, but {answer:?}")),
    }
}

/// Nobody is told to ask there, and nobody answers.
async fn gone(install: &Install) -> Result<(), String> {
    let server = gateway(install.subnet);
    for (what, told) in [("domain", ROUTED), ("dns", &server.to_string())] {
        let said = resolvectl(&[what, &install.bridge]).await?;
        if said.contains(told) {
            return Err(format!("systemd-resolved still asks: {said:?}"));
        }
    }
    // Its sockets close with its tasks, a little after it said that it ended.
    until(async || match probe(server).await {
        Err(_) => Ok(()),
        Ok(_) => Err(format!("somebody answers at {server}")),
    })
    .await
}

async fn probe(server: Ipv4Addr) -> Result<bool, String> {
    let asked = tokio::task::spawn_blocking(move || dns::probe(server, ANSWER)).await;
    let answer = asked.map_err(|error| error.to_string())?;
    answer.map_err(|error| error.to_string())
}

/// Neither a server that begins nor systemd-resolved tells when it does.
async fn until(check: impl AsyncFn() -> Result<(), String>) -> Result<(), String> {
    let mut last = "nothing was seen in time".to_owned();
    let looks = async {
        while let Err(why) = check().await {
            last = why;
            sleep(LOOK).await;
        }
    };
    let held = timeout(SOON, looks).await;
    held.map_err(|_| last)
}

async fn resolvectl(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("resolvectl").args(arguments).output().await;
    let output = output.map_err(|error| format!("resolvectl: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(text),
        false => Err(format!("resolvectl {arguments:?}: {said}")),
    }
}

/// What is published of a VM that runs.
fn object(vm: &VmIntent) -> Result<banger_core::api::status::Object, String> {
    let name = &vm.metadata.name;
    let object = json!({
        "apiVersion": "banger.dev/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {
            "name": name,
            "uid": vm.uid,
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "source": null,
        },
        "spec": {"image": vm.spec.image},
        "status": {
            "phase": "Ready",
            "observedGeneration": 1,
            "conditions": [],
            "runtime": {
                "guestIp": vm.allocation.address,
                "mac": "02:ba:00:00:00:01",
                "vsockCid": vm.allocation.slot.cid(),
                "dnsName": format!("{name}.vm"),
                "vmDir": "/v",
                "serialLog": "/v/serial.log",
                "apiSocket": "/s/fc.sock",
                "vsockSocket": "/s/v.sock",
                "knownHosts": "/v/known_hosts",
                "restarts": 0,
            },
        },
    });
    serde_json::from_value(object).map_err(|error| error.to_string())
}
