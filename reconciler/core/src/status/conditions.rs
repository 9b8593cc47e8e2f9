//! Conditions with their history.

use banger_protocol::VmUid;

use super::View;
use crate::api::status::{Condition, ConditionStatus, ConditionType};
use crate::api::{Kind, Name};
use crate::problem::Problem;

/// Collects an object's conditions.
pub(super) struct Conditions<'a> {
    view: &'a View<'a>,
    uid: VmUid,
    generation: u64,
    list: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    pub(super) fn new(view: &'a View<'a>, uid: VmUid, generation: u64) -> Self {
        Self {
            view,
            uid,
            generation,
            list: Vec::new(),
        }
    }

    pub(super) fn set(
        &mut self,
        kind: ConditionType,
        status: ConditionStatus,
        reason: &str,
        message: impl Into<String>,
    ) {
        let before = self.view.previous.get(&self.uid);
        let same = before.and_then(|list| {
            list.iter()
                .find(|condition| condition.kind == kind && condition.status == status)
        });
        self.list.push(Condition {
            kind,
            status,
            reason: reason.to_owned(),
            message: message.into(),
            observed_generation: self.generation,
            last_transition_time: same.map_or(self.view.now, |same| same.last_transition_time),
        });
    }

    /// `Accepted`, `DeletionHeld`: the same for both kinds.
    pub(super) fn set_source(&mut self, kind: Kind, name: &Name) {
        let key = (kind, name.clone());
        match self.view.admission.rejected.get(&key) {
            Some(problems) => {
                let lines: Vec<String> = problems.iter().map(line).collect();
                let reason = if self.view.admission.awaiting.contains(&key) {
                    "AwaitingPredecessor"
                } else {
                    "Invalid"
                };
                self.set(
                    ConditionType::Accepted,
                    ConditionStatus::False,
                    reason,
                    lines.join("\n"),
                );
            }
            None => self.set(ConditionType::Accepted, ConditionStatus::True, "Valid", ""),
        }
        if let Some(held) = self.view.held.get(&key) {
            self.set(
                ConditionType::DeletionHeld,
                ConditionStatus::True,
                held.reason.as_str(),
                &held.message,
            );
        }
    }

    pub(super) fn done(self) -> Vec<Condition> {
        self.list
    }
}

/// `web.yaml:3:7: unknown field`.
fn line(problem: &Problem) -> String {
    let file = problem.file.display();
    let remedy = problem
        .remedy
        .as_ref()
        .map(|remedy| format!(" ({remedy})"))
        .unwrap_or_default();
    match problem.at {
        Some((line, column)) => format!("{file}:{line}:{column}: {}{remedy}", problem.message),
        None => format!("{file}: {}{remedy}", problem.message),
    }
}
