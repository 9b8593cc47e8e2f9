//! Confirmations: a person's word for exactly what is held now.

use banger_core::api::{Kind, Name};
use banger_core::effect::{self, Effect, FieldChange};
use banger_core::plan::Why;
use banger_core::seam::Host;
use banger_protocol::VmUid;

use super::ask::{Confirm, Refusal, event};
use super::run::Controller;

impl<H: Host> Controller<H> {
    /// Confirms the changes of a VM that `confirm` covers and that are held
    /// now. Refused while something is held that it doesn't cover, so that
    /// nobody waits for a change that nobody confirmed.
    pub(super) async fn confirm(&mut self, name: &Name, confirm: Confirm) -> Result<(), Refusal> {
        let vm = self.live_vm(name).await?;
        let intents = self.ledger.state().await.intents;
        let mut changes = effect::effective(&vm, &intents).held;
        changes.extend(self.lost_disks(vm.uid));
        if confirm.replace_root {
            changes.extend(effect::image_update(&vm, &intents));
        }
        let missing: Vec<&FieldChange> = changes
            .iter()
            .filter(|change| match change.effect {
                Effect::LosesData => !confirm.allow_data_loss,
                _ => !confirm.replace_root,
            })
            .collect();
        if let Some(change) = missing.first() {
            let flag = match change.effect {
                Effect::LosesData => "--allow-data-loss",
                _ => "--replace-root",
            };
            return Err(Refusal::conflict(
                format!("vm `{name}` also waits for a word on {}", change.words()),
                format!("add {flag} if that is meant"),
            ));
        }
        let confirmed: Vec<_> = changes
            .iter()
            .filter_map(FieldChange::confirmation)
            .filter(|new| !vm.confirmations.contains(new))
            .collect();
        if confirmed.is_empty() {
            return Ok(());
        }
        let words: Vec<String> = changes.iter().map(FieldChange::words).collect();
        let event = event(Kind::VirtualMachine, name, "Confirmed", &words.join(", "));
        self.ledger
            .change_vm(vm.uid, vec![event], |vm, _| {
                vm.confirmations.extend(confirmed);
            })
            .await?;
        Ok(())
    }

    /// Disks of a VM that the last pass found missing.
    fn lost_disks(&self, uid: VmUid) -> Vec<FieldChange> {
        let waiting = self.last.iter().flat_map(|last| &last.plan.waiting);
        let changes = waiting.filter_map(|waiting| match &waiting.why {
            Why::DiskMissing { changes } if waiting.uid == uid => Some(changes),
            _ => None,
        });
        changes.flatten().cloned().collect()
    }
}
