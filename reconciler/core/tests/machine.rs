//! A state machine over everything that is pure: files, vanishing, admission,
//! plans and their outcomes, on the simulated host. Random histories of what
//! people do and what breaks, one pass of the daemon after each step.
//!
//! `BANGER_SEED` repeats a run; `BANGER_SOAK_STEPS` makes it longer.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use banger_core::admit::{Admission, Rules, admit};
use banger_core::api::{Kind, Name, Quantity};
use banger_core::config::VmDefaults;
use banger_core::effect;
use banger_core::intent::{Deletion, Intents, PowerOverride};
use banger_core::observed::{Instance, Observed};
use banger_core::outcome::{self, Moment};
use banger_core::plan::{self, Clock, ImageStep, Plan, Step, Verb, VmPlan, Why, wants_to_run};
use banger_core::pressure::{DiskLimits, Gauge, Pressure};
use banger_core::reading::{FileReading, Reading};
use banger_core::seam::VmRef;
use banger_core::vanish::{Vanish, Vanished};
use banger_protocol::VmUid;
use banger_testkit::{FakeHost, Fault, Section, When, generate, read};
use jiff::Timestamp;

const STEPS: u64 = 100_000;
/// Steps after which a history ends, and its host with it.
const LENGTH: u64 = 400;
const VMS: u64 = 5;
const DISK: DiskLimits = DiskLimits {
    creates: Quantity::from_mib(2048),
    guests: Quantity::from_mib(512),
    hysteresis: Quantity::from_mib(256),
    ballast: Quantity::from_mib(256),
};
const ROOMY: Quantity = Quantity::from_mib(1 << 30);

/// SplitMix64 (Steele, Lea, Flood 2014): enough for choices, and repeatable.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The reference model of one file: what the person last wrote there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum File {
    Absent,
    /// Accepted, with the numbers that the intent must come to show.
    Good {
        text: String,
        vcpus: u8,
    },
    /// Its object can be told, but it isn't accepted.
    Refused,
    /// Nothing can be made out of it.
    Garbage,
}

struct World {
    random: Random,
    host: FakeHost,
    files: BTreeMap<String, File>,
    images_garbled: bool,
    cache: HashMap<(String, String), FileReading>,
    intents: Intents,
    vanish: Vanish,
    admission: Admission,
    vanished: Vanished,
    minted: u16,
    boot_ms: u64,
    boot_id: String,
    gauge: Gauge,
    /// Names whose document was there, in whatever form, at the last pass too.
    kept: BTreeMap<String, VmUid>,
    happened: VecDeque<String>,
    /// The last step that failed, and why.
    failed: String,
    /// How often each thing came about: a history that does nothing proves nothing.
    counted: BTreeMap<&'static str, u64>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last steps were: {:#?}", self.happened);
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
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

    fn reading(&mut self) -> Reading {
        let mut texts = Vec::new();
        let images = if self.images_garbled {
            "{{{{".to_owned()
        } else {
            format!("{}---\n{}", read::image("debian"), read::image("alpine"))
        };
        texts.push(("images.yaml".to_owned(), images));
        for (name, file) in &self.files {
            let text = match file {
                File::Absent => continue,
                File::Good { text, .. } => text.clone(),
                File::Refused => read::vm(name, "debian", "vcpu: 2"),
                File::Garbage => "{{{{".to_owned(),
            };
            texts.push((format!("{name}.yaml"), text));
        }
        let files = texts.into_iter().map(|(file, text)| {
            let key = (file, text);
            let known = self.cache.get(&key).cloned();
            known.unwrap_or_else(|| {
                let read = read::reading(&[(key.0.as_str(), key.1.as_str())])
                    .files
                    .remove(0);
                self.cache.insert(key, read.clone());
                read
            })
        });
        Reading {
            files: files.collect(),
            incomplete: None,
        }
    }

