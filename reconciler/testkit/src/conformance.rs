//! What every host behind the seam must do: the same cases for the simulated
//! one and for a real kernel, so that the one can't drift from the other.
//!
//! ```text
//! [`Bench`] (an imported image, two VMs' intents) -> each [`Case`] -> clean up
//! ```
//!
//! Assumes that nobody else acts on the bench's VMs. A case leaves nothing of
//! them, whether it held or not; others' objects on the host don't matter to it.

use banger_core::intent::{ImageDigest, PowerOverride, VmIntent};
use banger_core::observed::{ObservedVm, Presence};
use banger_core::plan::{HostStep, Step};
use banger_core::seam::{Host, StepError, VmRef};
use banger_protocol::inventory::Ipv6;
use banger_protocol::{Cidrs, DiskRole, NetworkPolicy, Sectors};

/// What the cases work on.
#[derive(Clone, Debug)]
pub struct Bench {
    /// An image that the host has imported.
    pub image: ImageDigest,
    /// The size of root disks; at least the image's.
    pub size: Sectors,
    /// Two VMs, pinned to the image, that the host holds nothing of.
    pub vms: [VmIntent; 2],
}

/// One thing that a host must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// A step that was done may be done again, and changes nothing then.
    StepsMayBeRepeated,
    /// What a step made is in the next observation.
    StepsAreSeen,
    /// To remove what isn't there succeeds.
    RemovalOfTheAbsentSucceeds,
    /// A device that another stands on can't go.
    BusyDevicesStay,
    /// Nothing stands on what isn't there.
    NothingStandsOnNothing,
    /// A disk only ever grows.
    DisksOnlyGrow,
    /// Removals take everything but disks; purging takes those.
    TeardownLeavesNothing,
    /// What is done for one VM is not done to another.
    OthersStay,
    /// What is written beside the disks is renewed and seen, and nowhere without disks.
    RecordsAreRenewed,
    /// A tap has one owner: another VM with its number is refused, and can't remove it.
    TapsHaveOneOwner,
    /// Bridge and NAT may be made again, and are seen.
    NetworkMayBeRepeated,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::StepsMayBeRepeated,
        Self::StepsAreSeen,
        Self::RemovalOfTheAbsentSucceeds,
        Self::BusyDevicesStay,
        Self::NothingStandsOnNothing,
        Self::DisksOnlyGrow,
        Self::TeardownLeavesNothing,
        Self::OthersStay,
        Self::RecordsAreRenewed,
        Self::TapsHaveOneOwner,
        Self::NetworkMayBeRepeated,
    ];

    /// Tries it; the error says how the host differs. The bridge must stand
    /// already for every case but the network's own.
    pub async fn run<H: Host>(self, host: &H, bench: &Bench) -> Result<(), String> {
        let trial = Trial { host, bench };
        let held = self.hold(&trial).await;
        for vm in &bench.vms {
            trial.clean(vm).await?;
        }
        held
    }

    async fn hold<H: Host>(self, trial: &Trial<'_, H>) -> Result<(), String> {
        let [one, other] = &trial.bench.vms;
        match self {
            Self::StepsMayBeRepeated => {
                for step in trial.made() {
                    trial.must(one, &step).await?;
                    let first = trial.see(one).await;
                    trial.must(one, &step).await?;
                    equal(&step, &trial.see(one).await, &first)?;
                }
            }
            Self::StepsAreSeen => {
                for step in trial.made() {
                    trial.must(one, &step).await?;
                    let here = trial.see(one).await;
                    if !shows(&here, &step) {
                        return Err(format!("{} isn't seen: {here:?}", step.describe()));
                    }
                }
            }
            Self::RemovalOfTheAbsentSucceeds => {
                for step in removals() {
                    trial.must(one, &step).await?;
                }
                trial.must(one, &Step::DropDisks { purge: true }).await?;
                trial.must(one, &Step::DropDisks { purge: false }).await?;
            }
            Self::BusyDevicesStay => {
                trial.make(one).await?;
                let before = trial.see(one).await;
                for role in [DiskRole::Cow, DiskRole::Base] {
                    trial.must_not(one, &Step::DetachLoop { role }).await?;
                }
                equal(&"a refusal", &trial.see(one).await, &before)?;
            }
            Self::NothingStandsOnNothing => {
                let attach = Step::AttachLoop {
                    role: DiskRole::Cow,
                    image: None,
                };
                trial.must_not(one, &attach).await?;
                // Whoever removes an image takes it from under its disks.
                let gone = Step::AttachLoop {
                    role: DiskRole::Base,
                    image: Some(ImageDigest("0".repeat(64))),
                };
                trial.must_not(one, &gone).await?;
                let size = trial.bench.size;
                trial.must_not(one, &Step::EnsureRoot { size }).await?;
                let start = Step::StartVmm {
                    image: trial.bench.image.clone(),
                };
                trial.must_not(one, &start).await?;
            }
            Self::DisksOnlyGrow => {
                let small = trial.bench.size;
                let large = Sectors(small.0 * 2);
                trial.must(one, &Step::MakeRootDisk { size: large }).await?;
                let before = trial.see(one).await.cow_file;
                trial.must(one, &Step::MakeRootDisk { size: small }).await?;
                equal(&"a smaller size", &trial.see(one).await.cow_file, &before)?;
            }
            Self::TeardownLeavesNothing => {
                trial.make(one).await?;
                for step in removals() {
                    trial.must(one, &step).await?;
                }
                let here = trial.see(one).await;
                if here.cow_file.present().is_none() {
                    return Err("the root disk went with the devices".into());
                }
                trial.must(one, &Step::DropDisks { purge: true }).await?;
                equal(&"teardown", &trial.see(one).await, &ObservedVm::absent())?;
            }
            Self::OthersStay => {
                trial.make(one).await?;
                trial.make(other).await?;
                let before = trial.see(other).await;
                trial.clean(one).await?;
                equal(&"a teardown", &trial.see(other).await, &before)?;
            }
            Self::RecordsAreRenewed => {
                trial.must_not(one, &Step::KeepRecord).await?;
                let size = trial.bench.size;
                trial.must(one, &Step::MakeRootDisk { size }).await?;
                let stopped = VmIntent {
                    power: PowerOverride::Stopped,
                    ..one.clone()
                };
                for _ in 0..2 {
                    trial.must(&stopped, &Step::KeepRecord).await?;
                    let told = trial.see(one).await.record;
                    if !told.as_ref().is_some_and(|told| told.is_current(&stopped)) {
                        return Err(format!("the record isn't renewed: {told:?}"));
                    }
                }
            }
            Self::TapsHaveOneOwner => {
                trial.make(one).await?;
                let before = trial.see(one).await;
                let thief = VmIntent {
                    allocation: one.allocation.clone(),
                    ..other.clone()
                };
                trial.must_not(&thief, &Step::EnsureTap).await?;
                // Refused or without effect: it stays.
                let _ = trial.step(&thief, &Step::RemoveTap).await;
                equal(&"another's claim", &trial.see(one).await, &before)?;
            }
            Self::NetworkMayBeRepeated => {
                let allow = Cidrs::of(["192.0.2.0/24".parse().map_err(|_| "a literal")?]);
                let before = trial.host.observe(&trial.bench.vms).await;
                let ipv6 = before.has_ipv6();
                let policy = NetworkPolicy {
                    guests: [one.allocation.slot].into(),
                    egress: [(one.allocation.slot, allow.unwrap_or_default())]
                        .into_iter()
                        .collect(),
                    isolated: true,
                    ipv6,
                };
                let nat = HostStep::EnsureNat {
                    policy: policy.clone(),
                };
                for step in [HostStep::EnsureBridge { ipv6 }, nat] {
                    for _ in 0..2 {
                        let done = trial.host.host_step(&step).await;
                        done.map_err(|error| refused(&format!("{step:?}"), &error))?;
                    }
                }
                let observed = trial.host.observe(&trial.bench.vms).await;
                equal(&"the bridge", &observed.bridge, &Presence::Present(()))?;
                if ipv6 {
                    let bridge = Presence::Present(Ipv6::Bridge);
                    equal(&"the bridge's IPv6", &observed.ipv6, &bridge)?;
                }
                equal(&"NAT", &observed.nat, &Presence::Present(policy))?;
            }
        }
        Ok(())
    }
}

