//! From a request to its operation. The match is the whole list of what the
//! owner can make root do. The request has its turn already (`lanes.rs`).

use banger_protocol::version::CURRENT;
use banger_protocol::{NetworkPolicy, Request, Response};
use std::os::fd::OwnedFd;

use crate::op::{bridge, dm, dns, inventory, loopdev, nat, pool, resolver, tap, vmm};
use crate::{Done, Failure, Host};

/// Runs one operation. The number of descriptors has been checked.
pub(super) async fn answer(host: &Host, request: Request, descriptors: Vec<OwnedFd>) -> Response {
    let op = request.op();
    let result = match request {
        Request::Hello { .. } => Ok(Response::Hello { version: CURRENT }),
        Request::Inventory {} => inventory::read(host)
            .await
            .map(|inventory| Response::Inventory {
                inventory: Box::new(inventory),
            }),
        change => run(host, change, descriptors).await.map(Response::from),
    };
    result.unwrap_or_else(|failure| Response::Error {
        error: failure.on_wire(op),
    })
}

async fn run(host: &Host, request: Request, descriptors: Vec<OwnedFd>) -> Done {
    let mut descriptors = descriptors.into_iter();
    let mut next = || {
        let missing = || Failure::refused("descriptors", "one is missing");
        descriptors.next().ok_or_else(missing)
    };
    match request {
        Request::Hello { .. } | Request::Inventory {} => Err(Failure::refused(
            "dispatch",
            "not an operation that changes anything",
        )),
        Request::EnsureBridge { ipv6 } => bridge::ensure(host, ipv6).await,
        Request::EnsurePool { size, parallel } => pool::ensure(host, size, parallel).await,
        Request::EnsureTap { uid, slot } => tap::ensure(host, uid, slot).await,
        Request::RemoveTap { uid, slot } => tap::remove(host, uid, slot).await,
        Request::EnsureLoop { uid, role } => loopdev::ensure(host, uid, role, next()?).await,
        Request::RemoveLoop { uid, role, device } => loopdev::remove(uid, role, device).await,
        Request::EnsureDm {
            uid,
            base,
            cow,
            size,
        } => dm::ensure(host, uid, base, cow, size).await,
        Request::RemoveDm { uid } => dm::remove(uid).await,
        Request::EnsureNat {
            guests,
            egress,
            isolated,
            ipv6,
        } => {
            let policy = NetworkPolicy {
                guests,
                egress,
                isolated,
                ipv6,
            };
            nat::ensure(host, &policy).await
        }
        Request::EnsureDns {} => {
            let sockets = dns::Sockets {
                udp: next()?,
                tcp: next()?,
            };
            dns::ensure(host, sockets)
        }
        Request::EnsureResolver {} => resolver::ensure(host).await,
        Request::RemoveResolver {} => resolver::remove(host).await,
        Request::StartVmm {
            uid,
            slot,
            memory_mib,
            vcpus,
            work_disk,
        } => {
            let machine = vmm::Machine {
                slot,
                memory_mib,
                vcpus,
                work_disk,
            };
            let files = vmm::Files {
                kernel: next()?,
                initrd: next()?,
                serial: next()?,
            };
            vmm::start(host, uid, machine, files).await
        }
        Request::KillVmm { uid } => vmm::kill(host, uid).await,
        Request::RemoveVmm { uid } => vmm::remove(host, uid).await,
    }
}
