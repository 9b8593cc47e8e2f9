//! The world that histories happen to.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use banger_core::admit::Admission;
use banger_core::intent::Intents;
use banger_core::orphans::Orphans;
use banger_core::plan::Why;
use banger_core::pressure::Gauge;
use banger_core::reading::FileReading;
use banger_core::vanish::{Vanish, Vanished};
use banger_protocol::VmUid;
use banger_testkit::FakeHost;

use crate::file::File;
use crate::model::Model;
use crate::random::Random;

/// So many names there are.
pub(crate) const VMS: u64 = 5;

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
    /// Running time before this boot of the host.
    pub(crate) earlier_ms: u64,
    pub(crate) boot_id: String,
    pub(crate) gauge: Gauge,
    /// Entries of the trash that somebody wants back; the database has them.
    pub(crate) wanted: BTreeSet<String>,
    /// What of the host no intent knew at the last look.
    pub(crate) orphans: Option<Orphans>,
    pub(crate) model: Model,
    /// VMs that the mass guard held at the last pass.
    pub(crate) guarded: BTreeSet<VmUid>,
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
            earlier_ms: 0,
            boot_id: String::new(),
            gauge: Gauge::default(),
            wanted: BTreeSet::new(),
            orphans: None,
            model: Model::default(),
            guarded: BTreeSet::new(),
            kept: BTreeMap::new(),
            happened: VecDeque::new(),
            failed: String::new(),
            counted: BTreeMap::new(),
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counted.entry(what).or_default() += 1;
    }

    /// Passes until there is nothing left to do; answers how many it took.
    pub(crate) fn settle(&mut self) -> usize {
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

    /// VMs that the host holds something of and no intent knows.
    pub(crate) fn orphaned(&self) -> BTreeSet<VmUid> {
        let held = self.host.held().into_iter();
        held.filter(|uid| !self.intents.vms.contains_key(uid))
            .collect()
    }
}
