//! read -> vanish -> admit -> save.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use banger_core::admit::{Admission, admit_with_trash};
use banger_core::api::{Kind, Name};
use banger_core::orphans::Orphans;
use banger_core::reading::Reading;
use banger_core::seam::Host;
use banger_core::vanish::{Guard, Vanished};
use banger_protocol::VmUid;
use jiff::Timestamp;

use super::ledger::State;
use super::run::Controller;
use super::{Refusal, happened, trash};
use crate::store::StoreError;
use crate::wire::request::OverlayFile;
use crate::wire::response::Admitted;

/// A uid that no object ever had.
pub(super) fn mint() -> VmUid {
    VmUid::new(uuid::Uuid::now_v7())
}

/// The result of the last admission, as status and requests need it.
#[derive(Debug, Default)]
pub(super) struct Latest {
    pub(super) admission: Admission,
    pub(super) vanished: Vanished,
}

impl<H: Host> Controller<H> {
    /// Reads the directories in full, with `overlay` in place of what some
    /// files hold, and watches what was read from now on.
    pub(super) async fn read(&mut self, overlay: Vec<OverlayFile>) -> Reading {
        let known = Arc::clone(&self.ledger.state().await.sources);
        let sources = Arc::clone(&self.sources);
        let read = tokio::task::spawn_blocking(move || {
            let mut sources = sources.lock().unwrap_or_else(|error| error.into_inner());
            let reading = sources.read_with(&overlay, known.values());
            (reading, sources.watched().clone())
        });
        let (reading, directories) = match read.await {
            Ok(read) => read,
            Err(error) => {
                tracing::error!("reading the directories of specs was cut short: {error}");
                let reading = Reading {
                    incomplete: Some("the last read was cut short".into()),
                    ..Reading::default()
                };
                return reading;
            }
        };
        if let Some(watch) = &mut self.watch
            && watch.arm(&directories)
        {
            // What changed between the read and the watch was not seen.
            self.file_changed.notify_one();
        }
        reading
    }

    /// Decides what the reading means, and saves that. Answers what every
    /// accepted document became.
    pub(super) async fn admit(&mut self, reading: &Reading) -> Result<Vec<Admitted>, StoreError> {
        loop {
            if let Some(admitted) = self.try_admit(reading).await? {
                return Ok(admitted);
            }
        }
    }

    /// What of the host no intent knows. Only a request that comes before the
    /// first pass, or right after a sweep, has to look for it.
    pub(super) async fn orphans(&mut self) -> Orphans {
        if let Some(known) = self.known_orphans() {
            return known.clone();
        }
        let sweeps = self.sweeps.load(Ordering::SeqCst);
        let intents = self.ledger.state().await.intents;
        let vms: Vec<_> = intents.vms.values().cloned().collect();
        let orphans = Orphans::of(&self.host.observe(&vms).await, &intents);
        self.orphans = Some((sweeps, orphans.clone()));
        orphans
    }

    /// `None`: a VM went while the trash was looked into, and its disks may
    /// not have been seen there.
    async fn try_admit(&mut self, reading: &Reading) -> Result<Option<Vec<Admitted>>, StoreError> {
        let ran_ms = self.ran_ms;
        let uncounted_ms = self.uncounted_ms();
        let orphans = self.orphans().await;
        let forgotten = self.ledger.state().await.forgotten;
        let found = self.trash_found().await;
        // What vanished counts only once that is saved: a write that fails over
        // and over must not look like a mass of deletions.
        let mut vanish = self.vanish.clone();
        let rules = &self.settings.rules;
        let known = &self.latest;
        let going = self.going();
        let decided = self
            .ledger
            .replace(|state| {
                if state.forgotten != forgotten {
                    return (state.clone(), Vec::new(), None);
                }
                let now_ms = state.running_ms + uncounted_ms;
                let mut vanished = vanish.step(reading, &state.intents, now_ms);
                name_directories(&mut vanished, state);
                let mut admission = admit_with_trash(
                    reading,
                    &state.intents,
                    &vanished.gone,
                    &trash::shelf(&found, state, &going).beside(orphans),
                    rules,
                    &mut mint,
                    Timestamp::now(),
                );
                let admitted = admitted(&admission);
                attribute(&mut admission, &state.sources);
                let mut events =
                    happened::admitted(&state.intents, &admission, &known.admission.rejected);
                events.extend(happened::held(&known.vanished.held, &vanished.held));
                let next = State {
                    intents: if admission.changed.is_empty() {
                        Arc::clone(&state.intents)
                    } else {
                        Arc::new(admission.intents.clone())
                    },
                    sources: Arc::new(admission.sources.clone()),
                    trash: trash::kept(&found, state, state.running_ms + ran_ms),
                    guard: Arc::new(vanish.guard().clone()),
                    ..state.clone()
                };
                let latest = Latest {
                    admission,
                    vanished,
                };
                (next, events, Some((latest, admitted)))
            })
            .await;
        let decided = match decided {
            Ok(decided) => decided,
            Err(error) => {
                // It may have been written all the same.
                let kept = self.ledger.state().await.guard;
                self.vanish.restore(Guard::clone(&kept));
                return Err(error);
            }
        };
        Ok(decided.map(|(latest, admitted)| {
            self.vanish = vanish;
            self.latest = latest;
            admitted
        }))
    }

