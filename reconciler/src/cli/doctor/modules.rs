//! Kernel modules: loaded, built in, or to be had. The helper may load none.

use std::path::Path;

use super::Check;

const NAME: &str = "kernel modules";
/// What the helper relies on (vhost is not needed: Firecracker has its own vsock).
const NEEDED: [&str; 5] = ["dm_snapshot", "loop", "tun", "bridge", "nf_tables"];

/// Where a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Module {
    Loaded,
    BuiltIn,
    /// `modprobe` would find it.
    Loadable,
    /// Neither loaded nor in the lists of the running kernel.
    Missing,
    /// There are no lists of the running kernel.
    Unknown,
}

pub(super) fn check() -> Check {
    let release = rustix::system::uname();
    let lists = Path::new("/lib/modules").join(release.release().to_string_lossy().as_ref());
    let list = |name: &str| std::fs::read_to_string(lists.join(name)).ok();
    let (built_in, loadable) = (list("modules.builtin"), list("modules.dep"));
    let readings = NEEDED.map(|name| {
        let loaded = Path::new("/sys/module").join(name).is_dir();
        let module = find(name, loaded, built_in.as_deref(), loadable.as_deref());
        (name, module)
    });
    judge(&readings)
}

fn find(name: &str, loaded: bool, built_in: Option<&str>, loadable: Option<&str>) -> Module {
    let Some(built_in) = built_in else {
        return if loaded {
            Module::Loaded
        } else {
            Module::Unknown
        };
    };
    // File names have hyphens where module names have underscores.
    let lists = |list: &str| {
        list.lines().any(|line| {
            let path = line.split(':').next().unwrap_or_default();
            let file = path.rsplit('/').next().unwrap_or_default();
            let stem = file.split(".ko").next().unwrap_or_default();
            stem.replace('-', "_") == name
        })
    };
    if lists(built_in) {
        Module::BuiltIn
    } else if loaded {
        Module::Loaded
    } else if loadable.is_some_and(lists) {
        Module::Loadable
    } else {
        Module::Missing
    }
}

fn judge(readings: &[(&str, Module)]) -> Check {
    let of = |wanted: Module| -> Vec<&str> {
        let all = readings.iter().filter(|(_, module)| *module == wanted);
        all.map(|(name, _)| *name).collect()
    };
    let (missing, loadable, unknown) = (
        of(Module::Missing),
        of(Module::Loadable),
        of(Module::Unknown),
    );
    if !missing.is_empty() {
        return Check::fail(
            NAME,
            format!("this kernel has no {}", missing.join(", ")),
            "boot a kernel that has them; on a cloud kernel, install its modules package",
        );
    }
    if !loadable.is_empty() {
        let words = loadable.join(" ");
        return Check::warn(
            NAME,
            format!("not loaded: {}", loadable.join(", ")),
            format!("`sudo modprobe -a {words}`; `sudo banger system install` has it done at boot"),
        );
    }
    if !unknown.is_empty() {
        return Check::skip(
            NAME,
            format!(
                "{} may be built in: this kernel has no lists in /lib/modules",
                unknown.join(", ")
            ),
        );
    }
    Check::pass(NAME, "all loaded or built in")
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::{Module, find, judge};

    const BUILT_IN: &str = "kernel/drivers/block/loop.ko\n";
    const DEP: &str = "kernel/drivers/md/dm-snapshot.ko.xz: kernel/drivers/md/dm-bufio.ko.xz\n\
                       kernel/drivers/net/tun.ko:\n";

    #[test]
    fn a_module_is_found_where_it_is() {
        let at = |name, loaded| find(name, loaded, Some(BUILT_IN), Some(DEP));
        assert_eq!(at("loop", false), Module::BuiltIn);
        assert_eq!(at("dm_snapshot", false), Module::Loadable);
        assert_eq!(at("dm_snapshot", true), Module::Loaded);
        assert_eq!(at("bridge", false), Module::Missing);
        // A dependency isn't the module itself.
        assert_eq!(at("dm_bufio", false), Module::Missing);
        assert_eq!(find("tun", false, None, None), Module::Unknown);
        assert_eq!(find("tun", true, None, None), Module::Loaded);
    }

    #[test]
    fn the_worst_one_decides() {
        let verdict = |modules: &[(&str, Module)]| judge(modules).verdict;
        let ok = ("a", Module::Loaded);
        assert_eq!(verdict(&[ok, ("b", Module::BuiltIn)]), Verdict::Pass);
        assert_eq!(verdict(&[ok, ("b", Module::Unknown)]), Verdict::Skip);
        assert_eq!(verdict(&[ok, ("b", Module::Loadable)]), Verdict::Warn);
        assert_eq!(
            verdict(&[("b", Module::Loadable), ("c", Module::Missing)]),
            Verdict::Fail
        );
    }
}
