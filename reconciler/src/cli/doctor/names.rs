//! Names of VMs: something answers for `vm.` on the bridge.

use std::io;
use std::path::Path;
use std::time::Duration;

use banger_protocol::Install;
use banger_protocol::slot::gateway;

use super::Check;
use crate::cli::places::config_file;
use crate::config::load_file;
use crate::net::dns::probe;

/// It answers from memory.
const LIMIT: Duration = Duration::from_secs(2);

pub(super) fn check(install: Option<&Install>) -> Check {
    const NAME: &str = "names of VMs";
    let Some(install) = install else {
        return Check::skip(NAME, "banger isn't installed on this host");
    };
    let enabled = config_file()
        .ok()
        .and_then(|(home, file)| load_file(&file, &home).ok())
        .is_none_or(|config| config.dns.enabled);
    if !enabled {
        return Check::skip(NAME, "`dns.enabled` is false in config.toml");
    }
    if !Path::new("/sys/class/net").join(&install.bridge).exists() {
        let message = format!("there is no {} yet: it comes with a VM", install.bridge);
        return Check::skip(NAME, message);
    }
    let server = gateway(install.subnet);
    judge(NAME, &server.to_string(), &probe(server, LIMIT))
}

fn judge(name: &str, server: &str, answer: &io::Result<bool>) -> Check {
    let who = "`sudo ss -lntup 'sport = :53'` shows who has the port; `journalctl -u bangerd` \
               says why it isn't banger";
    match answer {
        Ok(true) => Check::pass(name, format!("{server} answers for `vm`")),
        Ok(false) => {
            let message = format!("the DNS server at {server} is not banger's");
            Check::warn(name, message, who)
        }
        Err(error) => Check::warn(name, format!("no answer from {server}: {error}"), who),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::judge;
    use std::io::{Error, ErrorKind};

    #[test]
    fn only_an_answer_for_the_zone_is_one() {
        let verdict = |answer| judge("names", "192.0.2.1", &answer).verdict;
        assert_eq!(verdict(Ok(true)), Verdict::Pass);
        assert_eq!(verdict(Ok(false)), Verdict::Warn);
        assert_eq!(
            verdict(Err(Error::from(ErrorKind::WouldBlock))),
            Verdict::Warn
        );
    }
}
