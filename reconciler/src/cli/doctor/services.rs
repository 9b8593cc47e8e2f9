//! banger's units.

use std::path::Path;

use super::Check;
use crate::cli::system::layout::{SERVICES, SOCKETS};
use crate::cli::system::program::try_run;

pub(super) fn checks(installed: bool) -> Vec<Check> {
    let systemd = Path::new("/run/systemd/system").is_dir();
    if !(installed && systemd) {
        let why = if systemd {
            "banger isn't installed on this host"
        } else {
            "systemd doesn't run"
        };
        return vec![Check::skip("services", why)];
    }
    let units = SOCKETS.into_iter().chain(SERVICES);
    units
        .map(|unit| {
            let state = try_run("systemctl", &["show", "-P", "ActiveState", unit]);
            judge(unit, state.as_deref().map(str::trim))
        })
        .collect()
}

fn judge(unit: &str, state: Option<&str>) -> Check {
    let state = state.unwrap_or("unknown");
    // The helper comes when it is called.
    let on_call = unit == "banger-helper.service" && state == "inactive";
    if state == "active" {
        Check::pass(unit, state)
    } else if on_call {
        Check::pass(unit, "inactive: it comes when it is called")
    } else {
        Check::fail(
            unit,
            state,
            format!("`sudo systemctl start {unit}`; `journalctl -u {unit}` says why it isn't"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::judge;

    #[test]
    fn all_but_the_helper_have_to_be_active() {
        let verdict = |unit, state| judge(unit, state).verdict;
        assert_eq!(verdict("bangerd.service", Some("active")), Verdict::Pass);
        assert_eq!(verdict("bangerd.service", Some("inactive")), Verdict::Fail);
        assert_eq!(
            verdict("banger-helper.service", Some("inactive")),
            Verdict::Pass
        );
        assert_eq!(
            verdict("banger-helper.service", Some("failed")),
            Verdict::Fail
        );
        assert_eq!(verdict("bangerd.socket", None), Verdict::Fail);
    }
}
