//! The clock source: guests read the host's through KVM's own, which is exact
//! and cheap only over the TSC (Documentation/virt/kvm/x86/timekeeping.rst).

use super::Check;

pub(super) fn check() -> Check {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    judge(std::fs::read_to_string(path).ok().as_deref().map(str::trim))
}

fn judge(source: Option<&str>) -> Check {
    const NAME: &str = "clock source";
    match source {
        None => Check::skip(NAME, "the kernel doesn't tell"),
        Some(
            source @ ("tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "arch_sys_counter"),
        ) => Check::pass(NAME, source),
        Some(source) => Check::warn(
            NAME,
            format!("{source}: guests' clocks are slow to read and may drift"),
            "see in `dmesg` why the TSC is not used; `tsc=reliable` where it is sound",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::judge;

    #[test]
    fn slow_sources_are_warned_of() {
        assert_eq!(judge(Some("tsc")).verdict, Verdict::Pass);
        assert_eq!(judge(Some("hpet")).verdict, Verdict::Warn);
        assert_eq!(judge(None).verdict, Verdict::Skip);
    }
}
