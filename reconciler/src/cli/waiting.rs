//! Waiting for objects, with their stages shown: one watch per kind, no polling.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use banger_core::api::Kind;

use super::context::Context;
use super::object_ref::ObjectRef;
use super::settle::{Goal, Verdict, verdict};
use super::stages::Stages;
use super::{Exit, Failure};
use crate::client::call::Listing;
use crate::client::{CallError, Daemon};

/// How often in a row a daemon may go away without having said anything.
const RECONNECTS: u32 = 5;

/// Waits until every goal is met.
///
/// # Errors
/// [`Exit::Differs`] as soon as one can't be met any more, [`Exit::Timeout`]
/// with the last stage of what is missing; what the daemon answers.
pub(super) fn wait_for(
    context: &Context,
    goals: Vec<(ObjectRef, Goal)>,
    timeout: Duration,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let deadline = begun.checked_add(timeout);
    let mut open: BTreeMap<ObjectRef, (Goal, String)> = goals
        .into_iter()
        .map(|(object, goal)| (object, (goal, "no answer yet".to_owned())))
        .collect();
    let changes = watch_kinds(&context.daemon, open.keys().map(|object| object.kind));
    let mut stages = Stages::new(context.terminal);
    let mut failures = Vec::new();
    while !open.is_empty() {
        let (kind, listing) = match next(&changes, deadline) {
            Some(change) => change,
            None => break,
        };
        let listing = listing?;
        open.retain(|reference, (goal, last)| {
            if reference.kind != kind {
                return true;
            }
            let object = listing
                .objects
                .iter()
                .find(|object| object.metadata.name == reference.name);
            let declares = Some((reference.kind, reference.name.clone()));
            let problem = listing.problems.iter().find(|it| it.object == declares);
            match verdict(goal, object, problem) {
                Verdict::Met(word) => {
                    stages.end(reference, true, &word, begun.elapsed());
                    false
                }
                Verdict::Pending(stage) => {
                    stages.stage(reference, &stage);
                    *last = stage;
                    true
                }
                Verdict::Hopeless { why, help } => {
                    stages.end(reference, false, "failed", begun.elapsed());
                    let failure = Failure::new(Exit::Differs, format!("{reference}: {why}"));
                    failures.push(Failure { help, ..failure });
                    false
                }
            }
        });
    }
    drop(stages);
    for (reference, (_, last)) in &open {
        let seconds = timeout.as_secs();
        failures.push(
            Failure::new(
                Exit::Timeout,
                format!("{reference} didn't get there within {seconds} s"),
            )
            .cause(format!("its last stage was: {last}"))
            .help(format!(
                "`banger describe {} {}` shows why; --timeout waits longer",
                reference.kind.short(),
                reference.name
            )),
        );
    }
    // The last failure ends the command; the others are said before it.
    let Some(last) = failures.pop() else {
        return Ok(());
    };
    for failure in failures {
        super::output::note_raw(&failure.render());
    }
    Err(last)
}

fn next(
    changes: &Receiver<(Kind, Result<Listing, CallError>)>,
    deadline: Option<Instant>,
) -> Option<(Kind, Result<Listing, CallError>)> {
    match deadline {
        None => changes.recv().ok(),
        Some(deadline) => changes
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .ok(),
    }
}

/// Watches each of these kinds on a thread of its own. The threads end with
/// the receiver, or with the program.
fn watch_kinds(
    daemon: &Daemon,
    kinds: impl Iterator<Item = Kind>,
) -> Receiver<(Kind, Result<Listing, CallError>)> {
    let (sender, receiver) = channel();
    let mut kinds: Vec<Kind> = kinds.collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let (daemon, sender) = (daemon.clone(), sender.clone());
        std::thread::spawn(move || follow(&daemon, kind, &sender));
    }
    receiver
}

/// A daemon that restarts under us is connected to again: its socket outlives it.
fn follow(daemon: &Daemon, kind: Kind, changes: &Sender<(Kind, Result<Listing, CallError>)>) {
    let mut fruitless = 0;
    loop {
        let ended = match daemon.watch(kind, None) {
            Err(error) => error,
            Ok(mut watch) => loop {
                match watch.next(None) {
                    Ok(listing) => {
                        fruitless = 0;
                        if changes.send((kind, Ok(listing))).is_err() {
                            return;
                        }
                    }
                    Err(error) => break error,
                }
            },
        };
        fruitless += 1;
        let may_come_back = matches!(ended, CallError::HungUp | CallError::Broken(..));
        if !may_come_back || fruitless > RECONNECTS {
            let _ = changes.send((kind, Err(ended)));
            return;
        }
    }
}

/// `30s`, `5m`, `1h30m`; a bare number is seconds, as in kubectl's habits.
///
/// # Errors
/// What to write instead.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "write a length of time such as `30s`, `5m` or `1h30m`".to_owned())?;
    Duration::try_from(span).map_err(|_| "a length of time can't be negative".to_owned())
}
