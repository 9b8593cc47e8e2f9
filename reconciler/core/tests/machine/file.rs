//! What a person wrote.

use banger_core::intent::VmIntent;
use banger_core::trash;

/// The reference model of one file: what the person last wrote there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum File {
    Absent,
    /// Accepted, with what the intent must come to show.
    Good {
        text: String,
        vcpus: u8,
    },
    /// Its object can be told, but it isn't accepted.
    Refused,
    /// Nothing can be made out of it.
    Garbage,
}

impl File {
    /// The document that a VM had, put back.
    pub(crate) fn of_trash(vm: &VmIntent) -> Self {
        Self::Good {
            text: trash::document(vm).text,
            vcpus: vm.spec.vcpus,
        }
    }

    /// The same document with another name in it.
    pub(crate) fn renamed(&self, from: &str, to: &str) -> Self {
        let mut file = self.clone();
        if let Self::Good { text, .. } = &mut file {
            // As it was written, or as the trash gave it back.
            *text = text.replace(&format!("name: {from}"), &format!("name: {to}"));
        }
        file
    }
}
