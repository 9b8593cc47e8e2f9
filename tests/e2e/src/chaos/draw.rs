//! What happens in each round, drawn from a seed.

use std::fmt;

use super::{Measure, Wanted};

/// An edit of the files.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// None.
    Nothing,
    /// A label: changes nothing that runs.
    Label,
    /// NAT: live.
    Nat,
    /// vcpus, taken at once: a restart.
    Vcpus,
    /// The third VM's file comes or goes.
    GuestC,
}

impl Edit {
    pub(super) fn apply(self, wanted: &mut Wanted) {
        match self {
            Self::Nothing => {}
            Self::Label => wanted.label += 1,
            Self::Nat => wanted.nat = !wanted.nat,
            Self::Vcpus => wanted.vcpus = 3 - wanted.vcpus,
            Self::GuestC => wanted.guest_c = !wanted.guest_c,
        }
    }
}

/// What is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blow {
    /// bangerd.
    Daemon,
    /// The root helper.
    Helper,
    /// The Firecracker of this VM.
    Vmm(&'static str),
    /// The whole host, without warning.
    PowerCut,
}

/// One round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) edit: Edit,
    pub(super) blow: Blow,
    /// Between the two.
    pub(super) after_ms: u32,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}, then {:?} after {} ms",
            self.edit, self.blow, self.after_ms
        )
    }
}

/// The sequence.
pub(super) struct Draw {
    random: fastrand::Rng,
    kills: u32,
    cuts: u32,
}

impl Draw {
    pub(super) fn new(measure: Measure) -> Self {
        Self {
            random: fastrand::Rng::with_seed(measure.seed),
            kills: measure.kills,
            cuts: measure.cuts,
        }
    }

    /// The next round, until all kills and cuts have been dealt.
    pub(super) fn next(&mut self) -> Option<Turn> {
        let left = self.kills + self.cuts;
        if left == 0 {
            return None;
        }
        let edits = [
            Edit::Nothing,
            Edit::Label,
            Edit::Nat,
            Edit::Vcpus,
            Edit::GuestC,
        ];
        let kills = [
            Blow::Daemon,
            Blow::Daemon,
            Blow::Daemon,
            Blow::Helper,
            Blow::Helper,
            Blow::Helper,
            Blow::Vmm("a"),
            Blow::Vmm("b"),
        ];
        let edit = edits[self.random.usize(..edits.len())];
        let blow = if self.random.u32(..left) < self.cuts {
            self.cuts -= 1;
            Blow::PowerCut
        } else {
            self.kills -= 1;
            kills[self.random.usize(..kills.len())]
        };
        let after_ms = self.random.u32(..4000);
        Some(Turn {
            edit,
            blow,
            after_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deal(seed: u64) -> Vec<String> {
        let mut draw = Draw::new(Measure {
            kills: 10,
            cuts: 2,
            seed,
        });
        std::iter::from_fn(|| draw.next())
            .map(|turn| turn.to_string())
            .collect()
    }

    #[test]
    fn a_seed_replays_its_sequence() {
        let first = deal(7);
        assert_eq!(first.len(), 12);
        assert_eq!(
            first
                .iter()
                .filter(|turn| turn.contains("PowerCut"))
                .count(),
            2
        );
        assert_eq!(first, deal(7));
        assert_ne!(first, deal(8));
    }
}
