//! What people do and what breaks.

use banger_core::api::{Name, Quantity};
use banger_core::effect;
use banger_core::intent::{Deletion, PowerOverride};
use banger_core::trash::Trashed;
use banger_testkit::{Fault, Place, Section, When, read};
use jiff::Timestamp;

use crate::file::File;
use crate::world::{VMS, World};

impl World {
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

    pub(crate) fn step(&mut self) {
        let name = self.some_vm();
        let uid = self
            .intents
            .vms
            .values()
            .find(|vm| vm.name().as_str() == name);
        let uid = uid.map(|vm| vm.uid);
        let what = self.random.below(35);
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
                let place = usize::try_from(self.random.below(6)).unwrap();
                uid.map(|uid| self.host.usurp(uid, Place::ALL[place]));
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
                self.earlier_ms += self.boot_ms;
                self.boot_ms = 5_000;
            }
            20 => self.boot_ms += self.random.below(100_000_000),
            21 => {
                let full = self.random.one_in(2);
                self.host.fill_disk(full);
            }
            22..=23 => {
                let when = When::ALL[usize::try_from(self.random.below(6)).unwrap()];
                let call = self.host.calls() + self.random.below(20);
                self.host.add_fault(Fault { call, when });
            }
            24 => self.boot_ms += self.random.below(5_000),
            25..=26 => {
                let free = [0, 200, 600, 900, 1_800, 3_000];
                let at = usize::try_from(self.random.below(6)).unwrap();
                self.host.set_free(Quantity::from_mib(free[at]));
            }
            27..=28 => self.rename(&name),
            29..=30 => self.undelete(&name),
            31 => match self.random.below(4) {
                0..=1 => self.lose_database_in_calm(),
                2 => self.lose_database(),
                _ => {}
            },
            32 => self.host.lose_bridge(),
            33 => {
                // Ahead or back.
                let second = i64::try_from(self.random.below(1_000_000)).unwrap();
                let now = Timestamp::from_second(second).unwrap();
                self.host.set_wall_clock(now);
            }
            _ => self.calm(),
        }
        self.pass();
    }

    /// `banger rename`: the daemon is told, and then the document says so, or
    /// never does; where it can't be written, the word is taken back.
    fn rename(&mut self, from: &str) {
        let to = self.some_vm();
        let file = self.files[from].clone();
        let free = self.files[&to] == File::Absent && !self.is_taken(&to);
        if file == File::Absent || !free {
            return;
        }
        let Some(vm) = self.intent(from) else {
            return;
        };
        vm.renaming = Some(to.parse().unwrap());
        let uid = vm.uid;
        match self.random.below(8) {
            0 => return,
            1 => {
                self.intents.vms.get_mut(&uid).unwrap().renaming = None;
                return self.count("rename taken back");
            }
            _ => self.count("rename"),
        }
        self.files.insert(from.to_owned(), File::Absent);
        self.files.insert(to.clone(), file.renamed(from, &to));
        self.model.renames(uid, &to);
    }

    /// `banger undelete`: the daemon is told, and the document is put back; where
    /// it can't be written, the word is taken back.
    fn undelete(&mut self, name: &str) {
        if self.files[name] != File::Absent || self.is_taken(name) {
            return;
        }
        let Ok(trash) = self.host.do_trash() else {
            return;
        };
        let of_name = |entry: &&Trashed| entry.name().is_some_and(|it| it.as_str() == name);
        let mut whole = trash.iter().filter(of_name);
        let live = |entry: &Trashed| self.intents.vms.contains_key(&entry.uid);
        let newest = whole.rfind(|entry| entry.whole().is_some() && !live(entry));
        let Some((entry, vm)) = newest.and_then(|entry| Some((entry, entry.whole()?))) else {
            return;
        };
        for other in trash.iter().filter(of_name) {
            self.wanted.remove(&other.id);
        }
        if self.random.one_in(4) {
            return self.count("undelete taken back");
        }
        self.count("undelete");
        self.wanted.insert(entry.id.clone());
        self.files.insert(name.to_owned(), File::of_trash(vm));
    }

    /// By a VM, by one that is to be called so, or by one that only the host knows.
    fn is_taken(&self, name: &str) -> bool {
        let name: Name = name.parse().unwrap();
        let mut vms = self.intents.vms.values();
        vms.any(|vm| *vm.name() == name || vm.renaming.as_ref() == Some(&name))
            || self.known_orphans().named(&name).is_some()
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
