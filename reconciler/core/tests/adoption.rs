//! Which of the VMMs that run a daemon takes over.

#![allow(clippy::unwrap_used, missing_docs)]

use banger_core::adoption::{Adoption, adoption};
use banger_core::intent::{Intents, Started, VmIntent};
use banger_core::observed::{Instance, Observed, ObservedVm, Presence, Root, Vmm};
use banger_protocol::Sectors;
use banger_protocol::inventory::{Executable, Process};
use banger_testkit::generate;

/// One VM that runs, and of which everything fits.
struct World {
    vm: VmIntent,
    here: ObservedVm,
    observed: Observed,
}

impl World {
    fn new() -> Self {
        let mut vm = generate::vm(1, generate::spec("debian"));
        vm.started = Some(Started {
            boot_id: "boot".into(),
            boot_ms: 1_000,
        });
        let here = ObservedVm {
            vmm: Presence::Present(Vmm {
                process: Process {
                    pid: 7,
                    start_time: 9,
                },
                instance: Instance::Running,
                executable: Presence::Present(Executable::Installed),
            }),
            root: Presence::Present(Root {
                node: "/dev/dm-0".into(),
                size: Sectors(2048),
                overflow: false,
            }),
            ..ObservedVm::absent()
        };
        let observed = Observed::absent("boot");
        Self { vm, here, observed }
    }

    fn vmm(&mut self) -> &mut Vmm {
        match &mut self.here.vmm {
            Presence::Present(vmm) => vmm,
            other => panic!("{other:?}"),
        }
    }

    fn adoption(mut self) -> Option<Adoption> {
        let mut intents = Intents::default();
        self.observed.vms.insert(self.vm.uid, self.here);
        intents.vms.insert(self.vm.uid, self.vm);
        adoption(&intents, &self.observed)
    }
}

/// Why it isn't adopted; empty: it is.
fn doubt(change: impl FnOnce(&mut World)) -> String {
    let mut world = World::new();
    change(&mut world);
    let adoption = world.adoption().unwrap();
    let left = adoption.left.first();
    assert_eq!(adoption.adopted.len() + adoption.left.len(), 1);
    assert!(left.is_none_or(|left| !left.orphan));
    left.map(|left| left.why.clone()).unwrap_or_default()
}

fn unknown<T>() -> Presence<T> {
    Presence::Unknown("no answer".into())
}

#[test]
fn all_that_proves_a_vmm_must_fit() {
    assert_eq!(doubt(|_| {}), "");
    let paused = doubt(|it| it.vmm().instance = Instance::Paused);
    assert_eq!(paused, "");
    assert_eq!(
        doubt(|it| it.vmm().executable = Presence::Present(Executable::Replaced)),
        "it runs another program than the Firecracker that was installed"
    );
    assert_eq!(
        doubt(|it| it.vmm().executable = unknown()),
        "its executable can't be told: no answer"
    );
    assert_eq!(
        doubt(|it| it.vmm().instance = Instance::NotStarted),
        "its guest was never started"
    );
    assert_eq!(
        doubt(|it| it.vmm().instance = Instance::Unknown("no answer".into())),
        "its API gave no answer: no answer"
    );
    assert_eq!(
        doubt(|it| it.here.root = Presence::Absent),
        "no root disk carries its dm UUID"
    );
    assert_eq!(
        doubt(|it| it.here.root = unknown()),
        "its root disk can't be told: no answer"
    );
    assert_eq!(
        doubt(|it| it.observed.boot_id = "another".into()),
        "nothing tells what it was started with"
    );
    assert_eq!(
        doubt(|it| it.vm.started = None),
        "nothing tells what it was started with"
    );
}

/// A helper of before tells nothing of programs: its VMs are adopted as they were.
#[test]
fn an_older_helper_is_believed() {
    assert_eq!(doubt(|it| it.vmm().executable = Presence::Absent), "");
}

#[test]
fn where_processes_cannot_be_told_nothing_is() {
    let mut world = World::new();
    world.observed.elsewhere.vmm = unknown();
    assert_eq!(world.adoption(), None);
}
