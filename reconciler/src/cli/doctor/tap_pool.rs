//! The tap pool's counts, as the helper keeps them.

use banger_core::inventory::PoolCounts;

use super::Check;

pub(super) const NAME: &str = "tap pool";

/// A pool that isn't full is no fault: it is filled in a moment, or no VM is to
/// run. One that can't be filled is.
pub(super) fn judge(pool: Option<&PoolCounts>) -> Check {
    let Some(pool) = pool else {
        return Check::skip(NAME, "the helper doesn't tell");
    };
    let wanted = pool.size.map_or(0, u32::from);
    if pool.failed > 0 && pool.warm < wanted {
        return Check::warn(
            NAME,
            format!("{pool}: {wanted} at least are to be warm"),
            "`journalctl -u banger-helper OP=ensure-pool` says why no more can be made; a VM that \
             finds none has its own made",
        );
    }
    Check::pass(NAME, pool.to_string())
}

#[cfg(test)]
mod tests {
    use banger_core::inventory::PoolCounts;

    use super::super::Verdict;
    use super::judge;

    #[test]
    fn only_a_pool_that_cannot_be_filled_is_a_fault() {
        let full = PoolCounts {
            size: Some(4),
            warm: 4,
            in_use: 2,
            created: 12,
            ..PoolCounts::default()
        };
        let well = judge(Some(&full));
        assert_eq!(well.verdict, Verdict::Pass);
        assert_eq!(well.message, "4 warm, 2 in use, 12 created, 0 failed");
        assert_eq!(judge(None).verdict, Verdict::Skip);
        let verdict = |pool: PoolCounts| judge(Some(&pool)).verdict;
        // On its way, or not wanted; and what failed once, before it was full.
        assert_eq!(verdict(PoolCounts { warm: 1, ..full }), Verdict::Pass);
        assert_eq!(verdict(PoolCounts { failed: 3, ..full }), Verdict::Pass);
        // VMs gave some back.
        assert_eq!(verdict(PoolCounts { warm: 8, ..full }), Verdict::Pass);
        let stuck = PoolCounts {
            warm: 1,
            failed: 3,
            unfinished: 1,
            ..full
        };
        let told = judge(Some(&stuck));
        assert_eq!(told.verdict, Verdict::Warn);
        assert_eq!(
            told.message,
            "1 warm, 2 in use, 12 created, 3 failed, 1 unfinished: 4 at least are to be warm"
        );
        // Nobody has said yet how many there are to be.
        let silent = PoolCounts {
            size: None,
            ..stuck
        };
        assert_eq!(verdict(silent), Verdict::Pass);
    }
}