    /// One pass of the daemon, as `controller/pass.rs` makes it.
    fn pass(&mut self) -> Plan {
        let reading = self.reading();
        self.vanished = self.vanish.step(&reading, &self.intents, self.boot_ms);
        let minted = &mut self.minted;
        let mut mint = || {
            *minted += 1;
            generate::uid(*minted)
        };
        let rules = Rules {
            subnet: "172.30.0.0/16".parse().unwrap(),
            slots: 100,
            defaults: VmDefaults::default(),
        };
        let now = Timestamp::UNIX_EPOCH;
        let before = std::mem::take(&mut self.intents);
        let gone = &self.vanished.gone;
        self.admission = admit(&reading, &before, gone, &rules, &mut mint, now);
        self.intents = self.admission.intents.clone();
        self.check_admission(&before);
        let observed = self.host.do_observe();
        if observed.boot_id != self.boot_id {
            self.boot_id.clone_from(&observed.boot_id);
            for vm in self.intents.vms.values_mut() {
                (vm.crash.not_before_ms, vm.error.not_before_ms) = (0, 0);
            }
            for image in self.intents.images.values_mut() {
                image.error.not_before_ms = 0;
            }
        }
        self.gauge.read(&observed, &DISK);
        let disk = self.gauge.state(DISK);
        let clock = Clock {
            boot_ms: self.boot_ms,
            available_memory: Some(1 << 50),
            pool: None,
            disk,
            guest_to_guest: true,
            ipv6: true,
        };
        let plan = plan::plan(&self.intents, &observed, clock);
        check_plan(&plan, &observed);
        check_pressure(&plan, &observed, disk.pressure);
        self.carry_out(&plan);
        if self.host.faults().has_crashed() {
            self.crash();
        }
        plan
    }

    fn count(&mut self, what: &'static str) {
        *self.counted.entry(what).or_default() += 1;
    }

    /// Another daemon: what isn't durable is forgotten.
    fn crash(&mut self) {
        self.count("crash");
        self.host.faults().revive();
        self.vanish = Vanish::default();
        self.gauge = Gauge::default();
    }

    fn carry_out(&mut self, plan: &Plan) {
        let died = |world: &Self| world.host.faults().has_crashed();
        for step in plan.host.iter().chain(&plan.ballast) {
            // A failure is seen by the next pass.
            let _ = self.host.do_host_step(step);
        }
        for step in &plan.images {
            if died(self) {
                return;
            }
            match step {
                ImageStep::Import { uid, .. } => {
                    let done = self.host.do_import(&self.intents.images[uid]);
                    if died(self) {
                        return;
                    }
                    let image = self.intents.images.get_mut(uid).unwrap();
                    match done {
                        Ok(imported) => outcome::after_import(image, imported),
                        Err(_) => outcome::after_failure(&mut image.error, self.boot_ms),
                    }
                }
                ImageStep::Forget { uid, .. } => {
                    self.intents.images.remove(uid);
                }
                ImageStep::Remove { digest } => {
                    let _ = self.host.do_remove_image(digest);
                }
            }
        }
        for action in &plan.vms {
            if died(self) {
                return;
            }
            self.chain(action);
        }
    }

    fn chain(&mut self, action: &VmPlan) {
        let moment = Moment {
            boot_id: self.boot_id.clone(),
            boot_ms: self.boot_ms,
        };
        self.count(action.verb.as_str());
        for step in &action.steps {
            let vm = self.intents.vms[&action.uid].clone();
            match step {
                Step::TrashDisk { .. } => {
                    self.count("replaced disk");
                    assert!(
                        !vm.confirmations.is_empty(),
                        "{step:?} unconfirmed: {vm:#?}"
                    );
                }
                Step::DropDisks { purge } => {
                    let deletion = vm.deletion.as_ref().expect("disks go with a deletion");
                    assert_eq!(deletion.purge, *purge);
                }
                _ => {}
            }
            if *step == Step::Forget {
                self.intents.vms.remove(&action.uid);
                return;
            }
            let stored = step.is_the_stores();
            let done = if stored {
                Ok(())
            } else {
                let vm = VmRef::Intended(Box::new(vm));
                self.host.do_vm_step(&vm, step)
            };
            if self.host.faults().has_crashed() {
                return;
            }
            let vm = self.intents.vms.get_mut(&action.uid).unwrap();
            match done {
                Ok(()) => {
                    outcome::after_step(vm, step, &moment);
                }
                Err(error) => {
                    outcome::after_failure(&mut vm.error, self.boot_ms);
                    self.failed = format!("{}: {step:?}: {error}", vm.name());
                    self.count("failed step");
                    return;
                }
            }
        }
        if let Some(vm) = self.intents.vms.get_mut(&action.uid) {
            outcome::after_success(&mut vm.error);
        }
    }

