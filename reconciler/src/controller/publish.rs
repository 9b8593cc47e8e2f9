//! Status, for whoever lists or watches.

use std::sync::Arc;

use banger_core::api::status::{ConditionStatus, ConditionType, Object};
use banger_core::api::{Condition, Kind, Name};
use banger_core::problem::Problem;
use banger_core::seam::Host;
use banger_core::status::View;
use jiff::Timestamp;

use super::run::Controller;
use crate::store::{NewEvent, StoreError};
use crate::wire::response::Severity;

/// Everything that `get` can show, as of the last pass or step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Published {
    /// VMs, by name.
    pub vms: Vec<Object>,
    /// Images, by name.
    pub images: Vec<Object>,
    /// Documents that aren't accepted.
    pub problems: Vec<Problem>,
    /// Whether a pass has been made since the daemon started.
    pub complete: bool,
}

impl Published {
    /// All of a kind, or the one of this name.
    pub fn objects(&self, kind: Kind, name: Option<&Name>) -> Vec<Object> {
        let all = match kind {
            Kind::VirtualMachine => &self.vms,
            Kind::Image => &self.images,
        };
        all.iter()
            .filter(|object| name.is_none_or(|name| object.metadata.name == *name))
            .cloned()
            .collect()
    }
}

impl<H: Host> Controller<H> {
    /// Makes status anew of what is known, saves the conditions that changed,
    /// and publishes it if anything did.
    pub(super) async fn publish(&mut self) -> Result<(), StoreError> {
        let Some(last) = &self.last else {
            return Ok(());
        };
        let intents = self.ledger.state().await.intents;
        let activity = self.board.read();
        let view = View {
            intents: &intents,
            observed: &last.observed,
            plan: &last.plan,
            activity: &activity,
            admission: &self.latest.admission,
            held: &self.latest.vanished.held,
            previous: &self.conditions,
            paths: &self.settings.paths,
            now: Timestamp::now(),
        };
        let published = Published {
            vms: view.objects(Kind::VirtualMachine),
            images: view.objects(Kind::Image),
            problems: self.latest.admission.problems.clone(),
            complete: true,
        };
        let mut changed = Vec::new();
        let mut events = Vec::new();
        for object in published.vms.iter().chain(&published.images) {
            let uid = object.metadata.uid;
            let now = &object.status.conditions;
            let before = self.conditions.get(&uid);
            if before != Some(now) {
                let before = before.map_or(&[][..], Vec::as_slice);
                events.extend(became_ready(object, before));
                events.extend(came_to_wait_for_room(object, before));
                events.extend(network_lost(object, before));
                changed.push((uid, now.clone()));
            }
        }
        let there = |uid: &_| intents.vms.contains_key(uid) || intents.images.contains_key(uid);
        self.conditions.retain(|uid, _| there(uid));
        if !changed.is_empty() {
            self.ledger.note(changed.clone(), events).await?;
            self.conditions.extend(changed);
        }
        self.published.send_if_modified(|current| {
            let differs = **current != published;
            if differs {
                *current = Arc::new(published);
            }
            differs
        });
        Ok(())
    }
}

fn standing(list: &[Condition], kind: ConditionType) -> Option<&Condition> {
    let mut standing = list.iter().filter(|it| it.status == ConditionStatus::True);
    standing.find(|it| it.kind == kind)
}

fn came_to_wait_for_room(object: &Object, before: &[Condition]) -> Option<NewEvent> {
    let now = standing(&object.status.conditions, ConditionType::DiskPressure)?;
    let new = standing(before, ConditionType::DiskPressure).is_none();
    new.then(|| NewEvent {
        kind: object.kind,
        name: object.metadata.name.to_string(),
        severity: Severity::Warning,
        reason: "DiskPressure",
        message: now.message.clone(),
    })
}

/// A firewall has come into the way.
fn network_lost(object: &Object, before: &[Condition]) -> Option<NewEvent> {
    let lost = |list: &[Condition]| {
        let mut network = list.iter();
        let is = |it: &&Condition| it.kind == ConditionType::NetworkReady;
        network
            .find(is)
            .filter(|it| it.status == ConditionStatus::False)
            .cloned()
    };
    let now = lost(&object.status.conditions)?;
    lost(before).is_none().then(|| NewEvent {
        kind: object.kind,
        name: object.metadata.name.to_string(),
        severity: Severity::Warning,
        reason: "FirewallInTheWay",
        message: now.message,
    })
}

fn became_ready(object: &Object, before: &[Condition]) -> Option<NewEvent> {
    standing(&object.status.conditions, ConditionType::Ready)?;
    let new = standing(before, ConditionType::Ready).is_none();
    new.then(|| NewEvent {
        kind: object.kind,
        name: object.metadata.name.to_string(),
        severity: Severity::Normal,
        reason: "Ready",
        message: match object.kind {
            Kind::VirtualMachine => "the guest answers".into(),
            Kind::Image => "it can be booted".into(),
        },
    })
}