    /// Refuses to go on while a document declares the object, or might.
    pub(super) async fn refuse_declared(&mut self, kind: Kind, name: &Name) -> Result<(), Refusal> {
        let reading = self.read(Vec::new()).await;
        let key = (kind, name.clone());
        let object = format!("{} `{name}`", kind.short());
        let declaring = reading.files.iter().find(|file| {
            let good = file.validated.iter().any(|document| document.key() == key);
            good || file
                .problems
                .iter()
                .any(|problem| problem.object.as_ref() == Some(&key))
        });
        if let Some(file) = declaring {
            return Err(Refusal::conflict(
                format!("{object} is still declared in {}", file.path.display()),
                "take its document out of that file first",
            ));
        }
        if let Some(why) = &reading.incomplete {
            return Err(Refusal::conflict(
                format!("it can't be told whether {object} is still declared: {why}"),
                "see that the directories of specs can be read, then try again",
            ));
        }
        let state = self.ledger.state().await;
        let last = source_of(&state, kind, name);
        let doubtful = reading
            .files
            .iter()
            .flat_map(|file| &file.problems)
            .find(|problem| problem.object.is_none() && Some(&problem.file) == last);
        match doubtful {
            Some(problem) => Err(Refusal::conflict(
                format!(
                    "{object} was declared in {}, which can't be made out now",
                    problem.file.display()
                ),
                "correct that file, or take the document out of it, then try again",
            )),
            None => Ok(()),
        }
    }
}

/// Says of what the mass guard holds how all of a directory is confirmed.
fn name_directories(vanished: &mut Vanished, state: &State) {
    for (kind, name) in vanished.guarded.clone() {
        let directory = source_of(state, kind, &name).and_then(|file| file.parent());
        if let (Some(directory), Some(held)) = (directory, vanished.held.get_mut(&(kind, name))) {
            let directory = directory.display();
            held.message.push_str(&format!(
                ", or all with `banger apply --prune -f {directory}`"
            ));
        }
    }
}

pub(super) fn source_of<'a>(state: &'a State, kind: Kind, name: &Name) -> Option<&'a PathBuf> {
    let uid = match kind {
        Kind::VirtualMachine => state.intents.vm(name)?.uid,
        Kind::Image => state.intents.image(name)?.uid,
    };
    state.sources.get(&uid)
}

/// What every accepted document became, by kind and name.
fn admitted(admission: &Admission) -> Vec<Admitted> {
    let mut list: Vec<Admitted> = admission
        .sources
        .keys()
        .filter_map(|uid| key(admission, *uid))
        .filter(|((kind, name), _)| !admission.rejected.contains_key(&(*kind, name.clone())))
        .map(|((kind, name), (uid, generation))| Admitted {
            kind,
            name,
            uid,
            generation,
        })
        .collect();
    list.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    list
}

type Identified = ((Kind, Name), (VmUid, u64));

fn key(admission: &Admission, uid: VmUid) -> Option<Identified> {
    let intents = &admission.intents;
    if let Some(vm) = intents.vms.get(&uid) {
        let key = (Kind::VirtualMachine, vm.name().clone());
        return Some((key, (uid, vm.generation)));
    }
    let image = intents.images.get(&uid)?;
    Some(((Kind::Image, image.name().clone()), (uid, image.generation)))
}

/// Keeps in mind where objects were declared last, and lets a file that can't
/// be made out at all count against each of them.
pub(super) fn attribute(admission: &mut Admission, known: &BTreeMap<VmUid, PathBuf>) {
    for (uid, path) in known {
        if admission.sources.contains_key(uid) {
            continue;
        }
        let Some((object, _)) = key(admission, *uid) else {
            continue;
        };
        let doubts: Vec<_> = admission
            .problems
            .iter()
            .filter(|problem| problem.object.is_none() && problem.file == *path)
            .cloned()
            .collect();
        if !doubts.is_empty() {
            admission.rejected.entry(object).or_default().extend(doubts);
        }
        admission.sources.insert(*uid, path.clone());
    }
}
