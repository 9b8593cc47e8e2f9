//! The daemon: one pass as `controller/pass.rs` makes it, and its end.

use banger_core::admit::{Rules, admit_with_trash};
use banger_core::api::Quantity;
use banger_core::config::VmDefaults;
use banger_core::orphans::Orphans;
use banger_core::outcome::{self, Moment};
use banger_core::plan::{self, Clock, ImageStep, Plan, Step, VmPlan};
use banger_core::pressure::{DiskLimits, Gauge};
use banger_core::reading::Reading;
use banger_core::seam::VmRef;
use banger_core::trash::Shelf;
use banger_core::vanish::Vanish;
use banger_testkit::{generate, read};
use jiff::Timestamp;

use crate::check::{check_plan, check_pressure};
use crate::file::File;
use crate::world::World;

const DISK: DiskLimits = DiskLimits {
    creates: Quantity::from_mib(2048),
    guests: Quantity::from_mib(512),
    hysteresis: Quantity::from_mib(256),
    ballast: Quantity::from_mib(256),
};

impl World {
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

    /// What of the host no intent knows, as far as the daemon has seen.
    pub(crate) fn known_orphans(&self) -> Orphans {
        match &self.orphans {
            Some(known) => known.clone(),
            None => Orphans::of(&self.host.do_observe(), &self.intents),
        }
    }

    /// What a document that appears may bring back or take over.
    fn shelf(&mut self) -> Shelf {
        let orphans = self.known_orphans();
        let shelf = match self.host.do_trash() {
            Ok(entries) => {
                let lies_there = |id: &String| entries.iter().any(|entry| entry.id == *id);
                self.wanted.retain(lies_there);
                Shelf::of(entries.iter(), &self.wanted, &self.intents)
            }
            Err(error) => Shelf::unknown(error.message),
        };
        shelf.beside(orphans)
    }

    /// One pass of the daemon, as `controller/pass.rs` makes it.
    pub(crate) fn pass(&mut self) -> Plan {
        let shelf = self.shelf();
        let reading = self.reading();
        self.vanished = self
            .vanish
            .step(&reading, &self.intents, self.earlier_ms + self.boot_ms);
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
        self.admission = admit_with_trash(&reading, &before, gone, &shelf, &rules, &mut mint, now);
        self.intents = self.admission.intents.clone();
        self.check_admission(&before);
        self.check_guarded(&before);
        let observed = self.host.do_observe();
        self.orphans = Some(Orphans::of(&observed, &self.intents));
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
        let orphans = self.orphans_as_they_are();
        self.carry_out(&plan);
        self.check_orphans(orphans);
        if self.host.faults().has_crashed() {
            self.crash();
        }
        plan
    }

    /// Another daemon: what isn't durable is forgotten.
    pub(crate) fn crash(&mut self) {
        self.count("crash");
        self.host.faults().revive();
        // What the mass guard goes by is in the database.
        let guard = self.vanish.guard().clone();
        self.vanish = Vanish::default();
        self.vanish.restore(guard);
        if !self.guarded.is_empty() {
            self.count("crash while held");
        }
        self.gauge = Gauge::default();
        self.orphans = None;
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
                Step::TrashDisk { role } => {
                    self.count("replaced disk");
                    self.model.gives_up(vm.uid, *role);
                    assert!(
                        !vm.confirmations.is_empty(),
                        "{step:?} unconfirmed: {vm:#?}"
                    );
                }
                Step::DropDisks { purge } => {
                    let deletion = vm.deletion.as_ref().expect("disks go with a deletion");
                    assert_eq!(deletion.purge, *purge);
                    if *purge {
                        self.model.gives_up_all(vm.uid);
                    }
                }
                Step::KeepRecord => self.count("renewed record"),
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
                    if error.message.contains("half-way") {
                        self.count("half a step");
                    }
                    return;
                }
            }
        }
        if let Some(vm) = self.intents.vms.get_mut(&action.uid) {
            outcome::after_success(&mut vm.error);
        }
    }
}
