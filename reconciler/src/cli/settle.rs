//! Whether what is waited for has come about: pure, one object at a time.
//!
//! An object's status is only believed for the generation that it was made for
//! (`observedGeneration`), and a restart only once another process runs.

use banger_core::api::Kind;
use banger_core::api::status::{
    Condition, ConditionStatus, ConditionType, Object, Phase, VmHandles,
};
use banger_core::problem::Problem;
use banger_protocol::VmUid;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The object works as this generation wants it: `Ready`, or `Stopped`
    /// where it isn't to run.
    Settled {
        /// Of this object, not of a successor.
        uid: VmUid,
        /// This generation or a later one.
        generation: u64,
        /// Not as this run of the VMM.
        other_than: Option<RunOf>,
    },
    /// The guest answers.
    Running {
        /// Not as this run of the VMM.
        other_than: Option<RunOf>,
    },
    /// The VM is off.
    Stopped,
    /// The object of this uid (any, where it isn't known) is there no more.
    Gone(Option<VmUid>),
    /// A condition has a status.
    Condition(ConditionType, ConditionStatus),
}

/// One run of a VMM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunOf {
    pid: u32,
    start_time: Option<u64>,
    boot_id: Option<String>,
}

impl RunOf {
    /// The run that an object is in.
    pub(super) fn of(object: &Object) -> Option<Self> {
        let handles: &VmHandles = object.status.handles.as_ref()?;
        Some(Self {
            pid: handles.pid?,
            start_time: handles.start_time,
            boot_id: handles.boot_id.clone(),
        })
    }
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has come about; one word.
    Met(String),
    /// Not yet; the stage.
    Pending(String),
    /// It won't come about by waiting; why, and what to do.
    Hopeless {
        /// Why.
        why: String,
        /// What to do.
        help: Option<String>,
    },
}

/// A condition of an object.
pub(super) fn condition(object: &Object, kind: ConditionType) -> Option<&Condition> {
    object.status.conditions.iter().find(|it| it.kind == kind)
}

/// Whether a condition stands at `True`.
pub(super) fn stands(object: &Object, kind: ConditionType) -> bool {
    condition(object, kind).is_some_and(|it| it.status == ConditionStatus::True)
}

/// How far the goal is, with the object as it is now (`None`: it isn't there),
/// and what is wrong with documents that declare it.
pub(super) fn verdict(goal: &Goal, object: Option<&Object>, problem: Option<&Problem>) -> Verdict {
    let Some(object) = object else {
        return match goal {
            Goal::Settled { .. } | Goal::Condition(..) if problem.is_some() => hopeless(
                &problem.map_or_else(String::new, |problem| {
                    format!("its document is not accepted: {}", problem.message)
                }),
                Some("correct the document; `banger validate` checks it"),
            ),
            Goal::Gone(_) => Verdict::Met("deleted".to_owned()),
            Goal::Stopped | Goal::Running { .. } => hopeless("it is there no more", None),
            Goal::Settled { .. } | Goal::Condition(..) => {
                Verdict::Pending("waiting for it to appear".to_owned())
            }
        };
    };
    match goal {
        Goal::Gone(uid) if uid.is_some_and(|uid| uid != object.metadata.uid) => {
            Verdict::Met("deleted".to_owned())
        }
        Goal::Gone(_) => pending(object, "waiting for the deletion to begin"),
        Goal::Stopped if object.status.phase == Phase::Stopped => {
            Verdict::Met("Stopped".to_owned())
        }
        Goal::Stopped => pending(object, "waiting for the stop to begin"),
        Goal::Settled {
            uid,
            generation,
            other_than,
        } => settled(object, *uid, *generation, other_than.as_ref()),
        Goal::Running { other_than } => match refused(object) {
            Some(hopeless) if object.status.phase != Phase::Ready => hopeless,
            _ if object.status.phase == Phase::Ready && is_another(object, other_than.as_ref()) => {
                Verdict::Met("Ready".to_owned())
            }
            _ => pending(object, RESTART),
        },
        Goal::Condition(kind, wanted) => {
            let current = condition(object, *kind);
            let fresh =
                current.is_some_and(|it| it.observed_generation >= object.metadata.generation);
            match (current, refused(object)) {
                (Some(it), _) if it.status == *wanted && fresh => {
                    Verdict::Met(format!("{kind:?}={wanted:?}"))
                }
                (_, Some(hopeless)) if *kind != ConditionType::Accepted => hopeless,
                _ => Verdict::Pending(stage(object)),
            }
        }
    }
}