    /// No document, no deletion without one; and nobody shares anything.
    fn check_admission(&mut self, before: &Intents) {
        let mut slots = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for vm in self.intents.vms.values() {
            assert!(
                slots.insert(vm.allocation.slot),
                "{} shares a slot",
                vm.name()
            );
            let address = vm.allocation.address;
            assert!(addresses.insert(address), "{} shares {address}", vm.name());
        }
        let lasting = std::mem::take(&mut self.kept);
        for (name, file) in &self.files {
            if *file == File::Absent {
                continue;
            }
            let name: Name = name.parse().unwrap();
            let now = self.intents.vm(&name);
            if let Some(now) = now.filter(|now| now.deletion.is_none()) {
                self.kept.insert(name.to_string(), now.uid);
            }
            if let Some(uid) = lasting.get(name.as_str()) {
                let now = now.unwrap_or_else(|| panic!("{name} is lost though it has a file"));
                assert_eq!(now.uid, *uid, "{name} is another one now");
                assert!(
                    now.deletion.is_none(),
                    "{name} is deleted though it has a file"
                );
            }
            let broken = matches!(file, File::Refused | File::Garbage);
            if broken && let Some(old) = before.vm(&name) {
                let now = &self.intents.vms[&old.uid];
                assert_eq!(
                    now.deletion, old.deletion,
                    "{name}: a broken file decided that"
                );
                assert_eq!(now.spec, old.spec, "{name}: a broken file changed the spec");
            }
        }
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
    fn calm(&mut self) {
        self.host.fail_observations(false);
        for section in Section::ALL {
            self.host.fail_section(section, false);
        }
        self.host.fill_disk(false);
        self.host.set_free(ROOMY);
        self.images_garbled = false;
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

    fn some_vm(&mut self) -> String {
        format!("vm-{}", self.random.below(VMS) + 1)
    }

    fn intent(&mut self, name: &str) -> Option<&mut banger_core::intent::VmIntent> {
        self.intents
            .vms
            .values_mut()
            .find(|vm| vm.name().as_str() == name && vm.deletion.is_none())
    }

    fn document(&mut self, name: &str) -> File {
        let random = &mut self.random;
        let image = if random.one_in(4) { "alpine" } else { "debian" };
        let vcpus = u8::try_from(random.below(3) + 1).unwrap();
        let memory = (random.below(3) + 1) * 256;
        let root = random.below(3) * 2 + 2;
        let policy = ["Always", "OnFailure", "Halted"][usize::try_from(random.below(3)).unwrap()];
        let update = if random.one_in(2) {
            "Auto"
        } else {
            "OnNextBoot"
        };
        let mut spec = format!(
            "vcpus: {vcpus}, memory: {memory}Mi, rootDisk: {{size: {root}Gi}}, \
             runPolicy: {policy}, updatePolicy: {update}"
        );
        if random.one_in(2) {
            spec.push_str(&format!(", workDisk: {{size: {}Gi}}", random.below(3) + 1));
        }
        File::Good {
            text: read::vm(name, image, &spec),
            vcpus,
        }
    }

    fn step(&mut self) {
        let name = self.some_vm();
        let uid = self
            .intents
            .vms
            .values()
            .find(|vm| vm.name().as_str() == name);
        let uid = uid.map(|vm| vm.uid);
        let what = self.random.below(28);
        self.happened.push_back(format!("{what} {name}"));
        if self.happened.len() > 40 {
            self.happened.pop_front();
        }
        match what {
            0..=4 => {
                let file = self.document(&name);
                self.files.insert(name, file);
            }
            5 => {
                self.files.insert(name, File::Absent);
            }
            6 => {
                self.files.insert(name, File::Refused);
            }
            7 => {
                self.files.insert(name, File::Garbage);
            }
            8 => self.images_garbled = self.random.one_in(3),
            9 => self.delete(&name),
            10 => {
                let intents = self.intents.clone();
                if let Some(vm) = self.intent(&name) {
                    let changes = effect::pending(vm, &intents);
                    let words = changes.iter().filter_map(effect::FieldChange::confirmation);
                    // As the controller does: what was confirmed before still is.
                    for word in words {
                        if !vm.confirmations.contains(&word) {
                            vm.confirmations.push(word);
                        }
                    }
                }
            }
            11 => {
                let power = match self.random.below(3) {
                    0 => PowerOverride::Stopped,
                    1 => PowerOverride::Started,
                    _ => PowerOverride::None,
                };
                if let Some(vm) = self.intent(&name) {
                    vm.power = power;
                }
            }
            12 => {
                if let Some(vm) = self.intent(&name) {
                    vm.restart_token += 1;
                }
            }
            13 => {
                uid.map(|uid| self.host.kill_vmm(uid));
            }
            14 => {
                uid.map(|uid| self.host.guest_leaves(uid));
            }
            15 => {
                uid.map(|uid| self.host.recycle_pid(uid));
            }
            16 => self.crash(),
            17 => {
                let fail = !self.random.one_in(3);
                self.host.fail_observations(fail);
            }
            18 => {
                let at = usize::try_from(self.random.below(9)).unwrap();
                let fail = self.random.one_in(2);
                self.host.fail_section(Section::ALL[at], fail);
            }
            19 => {
                self.host.reboot();
                self.crash();
                self.boot_ms = 5_000;
            }
            20 => self.boot_ms += self.random.below(100_000_000),
            21 => {
                let full = self.random.one_in(2);
                self.host.fill_disk(full);
            }
            22..=23 => {
                let when = When::ALL[usize::try_from(self.random.below(5)).unwrap()];
                let call = self.host.calls() + self.random.below(20);
                self.host.add_fault(Fault { call, when });
            }
            24 => self.boot_ms += self.random.below(5_000),
            25..=26 => {
                let free = [0, 200, 600, 900, 1_800, 3_000];
                let at = usize::try_from(self.random.below(6)).unwrap();
                self.host.set_free(Quantity::from_mib(free[at]));
            }
            _ => self.calm(),
        }
        self.pass();
    }

    /// `banger delete`, which refuses while a document may declare the object.
    fn delete(&mut self, name: &str) {
        let purge = self.random.one_in(3);
        if self.files[name] != File::Absent {
            return;
        }
        if let Some(vm) = self.intent(name) {
            vm.deletion = Some(Deletion {
                timestamp: Timestamp::UNIX_EPOCH,
                explicit: true,
                purge,
            });
        }
    }
}

/// What can't be seen is neither made nor removed.
fn check_plan(plan: &Plan, observed: &Observed) {
    for action in &plan.vms {
        let here = observed.vm(action.uid);
        if action.verb == Verb::Pause {
            // Neither, and it can't wait until all can be seen.
            assert!(here.vmm.present().is_some(), "{action:?}");
            continue;
        }
        let why = here.first_unknown();
        assert!(why.is_none(), "{why:?}, but {action:?}");
    }
    for step in &plan.images {
        let removes = matches!(step, ImageStep::Remove { .. });
        assert!(!removes || observed.images.unknown().is_none(), "{step:?}");
    }
}

/// Nothing is made without room for it, and nothing writes without any; what
/// can't be told changes nothing.
fn check_pressure(plan: &Plan, observed: &Observed, pressure: Pressure) {
    let known = observed.room.present().is_some();
    for action in &plan.vms {
        let here = observed.vm(action.uid);
        let room = match action.verb {
            Verb::Create if here.cow_file.is_absent() => known && pressure == Pressure::None,
            Verb::Create | Verb::Resume => known && pressure < Pressure::Guests,
            Verb::Pause => known && pressure == Pressure::Guests,
            _ => true,
        };
        assert!(room, "{pressure:?}, {:?}: {action:?}", observed.room);
    }
    for step in &plan.images {
        let imports = matches!(step, ImageStep::Import { .. });
        assert!(!imports || known && pressure == Pressure::None, "{step:?}");
    }
}

#[test]
fn random_histories_lose_nothing_and_leak_nothing() {
    let steps = std::env::var("BANGER_SOAK_STEPS").map_or(STEPS, |steps| {
        steps.parse().expect("BANGER_SOAK_STEPS is a number")
    });
    let seed = std::env::var("BANGER_SEED").map_or_else(
        |_| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos()) ^ now.as_secs()
        },
        |seed| seed.parse().expect("BANGER_SEED is a number"),
    );
    println!("BANGER_SEED={seed}");
    let began = Instant::now();
    let mut done = 0;
    let mut counted = BTreeMap::new();
    while done < steps {
        let mut world = World::new(seed.wrapping_add(done));
        let length = LENGTH.min(steps - done);
        for _ in 0..length {
            world.step();
        }
        world.calm();
        done += length;
        for (what, times) in std::mem::take(&mut world.counted) {
            *counted.entry(what).or_insert(0) += times;
        }
    }
    for what in [
        "pause",
        "resume",
        "create",
        "teardown",
        "demote",
        "stop",
        "replaced disk",
        "failed step",
        "crash",
    ] {
        assert!(counted.contains_key(what), "no {what} in {counted:?}");
    }
    println!("{counted:?}");
    println!("{done} steps in {:?}, 0 violations", began.elapsed());
}
