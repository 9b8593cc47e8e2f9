//! The tap pool: so many warm taps, as soon as there is a bridge for VMs.

use banger_protocol::{PoolSize, WarmUps};

use super::HostStep;
use super::vm::wants_to_run;
use crate::intent::Intents;
use crate::observed::{Observed, Presence};

/// How the owner wants the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolTarget {
    /// Taps that are kept warm.
    pub size: PoolSize,
    /// Taps that are made at once.
    pub parallel: WarmUps,
}

pub(super) fn plan(
    intents: &Intents,
    observed: &Observed,
    target: Option<PoolTarget>,
) -> Option<HostStep> {
    let PoolTarget { size, parallel } = target?;
    let pool = observed.pool.present()?;
    // The size counts as well: by it the helper knows what to keep of the taps
    // that VMs give back, and a helper that began anew doesn't know it. What they
    // gave back beyond it is no reason to do anything.
    let kept = u32::from(size.get())..=u32::from(size.most_kept());
    let stands =
        pool.size.unwrap_or_default() == size && kept.contains(&pool.warm) && pool.unfinished == 0;
    let wanted = intents.vms.values().any(wants_to_run);
    let possible = match &observed.bridge {
        _ if size.get() == 0 => true,
        Presence::Present(()) => wanted,
        Presence::Absent | Presence::Unknown(_) => false,
    };
    (!stands && possible).then_some(HostStep::EnsurePool { size, parallel })
}
