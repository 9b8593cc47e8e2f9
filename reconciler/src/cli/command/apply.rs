//! `banger apply -f FILE|DIR|-`.
//!
//! ```text
//! read, validate -> edit in memory -> the daemon's diff -> write -> sync -> confirm, restart -> wait
//! ```
//!
//! Nothing is written before the daemon has said that it would accept it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use banger_core::api::Kind;
use banger_core::api::status::{ConditionType, Object, Phase};
use banger_core::diff::{Change, DiffEntry, DiffReport};
use clap::Args;

use crate::cli::context::Context;
use crate::cli::documents::{self, Input};
use crate::cli::object_ref::ObjectRef;
use crate::cli::output::{note, note_raw, print};
use crate::cli::settle::{Goal, RunOf, stands};
use crate::cli::waiting::{duration, wait_for};
use crate::cli::workspace::Workspace;
use crate::cli::{Exit, Failure, problem, report};
use crate::client::call::Synced;
use crate::source;
use crate::wire::request::Power;

/// `banger apply -f FILE|DIR|-`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Apply {
    /// A file, a directory, or `-` for stdin
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", required = true)]
    filename: Vec<PathBuf>,
    /// Delete what is held because too many documents of the directory are gone at once
    #[arg(long, conflicts_with = "dry_run")]
    prune: bool,
    #[command(flatten)]
    how: How,
}

/// How documents are taken over.
#[derive(Debug, Args)]
pub(in crate::cli) struct How {
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
    /// Restart VMs whose changes need it
    #[arg(long)]
    restart: bool,
    /// Let changes replace root disks; the old ones go to the trash
    #[arg(long)]
    replace_root: bool,
    /// Let changes lose data
    #[arg(long)]
    allow_data_loss: bool,
    /// `--wait=false`: don't wait until it is so
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = duration)]
    timeout: Duration,
}

impl Apply {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut given = self.filename;
        let mut directories = Vec::new();
        if self.prune {
            let named = given.iter().filter(|path| path.is_dir());
            directories = named
                .map(|path| documents::absolute(path))
                .collect::<Result<_, _>>()?;
            if directories.is_empty() {
                return Err(Failure::invalid("--prune is for a directory")
                    .help("give the directory of documents with -f"));
            }
            // All of its documents may be gone.
            let is_bare = |path: &PathBuf| source::listed(path).is_ok_and(|it| it.is_empty());
            given.retain(|path| !(path.is_dir() && is_bare(path)));
        }
        let inputs = documents::read(&given, &context.places()?)?;
        let done = self.how.apply(context, &inputs, &given)?;
        if self.prune {
            self.how.prune(context, directories)?;
        }
        Ok(done)
    }
}

impl How {
    /// Takes documents over.
    pub(super) fn apply(
        &self,
        context: &Context,
        inputs: &[Input],
        given: &[PathBuf],
    ) -> Result<Exit, Failure> {
        let mut workspace = Workspace::open(context.places()?);
        let mut objects = Vec::new();
        for input in inputs {
            for document in &input.documents {
                if !workspace.holds(input) {
                    workspace.put(input, document)?;
                }
                objects.push(document.object.clone());
            }
        }
        let found = context.daemon.diff(workspace.overlay())?;
        acceptable(&found, &objects, &workspace)?;
        let entries: BTreeMap<&ObjectRef, &DiffEntry> = objects
            .iter()
            .filter_map(|object| {
                let entry = found
                    .entries
                    .iter()
                    .find(|it| report::is_about(it, object))?;
                Some((object, entry))
            })
            .collect();
        let shown: Vec<DiffEntry> = entries.values().map(|it| self.still_to_ask(it)).collect();
        let shown: Vec<&DiffEntry> = shown.iter().collect();
        note_raw(&report::render(&shown, given, context.verbose));
        if self.dry_run {
            for object in &objects {
                print(format_args!(
                    "{object} {} (dry run)",
                    word(entries.get(object))
                ))?;
            }
            return Ok(Exit::Ok);
        }
        let writes = workspace.writes();
        writes.iter().try_for_each(|write| write.check())?;
        writes.iter().try_for_each(|write| write.perform())?;
        let before = self.current(context, &objects)?;
        let synced = context.daemon.sync()?;
        let goals = goals(&objects, &synced)?;
        for object in &objects {
            print(format_args!("{object} {}", word(entries.get(object))))?;
        }
        let mut restarted = Vec::new();
        for object in &objects {
            let entry = entries.get(object).copied();
            if self.push(context, given, entry, (object, before.get(object)))? {
                restarted.push(object);
            }
        }
        if self.wait {
            let goals = goals.into_iter().map(|(object, uid, generation)| {
                let run = before.get(&object).and_then(RunOf::of);
                let other_than = run.filter(|_| restarted.contains(&&object));
                let goal = Goal::Settled {
                    uid,
                    generation,
                    other_than,
                };
                (object, goal)
            });
            wait_for(context, goals.collect(), self.timeout)?;
        }
        Ok(Exit::Ok)
    }

    /// Confirms what is held of these directories, and waits until it is gone.
    fn prune(&self, context: &Context, directories: Vec<PathBuf>) -> Result<(), Failure> {
        let objects = context.daemon.prune(directories)?;
        if objects.is_empty() {
            note("Nothing is held of that directory: there was nothing to confirm.");
        }
        let mut goals = Vec::new();
        for (kind, name) in objects {
            let object = ObjectRef::new(kind, name);
            print(format_args!("{object} deleted"))?;
            goals.push((object, Goal::Gone(None)));
        }
        if self.wait {
            wait_for(context, goals, self.timeout)?;
        }
        Ok(())
    }