struct Trial<'a, H> {
    host: &'a H,
    bench: &'a Bench,
}

impl<H: Host> Trial<'_, H> {
    /// Steps that make everything below a VMM, in order.
    fn made(&self) -> Vec<Step> {
        let size = self.bench.size;
        let attach = |role, image| Step::AttachLoop { role, image };
        vec![
            Step::MakeRootDisk { size },
            attach(DiskRole::Base, Some(self.bench.image.clone())),
            attach(DiskRole::Cow, None),
            Step::EnsureRoot { size },
            Step::EnsureTap,
        ]
    }

    async fn make(&self, vm: &VmIntent) -> Result<(), String> {
        for step in self.made() {
            self.must(vm, &step).await?;
        }
        Ok(())
    }

    async fn clean(&self, vm: &VmIntent) -> Result<(), String> {
        for step in removals() {
            self.must(vm, &step).await?;
        }
        self.must(vm, &Step::DropDisks { purge: true }).await
    }

    async fn step(&self, vm: &VmIntent, step: &Step) -> Result<(), StepError> {
        let vm = VmRef::Intended(Box::new(vm.clone()));
        self.host.vm_step(&vm, step).await
    }

    async fn must(&self, vm: &VmIntent, step: &Step) -> Result<(), String> {
        let done = self.step(vm, step).await;
        done.map_err(|error| refused(&step.describe(), &error))
    }

    async fn must_not(&self, vm: &VmIntent, step: &Step) -> Result<(), String> {
        match self.step(vm, step).await {
            Ok(()) => Err(format!("{} should be refused", step.describe())),
            Err(_) => Ok(()),
        }
    }

    async fn see(&self, vm: &VmIntent) -> ObservedVm {
        let observed = self.host.observe(&self.bench.vms).await;
        observed.vm(vm.uid).clone()
    }
}

