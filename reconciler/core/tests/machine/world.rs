//! The world that histories happen to, and when all of it is well.

use std::collections::{BTreeMap, HashMap, VecDeque};

use banger_core::admit::Admission;
use banger_core::api::{Kind, Name, Quantity};
use banger_core::intent::Intents;
use banger_core::observed::Instance;
use banger_core::plan::{Why, wants_to_run};
use banger_core::pressure::Gauge;
use banger_core::reading::FileReading;
use banger_core::vanish::{Vanish, Vanished};
use banger_protocol::VmUid;
use banger_testkit::{FakeHost, Section};

use crate::file::File;
use crate::random::Random;

/// So many names there are.
pub(crate) const VMS: u64 = 5;
const ROOMY: Quantity = Quantity::from_mib(1 << 30);

/// Everything that there is: a person's files, the daemon, the host.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) host: FakeHost,
    pub(crate) files: BTreeMap<String, File>,
    pub(crate) images_garbled: bool,
    pub(crate) cache: HashMap<(String, String), FileReading>,
    pub(crate) intents: Intents,
    pub(crate) vanish: Vanish,
    pub(crate) admission: Admission,
    pub(crate) vanished: Vanished,
    pub(crate) minted: u16,
    pub(crate) boot_ms: u64,
    pub(crate) boot_id: String,
    pub(crate) gauge: Gauge,
    /// Names whose document was there, in whatever form, at the last pass too.
    pub(crate) kept: BTreeMap<String, VmUid>,
    pub(crate) happened: VecDeque<String>,
    /// The last step that failed, and why.
    pub(crate) failed: String,
    /// How often each thing came about: a history that does nothing proves nothing.
    pub(crate) counted: BTreeMap<&'static str, u64>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last steps were: {:#?}", self.happened);
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            host: FakeHost::new(),
            files: (1..=VMS)
                .map(|n| (format!("vm-{n}"), File::Absent))
                .collect(),
            images_garbled: false,
            cache: HashMap::new(),
            intents: Intents::default(),
            vanish: Vanish::default(),
            admission: Admission::default(),
            vanished: Vanished::default(),
            minted: 0,
            boot_ms: 1_000_000,
            boot_id: String::new(),
            gauge: Gauge::default(),
            kept: BTreeMap::new(),
            happened: VecDeque::new(),
            failed: String::new(),
            counted: BTreeMap::new(),
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counted.entry(what).or_default() += 1;
    }

    fn settle(&mut self) -> usize {
        for pass in 0..300 {
            let plan = self.pass();
            let waits = plan.waiting.iter().filter_map(|waiting| match waiting.why {
                Why::BackOff { until_ms } | Why::CrashLoopBackOff { until_ms } => Some(until_ms),
                _ => None,
            });
            let images = self.intents.images.values();
            let images = images.map(|image| image.error.not_before_ms);
            let recheck = self.vanished.recheck_after_ms.map(|ms| ms + self.boot_ms);
            let due = waits.chain(images).chain(recheck);
            let due = due.filter(|at| *at > self.boot_ms).min();
            if plan.is_empty() {
                match due {
                    Some(at) => self.boot_ms = at,
                    None => return pass,
                }
            }
        }
        let plan = self.pass();
        panic!("it doesn't settle: {}; {plan:#?}", self.failed);
    }

    /// Faults end; then everything must be as the files say.
    pub(crate) fn calm(&mut self) {
        self.host.fail_observations(false);
        for section in Section::ALL {
            self.host.fail_section(section, false);
        }
        self.host.fill_disk(false);
        self.host.set_free(ROOMY);
        self.images_garbled = false;
        assert!(self.host.decoys_untouched());
        self.host.usurpers_leave();
        self.settle();
        // Faults that lay ahead strike while it settles; twice is enough, as
        // each strikes once.
        self.settle();
        let observed = self.host.do_observe();
        let leaks = self.host.leaks(&self.intents);
        assert!(leaks.is_empty(), "{leaks:#?}");
        assert!(self.host.decoys_untouched());
        for (name, file) in &self.files {
            let name: Name = name.parse().unwrap();
            let key = (Kind::VirtualMachine, name.clone());
            let vm = self.intents.vm(&name);
            match file {
                File::Absent => {
                    let held = self.vanished.held.contains_key(&key);
                    assert!(vm.is_none() || held, "{name} should have gone");
                }
                File::Good { vcpus, .. } => {
                    let vm = vm.unwrap_or_else(|| panic!("{name} should be there"));
                    let rejected = self.admission.rejected.get(&key);
                    assert!(rejected.is_none(), "{rejected:?}");
                    assert_eq!(vm.spec.vcpus, *vcpus, "{name}");
                }
                File::Refused | File::Garbage => {}
            }
        }
        for vm in self.intents.vms.values() {
            let here = observed.vm(vm.uid);
            let running = here
                .vmm
                .present()
                .is_some_and(|vmm| vmm.instance == Instance::Running);
            let should = wants_to_run(vm);
            assert_eq!(running, should, "{}: {vm:#?} {here:?}", vm.name());
        }
        assert_eq!(self.settle(), 0, "a settled host has nothing left to do");
    }
}
