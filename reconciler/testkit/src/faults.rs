//! Faults: the n-th step fails before or after it took effect.

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing has happened yet.
    Before,
    /// It has happened, and only the answer is lost.
    After,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of the step, from 0, over the life of the host.
    pub call: u64,
    /// When it strikes.
    pub when: When,
}

/// All faults to come, and how many steps there have been.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    calls: u64,
    planned: Vec<Fault>,
    observations_fail: bool,
}

impl Faults {
    /// Adds a fault.
    pub fn add(&mut self, fault: Fault) {
        self.planned.push(fault);
    }

    /// Makes every probe of `observe` fail, or work again.
    pub fn fail_observations(&mut self, fail: bool) {
        self.observations_fail = fail;
    }

    /// Whether probes fail now.
    pub const fn observations_fail(&self) -> bool {
        self.observations_fail
    }

    /// Steps so far.
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// Counts a step; answers which fault strikes it.
    pub(crate) fn next(&mut self) -> Option<When> {
        let call = self.calls;
        self.calls += 1;
        self.planned
            .iter()
            .find(|fault| fault.call == call)
            .map(|fault| fault.when)
    }
}