fn settled(object: &Object, uid: VmUid, generation: u64, other_than: Option<&RunOf>) -> Verdict {
    if object.metadata.uid != uid {
        return hopeless(
            "it was deleted and made anew by somebody else meanwhile",
            None,
        );
    }
    if let Some(hopeless) = refused(object) {
        return hopeless;
    }
    if object.status.observed_generation < generation {
        return pending(object, "waiting for the change to be seen");
    }
    match object.status.phase {
        Phase::Ready if is_another(object, other_than) && !still_taking(object) => {
            Verdict::Met("Ready".to_owned())
        }
        Phase::Stopped => Verdict::Met("Stopped".to_owned()),
        Phase::Deleting => hopeless("it is being deleted", None),
        _ if !is_another(object, other_than) => pending(object, RESTART),
        _ => pending(object, "the change is being taken"),
    }
}

/// What another run of the VMM is waited for by.
const RESTART: &str = "waiting for the restart to begin";

/// The stage; a `Ready` that is from before what is waited for would read as its
/// end, and `still` stands in its place.
fn pending(object: &Object, still: &str) -> Verdict {
    Verdict::Pending(match object.status.phase {
        Phase::Ready => still.to_owned(),
        _ => stage(object),
    })
}

/// `Ready` may be about an earlier generation than the status as a whole.
fn still_taking(object: &Object) -> bool {
    condition(object, ConditionType::Ready).is_some_and(|ready| {
        ready.observed_generation < object.status.observed_generation
            && !stands(object, ConditionType::RestartRequired)
            && !stands(object, ConditionType::ConfirmationRequired)
    })
}

fn is_another(object: &Object, other_than: Option<&RunOf>) -> bool {
    other_than.is_none_or(|before| RunOf::of(object).is_some_and(|now| now != *before))
}

fn refused(object: &Object) -> Option<Verdict> {
    let accepted = condition(object, ConditionType::Accepted)?;
    (accepted.status == ConditionStatus::False).then(|| {
        let why = match accepted.message.as_str() {
            "" => accepted.reason.clone(),
            message => message.to_owned(),
        };
        hopeless(
            &format!("its document is not accepted: {why}"),
            Some("correct the document; `banger validate` checks it"),
        )
    })
}

fn hopeless(why: &str, help: Option<&str>) -> Verdict {
    Verdict::Hopeless {
        why: why.to_owned(),
        help: help.map(str::to_owned),
    }
}

/// What an object is doing, for a person who waits for it.
pub(super) fn stage(object: &Object) -> String {
    let phase = object.status.phase;
    if let (Kind::Image, Phase::Importing, Some(percent)) =
        (object.kind, phase, object.status.progress)
    {
        return format!("Importing {percent}%");
    }
    let error = object
        .status
        .runtime
        .as_ref()
        .and_then(|runtime| runtime.last_error.as_deref());
    let ready = condition(object, ConditionType::Ready)
        .filter(|it| it.status != ConditionStatus::True)
        .map(|it| {
            if it.message.is_empty() {
                it.reason.as_str()
            } else {
                it.message.as_str()
            }
        });
    match ready.filter(|why| *why != format!("{phase:?}")).or(error) {
        Some(why) if phase != Phase::Ready => format!("{phase:?}: {why}"),
        _ => format!("{phase:?}"),
    }
}

#[cfg(test)]
mod tests;
