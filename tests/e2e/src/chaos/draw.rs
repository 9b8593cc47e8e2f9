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

/// One round: the blows fall one after the other, into what the one before
/// left; a power cut is the last.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) edit: Edit,
    pub(super) blows: Vec<(Pause, Blow)>,
}

/// Before a blow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    ms: u32,
}

impl fmt::Display for Pause {
    /// As `sleep` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.ms / 1000, self.ms % 1000)
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.edit)?;
        for (pause, blow) in &self.blows {
            write!(f, ", {pause} s, {blow:?}")?;
        }
        Ok(())
    }
}

/// Blows of a round at most.
const MOST: u32 = 4;

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
        if self.kills + self.cuts == 0 {
            return None;
        }
        let edits = [
            Edit::Nothing,
            Edit::Label,
            Edit::Nat,
            Edit::Vcpus,
            Edit::GuestC,
        ];
        let edit = edits[self.random.usize(..edits.len())];
        let mut blows = Vec::new();
        for _ in 0..=self.random.u32(..MOST) {
            let ms = self.random.u32(..4000);
            let Some(blow) = self.blow() else { break };
            blows.push((Pause { ms }, blow));
            if matches!(blow, Blow::PowerCut) {
                break;
            }
        }
        Some(Turn { edit, blows })
    }

    fn blow(&mut self) -> Option<Blow> {
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
        let left = self.kills + self.cuts;
        if left == 0 {
            return None;
        }
        if self.random.u32(..left) < self.cuts {
            self.cuts -= 1;
            return Some(Blow::PowerCut);
        }
        self.kills -= 1;
        Some(kills[self.random.usize(..kills.len())])
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
        let count = |blow: &str| -> usize {
            let all = first.iter().map(|turn| turn.matches(blow).count());
            all.sum()
        };
        assert_eq!(count("PowerCut"), 2);
        assert_eq!(count("Daemon") + count("Helper") + count("Vmm"), 10);
        assert!(first.len() < 12, "every round has one blow: {first:?}");
        assert_eq!(first, deal(7));
        assert_ne!(first, deal(8));
    }

    #[test]
    fn a_power_cut_ends_its_round() {
        for turn in (0..20).flat_map(deal) {
            let after = turn.split_once("PowerCut").map_or("", |(_, after)| after);
            assert_eq!(after, "", "{turn}");
        }
    }
}
