//! What a person wrote.

/// The reference model of one file: what the person last wrote there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum File {
    Absent,
    /// Accepted, with the numbers that the intent must come to show.
    Good {
        text: String,
        vcpus: u8,
    },
    /// Its object can be told, but it isn't accepted.
    Refused,
    /// Nothing can be made out of it.
    Garbage,
}