/// Steps that take away everything but disks, whatever is there.
fn removals() -> Vec<Step> {
    vec![
        Step::KillVmm,
        Step::RemoveVmm,
        Step::RemoveTap,
        Step::RemoveRoot,
        Step::DetachLoop {
            role: DiskRole::Work,
        },
        Step::DetachLoop {
            role: DiskRole::Cow,
        },
        Step::DetachLoop {
            role: DiskRole::Base,
        },
    ]
}

fn shows(here: &ObservedVm, step: &Step) -> bool {
    match step {
        Step::MakeRootDisk { .. } => here.cow_file.present().is_some(),
        Step::AttachLoop { role, .. } => match role {
            DiskRole::Base => here.base_loop.present().is_some(),
            DiskRole::Cow => here.cow_loop.present().is_some(),
            DiskRole::Work => here.work_loop.present().is_some(),
        },
        Step::EnsureRoot { size } => here.root.present().is_some_and(|root| root.size == *size),
        Step::EnsureTap => here.tap.present().is_some(),
        _ => false,
    }
}

fn refused(what: &str, error: &StepError) -> String {
    format!("{what} failed: {error}")
}

fn equal<T: PartialEq + std::fmt::Debug>(
    after: &dyn std::fmt::Debug,
    now: &T,
    expected: &T,
) -> Result<(), String> {
    if now == expected {
        return Ok(());
    }
    Err(format!("after {after:?}: {now:?}, not {expected:?}"))
}