    /// The objects as they are before anything is done.
    fn current(
        &self,
        context: &Context,
        objects: &[ObjectRef],
    ) -> Result<BTreeMap<ObjectRef, Object>, Failure> {
        let mut current = BTreeMap::new();
        for kind in [Kind::Image, Kind::VirtualMachine] {
            if objects.iter().any(|object| object.kind == kind) {
                let all = context.daemon.list(kind, None)?.objects;
                current.extend(
                    all.into_iter()
                        .map(|object| (ObjectRef::of(&object), object)),
                );
            }
        }
        Ok(current)
    }

    /// The entry, waiting only for flags that weren't given.
    fn still_to_ask(&self, entry: &DiffEntry) -> DiffEntry {
        let mut entry = entry.clone();
        let open = |flag: &&str| match *flag {
            "--restart" => !self.restart,
            "--replace-root" => !self.replace_root,
            "--allow-data-loss" => !self.allow_data_loss,
            _ => true,
        };
        entry.waits_for = entry.waits_for.and_then(|flags| {
            let open: Vec<&str> = flags.split(' ').filter(open).collect();
            (!open.is_empty()).then(|| open.join(" "))
        });
        entry
    }

    /// Confirms and restarts what the flags ask for; whether the VM's run ends by it.
    fn push(
        &self,
        context: &Context,
        given: &[PathBuf],
        entry: Option<&DiffEntry>,
        (object, before): (&ObjectRef, Option<&Object>),
    ) -> Result<bool, Failure> {
        let Some(before) = before.filter(|_| object.kind == Kind::VirtualMachine) else {
            return Ok(false);
        };
        let waits_for = entry
            .and_then(|entry| entry.waits_for.as_deref())
            .unwrap_or("");
        let waits = |flag: &str| waits_for.split(' ').any(|word| word == flag);
        let replace_root = self.replace_root
            && (waits("--replace-root") || stands(before, ConditionType::UpdateAvailable));
        let allow_data_loss = self.allow_data_loss && waits("--allow-data-loss");
        if replace_root || allow_data_loss {
            context
                .daemon
                .confirm(&object.name, replace_root, allow_data_loss)?;
        }
        let running = before.status.phase != Phase::Stopped;
        let restart = self.restart && waits("--restart") && running;
        if restart {
            context.daemon.power(&object.name, Power::Restart)?;
        }
        let held: Vec<&str> = waits_for
            .split(' ')
            .filter(|flag| match *flag {
                "--restart" => !restart && running,
                "--replace-root" => !replace_root,
                "--allow-data-loss" => !allow_data_loss,
                _ => false,
            })
            .collect();
        if !held.is_empty() {
            let command = report::apply_with(&held.join(" "), given, None);
            note(format_args!("{object}: a part of it waits for `{command}`"));
        }
        let stops = |entry: &DiffEntry| entry.actions.iter().any(|it| it.starts_with("stop:"));
        Ok(restart || replace_root || allow_data_loss || entry.is_some_and(stops))
    }
}

/// Says no while nothing has been written yet.
fn acceptable(
    found: &DiffReport,
    objects: &[ObjectRef],
    workspace: &Workspace,
) -> Result<(), Failure> {
    let files = workspace.overlay();
    let (ours, others): (Vec<_>, Vec<_>) = found.problems.iter().cloned().partition(|problem| {
        let about = |object: &ObjectRef| {
            problem.object.as_ref() == Some(&(object.kind, object.name.clone()))
        };
        objects.iter().any(about) || files.iter().any(|file| file.path == problem.file)
    });
    if !others.is_empty() {
        note("Other documents that are not accepted:");
        note_raw(&problem::render_all(&others));
    }
    if ours.is_empty() {
        return Ok(());
    }
    note_raw(&problem::render_all(&ours));
    Err(Failure::invalid("what was given would not be accepted")
        .help("nothing was written; correct the lines above and try again"))
}

/// What `apply` and its like wait for.
pub(super) fn settled(admitted: Vec<Admitted>) -> Vec<(ObjectRef, Goal)> {
    let goal = |(object, uid, generation)| {
        let other_than = None;
        (
            object,
            Goal::Settled {
                uid,
                generation,
                other_than,
            },
        )
    };
    admitted.into_iter().map(goal).collect()
}

type Admitted = (ObjectRef, banger_protocol::VmUid, u64);

/// The (uid, generation) that came of each object.
pub(super) fn goals(objects: &[ObjectRef], synced: &Synced) -> Result<Vec<Admitted>, Failure> {
    let mut goals = Vec::new();
    for object in objects {
        let refused = synced
            .problems
            .iter()
            .any(|it| it.object.as_ref() == Some(&(object.kind, object.name.clone())));
        let admitted = synced
            .admitted
            .iter()
            .find(|it| it.kind == object.kind && it.name == object.name);
        match admitted.filter(|_| !refused) {
            Some(it) => goals.push((object.clone(), it.uid, it.generation)),
            None => {
                note_raw(&problem::render_all(&synced.problems));
                return Err(
                    Failure::invalid(format!("{object} was written, but is not accepted")).help(
                        "what ran before still runs; correct the document and apply it again",
                    ),
                );
            }
        }
    }
    Ok(goals)
}

fn word(entry: Option<&&DiffEntry>) -> &'static str {
    match entry.map(|entry| entry.change) {
        None => "unchanged",
        Some(Change::Create) => "created",
        Some(Change::Modify) => "configured",
        Some(Change::Delete) => "deleted",
        Some(Change::Repair) => "repaired",
    }
}
