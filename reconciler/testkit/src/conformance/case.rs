//! The rules, and the parts that each is tried on.

use std::fmt;

use banger_core::intent::{ImageDigest, PowerOverride, VmIntent};
use banger_core::observed::{DiskFile, ObservedVm, Presence};
use banger_core::plan::{HostStep, Step};
use banger_core::seam::Host;
use banger_protocol::inventory::Ipv6;
use banger_protocol::{Cidrs, DiskRole, NetworkPolicy, PoolSize, Sectors, WarmUps};

use super::trial::{Trial, equal, shows};
use super::{Bench, Need, Part};

/// One thing that a host must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
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
    /// A disk that is to be replaced goes to the trash alone, and another takes its place.
    TrashedDisksAreReplaced,
    /// Disks that went to the trash come back as they were; purged ones don't.
    DroppedDisksComeBack,
    /// What is written beside the disks is renewed and seen, and nowhere without disks.
    RecordsAreRenewed,
    /// A tap has one owner: another VM with its number is refused, and can't remove it.
    TapsHaveOneOwner,
    /// Bridge, filter and tap pool may be made again, and are seen.
    NetworkMayBeRepeated,
}

/// A rule, tried on a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case(pub Rule, pub Part);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", self.0, self.1.as_str())
    }
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self(Rule::StepsMayBeRepeated, Part::Disks),
        Self(Rule::StepsMayBeRepeated, Part::Tap),
        Self(Rule::StepsMayBeRepeated, Part::Vm),
        Self(Rule::StepsMayBeRepeated, Part::Vmm),
        Self(Rule::StepsAreSeen, Part::Disks),
        Self(Rule::StepsAreSeen, Part::Tap),
        Self(Rule::StepsAreSeen, Part::Vm),
        Self(Rule::StepsAreSeen, Part::Vmm),
        Self(Rule::RemovalOfTheAbsentSucceeds, Part::Disks),
        Self(Rule::RemovalOfTheAbsentSucceeds, Part::Tap),
        Self(Rule::RemovalOfTheAbsentSucceeds, Part::Vm),
        Self(Rule::BusyDevicesStay, Part::Root),
        Self(Rule::NothingStandsOnNothing, Part::Disks),
        Self(Rule::NothingStandsOnNothing, Part::Root),
        Self(Rule::NothingStandsOnNothing, Part::Vm),
        Self(Rule::DisksOnlyGrow, Part::Disks),
        Self(Rule::TeardownLeavesNothing, Part::Disks),
        Self(Rule::TeardownLeavesNothing, Part::Tap),
        Self(Rule::TeardownLeavesNothing, Part::Vm),
        Self(Rule::TeardownLeavesNothing, Part::Vmm),
        Self(Rule::OthersStay, Part::Disks),
        Self(Rule::OthersStay, Part::Tap),
        Self(Rule::OthersStay, Part::Vm),
        Self(Rule::OthersStay, Part::Vmm),
        Self(Rule::TrashedDisksAreReplaced, Part::Disks),
        Self(Rule::DroppedDisksComeBack, Part::Disks),
        Self(Rule::RecordsAreRenewed, Part::Disks),
        Self(Rule::TapsHaveOneOwner, Part::Tap),
        Self(Rule::NetworkMayBeRepeated, Part::Bridge),
        Self(Rule::NetworkMayBeRepeated, Part::Filter),
        Self(Rule::NetworkMayBeRepeated, Part::Pool),
    ];

    /// What a host must have for it to be tried.
    pub const fn needs(self) -> &'static [Need] {
        self.1.needs()
    }

    /// Tries it; the error says how the host differs. Where there are to be
    /// taps the bridge must stand already, but for the bridge's own case.
    pub async fn run<H: Host>(self, host: &H, bench: &Bench) -> Result<(), String> {
        let trial = Trial {
            host,
            bench,
            part: self.1,
        };
        let held = self.hold(&trial).await;
        for vm in &bench.vms {
            trial.clean(vm).await?;
        }
        held
    }

    async fn hold<H: Host>(self, trial: &Trial<'_, H>) -> Result<(), String> {
        let [one, other] = &trial.bench.vms;
        match self.0 {
            Rule::StepsMayBeRepeated => {
                for step in trial.made() {
                    trial.must(one, &step).await?;
                    let first = trial.see(one).await;
                    trial.must(one, &step).await?;
                    equal(&step, &trial.see(one).await, &first)?;
                }
            }
            Rule::StepsAreSeen => {
                for step in trial.made() {
                    trial.must(one, &step).await?;
                    let here = trial.see(one).await;
                    if !shows(&here, &step) {
                        return Err(format!("{} isn't seen: {here:?}", step.describe()));
                    }
                }
            }
            Rule::RemovalOfTheAbsentSucceeds => {
                for step in self.1.removals() {
                    trial.must(one, &step).await?;
                }
                if self.1.has_disks() {
                    trial.must(one, &Step::DropDisks { purge: true }).await?;
                    trial.must(one, &Step::DropDisks { purge: false }).await?;
                }
            }
            Rule::BusyDevicesStay => {
                trial.make(one).await?;
                let before = trial.see(one).await;
                for role in [DiskRole::Cow, DiskRole::Base] {
                    trial.must_not(one, &Step::DetachLoop { role }).await?;
                }
                equal(&"a refusal", &trial.see(one).await, &before)?;
            }
            Rule::NothingStandsOnNothing => nothing_stands_on_nothing(trial, one).await?,
            Rule::DisksOnlyGrow => {
                let small = trial.bench.size;
                let large = Sectors(small.0 * 2);
                let mut seen = Vec::new();
                for size in [small, large, small] {
                    trial.must(one, &Step::MakeRootDisk { size }).await?;
                    trial.must(one, &Step::MakeWorkDisk { size }).await?;
                    let here = trial.see(one).await;
                    seen.push([here.cow_file, here.work_file]);
                }
                let [first, grown, last] = &seen[..] else {
                    return Err("three sizes were tried".into());
                };
                for (first, grown) in first.iter().zip(grown) {
                    let length = |disk: &Presence<DiskFile>| disk.present().map(|it| it.length);
                    if length(first).is_none() || length(grown) <= length(first) {
                        return Err(format!("a disk doesn't grow: {first:?}, then {grown:?}"));
                    }
                }
                equal(&"a smaller size", last, grown)?;
            }
            Rule::TeardownLeavesNothing => teardown_leaves_nothing(trial, one).await?,
            Rule::OthersStay => {
                trial.make(one).await?;
                trial.make(other).await?;
                let before = trial.see(other).await;
                let last = trial.made().pop();
                if !last.is_some_and(|step| shows(&before, &step)) {
                    return Err(format!("the other isn't seen: {before:?}"));
                }
                trial.clean(one).await?;
                equal(&"a teardown", &trial.see(other).await, &before)?;
            }
            Rule::TrashedDisksAreReplaced => trashed_disks_are_replaced(trial, one).await?,
            Rule::DroppedDisksComeBack => dropped_disks_come_back(trial, one).await?,
            Rule::RecordsAreRenewed => records_are_renewed(trial, one).await?,
            Rule::TapsHaveOneOwner => {
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
            Rule::NetworkMayBeRepeated if self.1 == Part::Pool => {
                pool_may_be_repeated(trial).await?;
            }
            Rule::NetworkMayBeRepeated => network_may_be_repeated(trial, one).await?,
        }
        Ok(())
    }
}

