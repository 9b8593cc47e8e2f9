//! What `diff` and `apply --dry-run` show: the difference between what is
//! applied and what is desired, with the effect of each change.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::admit::{Admission, full};
use crate::api::virtual_machine::UpdatePolicy;
use crate::api::{Kind, Name};
use crate::effect::{self, Effect, FieldChange};
use crate::intent::{ImageIntent, Intents, VmIntent};
use crate::observed::Observed;
use crate::plan::{self, Clock, Plan, VmPlan, Why};
use crate::problem::Problem;

/// What would happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffReport {
    /// Objects that differ, by kind and name.
    pub entries: Vec<DiffEntry>,
    /// Documents that can't be accepted.
    pub problems: Vec<Problem>,
}

/// One object that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffEntry {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// What would happen to it.
    pub change: Change,
    /// The gravest effect.
    pub effect: Effect,
    /// Fields that differ, for `Modify`.
    pub fields: Vec<FieldChange>,
    /// The spec as applied, YAML; empty for `Create`.
    pub before: String,
    /// The spec as desired, YAML; empty for `Delete`.
    pub after: String,
    /// What would be done now, in order, for a person: `create: the VM isn't running`.
    pub actions: Vec<String>,
    /// Flags of `banger apply` that have to be given before the rest is done:
    /// `--restart`.
    pub waits_for: Option<String>,
    /// The file that declares it.
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// What would happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is new.
    Create,
    /// It is changed.
    Modify,
    /// It goes.
    Delete,
    /// Its document stands as it did, but the host doesn't hold it as it should.
    Repair,
}

