//! systemd-resolved: with it the host resolves `<vm>.vm` by itself.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;

use banger_protocol::Install;
use banger_protocol::slot::gateway;

use super::Check;

/// systemd-resolved runs, and where the host's resolv.conf leads.
struct Reading {
    runs: bool,
    resolv_conf: String,
    /// banger's own server, which answers for names of VMs and asks the host's
    /// other servers for the rest.
    server: Option<Ipv4Addr>,
}

pub(super) fn check(install: Option<&Install>) -> Check {
    judge(&Reading {
        // Its files stay when it stops; its socket refuses then.
        runs: UnixStream::connect("/run/systemd/resolve/io.systemd.Resolve").is_ok(),
        resolv_conf: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        server: install.map(|install| gateway(install.subnet)),
    })
}

fn judge(reading: &Reading) -> Check {
    const NAME: &str = "systemd-resolved";
    const STUB: [&str; 2] = ["127.0.0.53", "127.0.0.54"];
    let runs = reading.runs;
    let does = if runs { "it runs" } else { "it doesn't run" };
    let servers: Vec<&str> = reading
        .resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .map(str::trim)
        .collect();
    // resolv.conf(5): they are asked in the order in which they stand.
    if let (Some(server), Some(first)) = (reading.server, servers.first())
        && first.parse() == Ok(server)
    {
        let message = format!("{does}; /etc/resolv.conf leads to banger's own server, {server}");
        return Check::pass(NAME, message);
    }
    if !runs {
        let instead = match reading.server {
            Some(server) => format!(
                "make `nameserver {server}` the first line of /etc/resolv.conf; docs/dns.md says \
                 what else can be done"
            ),
            None => "use the VMs' addresses".to_owned(),
        };
        return Check::warn(
            NAME,
            "it doesn't run: names such as `web.vm` won't resolve on this host by themselves",
            format!("`sudo systemctl enable --now systemd-resolved`, or {instead}"),
        );
    }
    if servers.iter().any(|server| STUB.contains(server)) {
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
    use std::net::Ipv4Addr;

    use super::super::Verdict;
    use super::{Reading, judge};

    #[test]
    fn it_has_to_run_and_to_be_asked() {
        let verdict = |runs, text: &str| {
            judge(&Reading {
                runs,
                resolv_conf: text.into(),
                server: None,
            })
            .verdict
        };
        assert_eq!(verdict(true, "# x\nnameserver 127.0.0.53\n"), Verdict::Pass);
        assert_eq!(verdict(true, "nameserver 9.9.9.9\n"), Verdict::Warn);
        assert_eq!(verdict(false, "nameserver 127.0.0.53\n"), Verdict::Warn);
    }

    #[test]
    fn without_it_the_hosts_first_server_may_be_ours() {
        let told = |runs, text: &str| {
            let check = judge(&Reading {
                runs,
                resolv_conf: text.into(),
                server: Some(Ipv4Addr::new(172, 30, 0, 1)),
            });
            (check.verdict, check.remedy.unwrap_or_default())
        };
        let ours = "nameserver 172.30.0.1\nnameserver 9.9.9.9\n";
        for runs in [false, true] {
            assert_eq!(told(runs, ours).0, Verdict::Pass, "{runs}");
        }
        // Behind another one it isn't asked: that one knows of no such names.
        let (verdict, remedy) = told(false, "nameserver 9.9.9.9\nnameserver 172.30.0.1\n");
        assert_eq!(verdict, Verdict::Warn);
        assert!(remedy.contains("`nameserver 172.30.0.1`"), "{remedy}");
    }
}
