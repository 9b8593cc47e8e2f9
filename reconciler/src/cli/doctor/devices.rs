//! The device nodes of loop devices and taps.

use std::path::Path;

use super::Check;

pub(super) fn loop_devices() -> Check {
    judge("loop", "/dev/loop-control", Path::exists)
}

pub(super) fn tun() -> Check {
    judge("tun", "/dev/net/tun", Path::exists)
}

fn judge(module: &str, path: &str, exists: impl Fn(&Path) -> bool) -> Check {
    if exists(Path::new(path)) {
        return Check::pass(module, format!("{path} is there"));
    }
    let remedy = format!("load its module: `sudo modprobe {module}`");
    Check::fail(module, format!("{path} isn't there"), remedy)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::judge;

    #[test]
    fn a_node_that_is_missing_names_its_module() {
        assert_eq!(judge("tun", "/x", |_| true).verdict, Verdict::Pass);
        let missing = judge("tun", "/dev/net/tun", |_| false);
        assert_eq!(missing.verdict, Verdict::Fail);
        assert!(missing.remedy.is_some_and(|it| it.contains("modprobe tun")));
    }
}
