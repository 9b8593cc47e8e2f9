//! systemd-resolved: with it the host resolves `<vm>.vm` by itself.

use std::os::unix::net::UnixStream;

use super::Check;

/// systemd-resolved runs, and the host's resolv.conf leads to it, or not.
struct Reading {
    runs: bool,
    resolv_conf: String,
}

pub(super) fn check() -> Check {
    judge(&Reading {
        // Its files stay when it stops; its socket refuses then.
        runs: UnixStream::connect("/run/systemd/resolve/io.systemd.Resolve").is_ok(),
        resolv_conf: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
    })
}

fn judge(reading: &Reading) -> Check {
    const NAME: &str = "systemd-resolved";
    if !reading.runs {
        return Check::warn(
            NAME,
            "it doesn't run: names such as `web.vm` won't resolve on this host by themselves",
            "`sudo systemctl enable --now systemd-resolved`, or use the VMs' addresses",
        );
    }
    let stub = ["127.0.0.53", "127.0.0.54"];
    let uses = reading
        .resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .any(|server| stub.contains(&server.trim()));
    if uses {
        Check::pass(NAME, "it runs, and /etc/resolv.conf leads to it")
    } else {
        Check::warn(
            NAME,
            "it runs, but /etc/resolv.conf doesn't lead to it",
            "`sudo ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf`",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::{Reading, judge};

    #[test]
    fn it_has_to_run_and_to_be_asked() {
        let verdict = |runs, text: &str| {
            judge(&Reading {
                runs,
                resolv_conf: text.into(),
            })
            .verdict
        };
        assert_eq!(verdict(true, "# x\nnameserver 127.0.0.53\n"), Verdict::Pass);
        assert_eq!(verdict(true, "nameserver 9.9.9.9\n"), Verdict::Warn);
        assert_eq!(verdict(false, "nameserver 127.0.0.53\n"), Verdict::Warn);
    }
}