async fn nothing_stands_on_nothing<H: Host>(
    trial: &Trial<'_, H>,
    vm: &VmIntent,
) -> Result<(), String> {
    for role in [DiskRole::Cow, DiskRole::Work] {
        let attach = Step::AttachLoop { role, image: None };
        trial.must_not(vm, &attach).await?;
    }
    // Whoever removes an image takes it from under its disks.
    let gone = Step::AttachLoop {
        role: DiskRole::Base,
        image: Some(ImageDigest("0".repeat(64))),
    };
    trial.must_not(vm, &gone).await?;
    if trial.part == Part::Disks {
        return Ok(());
    }
    let size = trial.bench.size;
    trial.must_not(vm, &Step::EnsureRoot { size }).await?;
    if trial.part == Part::Root {
        return Ok(());
    }
    let start = Step::StartVmm {
        image: trial.bench.image.clone(),
    };
    trial.must_not(vm, &start).await
}

async fn teardown_leaves_nothing<H: Host>(
    trial: &Trial<'_, H>,
    vm: &VmIntent,
) -> Result<(), String> {
    let before = trial.see(vm).await;
    trial.make(vm).await?;
    for step in trial.part.removals() {
        trial.must(vm, &step).await?;
    }
    if trial.part.has_disks() {
        let here = trial.see(vm).await;
        if here.cow_file.present().is_none() || here.work_file.present().is_none() {
            return Err("a disk went with the devices".into());
        }
        trial.must(vm, &Step::DropDisks { purge: true }).await?;
    }
    let after = trial.see(vm).await;
    if !trial.part.is_gone(&after) {
        return Err(format!("after the teardown: {after:?}"));
    }
    // What the host can't tell it can't tell as before.
    equal(&"teardown", &after, &before)
}

