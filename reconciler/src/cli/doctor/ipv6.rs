//! IPv6 of guests: the host must have it.

use std::path::Path;

use banger_protocol::{Install, Ula};

use super::Check;
use crate::cli::places::config_file;
use crate::config::load_file;

const NAME: &str = "IPv6 of guests";
const CONF: &str = "/proc/sys/net/ipv6/conf";

pub(super) fn check(install: Option<&Install>) -> Check {
    let Some(install) = install else {
        return Check::skip(NAME, "banger isn't installed on this host");
    };
    let wanted = config_file()
        .ok()
        .and_then(|(home, file)| load_file(&file, &home).ok())
        .map_or(Some(install.ula()), |config| {
            config.network.ula(install.ula()).unwrap_or_default()
        });
    let setting = |interface: &str| {
        let path = Path::new(CONF).join(interface).join("disable_ipv6");
        std::fs::read_to_string(path).ok()
    };
    judge(wanted, ["all", "default"].map(setting))
}

/// `disabled`: the host's `disable_ipv6`, of all interfaces and of new ones.
fn judge(wanted: Option<Ula>, disabled: [Option<String>; 2]) -> Check {
    let Some(ula) = wanted else {
        return Check::pass(NAME, "off, by config.toml");
    };
    let [all, new] = disabled.map(|it| it.map(|text| text.trim() != "0"));
    let (what, remedy) = match (all, new) {
        (Some(false), Some(false)) => {
            return Check::pass(NAME, format!("guests have addresses of {ula}"));
        }
        (None, _) | (_, None) => (
            "the host's kernel has no IPv6: guests have IPv4 only",
            "boot it without `ipv6.disable=1`",
        ),
        _ => (
            "the host's IPv6 is switched off: guests have IPv4 only",
            "set `net.ipv6.conf.all.disable_ipv6` and `net.ipv6.conf.default.disable_ipv6` to 0",
        ),
    };
    let remedy = format!("{remedy}, or write `ipv6 = \"off\"` in `[network]` of config.toml");
    Check::warn(NAME, what, remedy)
}

#[cfg(test)]
mod tests {
    use banger_protocol::Ula;

    use super::super::Verdict;
    use super::judge;

    #[test]
    fn a_host_without_ipv6_is_told() {
        let ula: Ula = "fd77::/64".parse().expect("a prefix");
        let told = |wanted, all: Option<&str>, new: Option<&str>| {
            let check = judge(wanted, [all, new].map(|it| it.map(str::to_owned)));
            (check.verdict, check.message)
        };
        let (verdict, message) = told(Some(ula), Some("0\n"), Some("0\n"));
        assert_eq!(verdict, Verdict::Pass);
        assert!(message.contains("fd77::/64"), "{message}");
        assert_eq!(told(Some(ula), Some("1\n"), Some("0\n")).0, Verdict::Warn);
        assert_eq!(told(Some(ula), Some("0\n"), Some("1\n")).0, Verdict::Warn);
        let (verdict, message) = told(Some(ula), None, None);
        assert_eq!(verdict, Verdict::Warn);
        assert!(message.contains("no IPv6"), "{message}");
        assert_eq!(told(None, None, None).0, Verdict::Pass);
    }
}