impl DiffReport {
    /// Whether nothing would happen.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What would happen if `admission` were in force: the same admission, the
/// same effects and the same plan that the loop goes by. `before` is what is
/// in force now.
pub fn report(
    before: &Intents,
    admission: &Admission,
    observed: &Observed,
    clock: Clock,
) -> DiffReport {
    let plan = plan::plan(&admission.intents, observed, clock);
    let mut entries = Vec::new();
    for image in admission.intents.images.values() {
        let file = admission.sources.get(&image.uid).cloned();
        let entry = image_entry(before.images.get(&image.uid), image);
        entries.extend(entry.map(|entry| DiffEntry { file, ..entry }));
    }
    for vm in admission.intents.vms.values() {
        let file = admission.sources.get(&vm.uid).cloned();
        let entry = vm_entry(before.vms.get(&vm.uid), vm, &admission.intents, &plan);
        entries.extend(entry.map(|entry| DiffEntry { file, ..entry }));
    }
    entries.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    DiffReport {
        entries,
        problems: admission.problems.clone(),
    }
}

fn vm_entry(
    before: Option<&VmIntent>,
    vm: &VmIntent,
    intents: &Intents,
    plan: &Plan,
) -> Option<DiffEntry> {
    let mut actions = plan.vms.iter().filter(|action| action.uid == vm.uid);
    let action = actions.find(|action| !action.is_bookkeeping());
    let actions: Vec<String> = action.map(words).into_iter().collect();
    let now = before.map(|before| {
        before
            .applied
            .as_ref()
            .map_or(&before.spec, |now| &now.spec)
    });
    let mut entry = DiffEntry {
        kind: Kind::VirtualMachine,
        name: vm.name().clone(),
        change: Change::Create,
        effect: action.map_or(Effect::Live, |action| action.effect),
        fields: Vec::new(),
        before: now.map(|spec| yaml(&full(spec))).unwrap_or_default(),
        after: yaml(&full(&vm.spec)),
        actions,
        waits_for: None,
        file: None,
    };
    let Some(now) = now else { return Some(entry) };
    if let Some(deletion) = &vm.deletion {
        entry.change = Change::Delete;
        entry.after.clear();
        entry.effect = if deletion.purge {
            Effect::LosesData
        } else {
            Effect::ReplaceRoot
        };
        return Some(entry);
    }
    entry.fields = if vm.applied.is_some() {
        // Through the intent, so that an image of equal content counts as live.
        let mut as_applied = vm.clone();
        if let Some(applied) = &mut as_applied.applied {
            applied.spec = now.clone();
        }
        effect::pending(&as_applied, intents)
    } else {
        effect::between(now, &vm.spec)
            .into_iter()
            // Nothing was made yet that a change could hurt.
            .map(|change| FieldChange {
                effect: Effect::Live,
                disk: None,
                ..change
            })
            .collect()
    };
    entry.waits_for = waits_for(vm, plan);
    let lost = lost(vm, plan);
    if entry.fields.is_empty() && !lost.is_empty() {
        entry.change = Change::Repair;
        entry.effect = gravest(&lost);
        entry.fields = lost;
        return Some(entry);
    }
    entry.fields.extend(lost);
    if entry.fields.is_empty() {
        entry.waits_for = None;
        let action = action?;
        entry.change = if vm.applied.is_none() {
            Change::Create
        } else {
            Change::Repair
        };
        entry.effect = action.effect;
        return Some(entry);
    }
    entry.change = Change::Modify;
    entry.effect = gravest(&entry.fields);
    Some(entry)
}

fn gravest(changes: &[FieldChange]) -> Effect {
    let effects = changes.iter().map(|change| change.effect);
    effects.max().unwrap_or(Effect::Live)
}

/// Disks of it that are gone.
fn lost(vm: &VmIntent, plan: &Plan) -> Vec<FieldChange> {
    let waiting = plan.waiting.iter().filter(|waiting| waiting.uid == vm.uid);
    let changes = waiting.filter_map(|waiting| match &waiting.why {
        Why::DiskMissing { changes } => Some(changes),
        _ => None,
    });
    changes.flatten().cloned().collect()
}

/// What a person has to say for the rest to be done.
fn waits_for(vm: &VmIntent, plan: &Plan) -> Option<String> {
    let whys = plan
        .waiting
        .iter()
        .filter(|waiting| waiting.uid == vm.uid)
        .map(|waiting| &waiting.why);
    let mut flags = BTreeSet::new();
    for why in whys {
        match why {
            // Its turn comes by itself.
            Why::RestartRequired { .. } if vm.spec.update_policy == UpdatePolicy::Auto => {}
            Why::RestartRequired { .. } | Why::StartNotRecorded => {
                flags.insert("--restart");
            }
            Why::ConfirmationRequired { changes } | Why::DiskMissing { changes } => {
                for change in changes {
                    flags.insert(match change.effect {
                        Effect::LosesData => "--allow-data-loss",
                        _ => "--replace-root",
                    });
                }
            }
            _ => {}
        }
    }
    if flags.is_empty() {
        return None;
    }
    Some(flags.into_iter().collect::<Vec<_>>().join(" "))
}

fn image_entry(before: Option<&ImageIntent>, image: &ImageIntent) -> Option<DiffEntry> {
    let change = match (before, &image.deletion) {
        (_, Some(_)) => Change::Delete,
        (None, None) => Change::Create,
        (Some(before), None) if before.spec != image.spec => Change::Modify,
        (Some(_), None) if image.imported.is_none() => Change::Create,
        (Some(_), None) => return None,
    };
    let after = yaml(&image.spec);
    Some(DiffEntry {
        kind: Kind::Image,
        name: image.name().clone(),
        change,
        effect: Effect::Live,
        fields: Vec::new(),
        before: before.map(|before| yaml(&before.spec)).unwrap_or_default(),
        after: if change == Change::Delete {
            String::new()
        } else {
            after
        },
        actions: match change {
            Change::Delete => vec!["forget it; VMs that were made from it keep running".into()],
            _ => vec!["import it".into()],
        },
        waits_for: None,
        file: None,
    })
}

fn words(action: &VmPlan) -> String {
    format!("{}: {}", action.verb.as_str(), action.reason)
}

/// A spec as a document would say it.
fn yaml<T: Serialize>(spec: &T) -> String {
    serde_yaml::to_string(spec).unwrap_or_default()
}