/// Both disks, without a device over them.
async fn make_disks<H: Host>(trial: &Trial<'_, H>, vm: &VmIntent) -> Result<(), String> {
    let size = trial.bench.size;
    trial.must(vm, &Step::MakeRootDisk { size }).await?;
    trial.must(vm, &Step::MakeWorkDisk { size }).await
}

async fn trashed_disks_are_replaced<H: Host>(
    trial: &Trial<'_, H>,
    vm: &VmIntent,
) -> Result<(), String> {
    let role = DiskRole::Base;
    trial.must_not(vm, &Step::TrashDisk { role }).await?;
    make_disks(trial, vm).await?;
    let before = trial.see(vm).await;
    for (role, entries) in [(DiskRole::Work, 1), (DiskRole::Cow, 2)] {
        // The second time there is none.
        for _ in 0..2 {
            trial.must(vm, &Step::TrashDisk { role }).await?;
        }
        let here = trial.see(vm).await;
        let (gone, other) = match role {
            DiskRole::Work => (&here.work_file, here.cow_file == before.cow_file),
            _ => (&here.cow_file, here.work_file == before.work_file),
        };
        if !gone.is_absent() || !other {
            return Err(format!("{} went to the trash: {here:?}", role.as_str()));
        }
        let trash = trial.trash(vm).await?;
        let last = trash.last().map(|entry| (entry.disk, entry.disks.clone()));
        equal(
            &"going to the trash",
            &last,
            &Some((Some(role), vec![role])),
        )?;
        equal(&"going to the trash", &trash.len(), &entries)?;
        make_disks(trial, vm).await?;
    }
    let here = trial.see(vm).await;
    let files = |here: &ObservedVm| [here.cow_file.clone(), here.work_file.clone()];
    equal(&"a replacement", &files(&here), &files(&before))
}

async fn dropped_disks_come_back<H: Host>(
    trial: &Trial<'_, H>,
    vm: &VmIntent,
) -> Result<(), String> {
    make_disks(trial, vm).await?;
    let before = trial.see(vm).await;
    let drop = async |purge: bool| {
        for _ in 0..2 {
            trial.must(vm, &Step::DropDisks { purge }).await?;
        }
        let here = trial.see(vm).await;
        match trial.part.is_gone(&here) {
            true => trial.trash(vm).await,
            false => Err(format!("disks stay (purge: {purge}): {here:?}")),
        }
    };
    let trash = drop(false).await?;
    let told = trash.iter().map(|entry| (entry.disk, entry.disks.clone()));
    let whole = (None, vec![DiskRole::Cow, DiskRole::Work]);
    equal(&"dropping", &told.collect::<Vec<_>>(), &vec![whole])?;
    for _ in 0..2 {
        trial.must(vm, &Step::RestoreDisks).await?;
        equal(&"taking them back", &trial.see(vm).await, &before)?;
        equal(&"taking them back", &trial.trash(vm).await?, &vec![])?;
    }
    equal(&"purging", &drop(true).await?, &vec![])?;
    trial.must(vm, &Step::RestoreDisks).await?;
    match trial.part.is_gone(&trial.see(vm).await) {
        true => Ok(()),
        false => Err("what was purged came back".into()),
    }
}

async fn records_are_renewed<H: Host>(trial: &Trial<'_, H>, vm: &VmIntent) -> Result<(), String> {
    trial.must_not(vm, &Step::KeepRecord).await?;
    let size = trial.bench.size;
    trial.must(vm, &Step::MakeRootDisk { size }).await?;
    let stopped = VmIntent {
        power: PowerOverride::Stopped,
        ..vm.clone()
    };
    for _ in 0..2 {
        trial.must(&stopped, &Step::KeepRecord).await?;
        let told = trial.see(vm).await.record;
        if !told.as_ref().is_some_and(|told| told.is_current(&stopped)) {
            return Err(format!("the record isn't renewed: {told:?}"));
        }
    }
    Ok(())
}

async fn network_may_be_repeated<H: Host>(
    trial: &Trial<'_, H>,
    vm: &VmIntent,
) -> Result<(), String> {
    let allow = Cidrs::of(["192.0.2.0/24".parse().map_err(|_| "a literal")?]);
    let before = trial.host.observe(&trial.bench.vms).await;
    let ipv6 = before.has_ipv6();
    let policy = NetworkPolicy {
        guests: [vm.allocation.slot].into(),
        egress: [(vm.allocation.slot, allow.unwrap_or_default())]
            .into_iter()
            .collect(),
        isolated: true,
        ipv6,
    };
    let mut steps = vec![HostStep::EnsureBridge { ipv6 }];
    if trial.part == Part::Filter {
        steps.push(HostStep::EnsureNat {
            policy: policy.clone(),
        });
    }
    for step in steps {
        for _ in 0..2 {
            trial.must_host(&step).await?;
        }
    }
    let observed = trial.host.observe(&trial.bench.vms).await;
    equal(&"the bridge", &observed.bridge, &Presence::Present(()))?;
    if ipv6 {
        let bridge = Presence::Present(Ipv6::Bridge);
        equal(&"the bridge's IPv6", &observed.ipv6, &bridge)?;
    }
    if trial.part == Part::Filter {
        equal(&"the filter", &observed.nat, &Presence::Present(policy))?;
    }
    Ok(())
}

/// It is filled and emptied, and then as large as it was before.
async fn pool_may_be_repeated<H: Host>(trial: &Trial<'_, H>) -> Result<(), String> {
    let see = async || trial.host.observe(&trial.bench.vms).await.pool;
    let before = see().await.present().and_then(|pool| pool.size);
    let some = PoolSize::try_from(3).map_err(|error| error.to_string())?;
    for size in [some, PoolSize::EMPTY] {
        for _ in 0..2 {
            fill(trial, size).await?;
            let pool = see().await;
            let kept = u32::from(size.get())..=u32::from(size.most_kept());
            let stands = pool.present().is_some_and(|pool| {
                pool.size == Some(size) && kept.contains(&pool.warm) && pool.unfinished == 0
            });
            if !stands {
                return Err(format!("a pool of {} taps is {pool:?}", size.get()));
            }
        }
    }
    match before {
        Some(size) => fill(trial, size).await,
        None => Ok(()),
    }
}

async fn fill<H: Host>(trial: &Trial<'_, H>, size: PoolSize) -> Result<(), String> {
    let parallel = WarmUps::ONE;
    trial
        .must_host(&HostStep::EnsurePool { size, parallel })
        .await
}
