//! What somebody changes or tries is told, refused, or put right.

use anyhow::{Context as _, Result, ensure};

use super::{SOON, same_tables, web};
use crate::lab::Lab;
use crate::scenarios::network::{FETCH, is_unanswered};
use crate::scenarios::{bound, dns};

/// A pass is woken by a document; nobody tells the daemon of anything else.
const WAKE: &str = "su owner -c 'touch ~/.config/banger/vms/web.yaml'";

pub(in crate::scenarios) fn mended(lab: &Lab) -> Result<()> {
    firewalls(lab)?;
    edits(lab)?;
    bound::attack(lab, true)?;
    pool(lab)?;
    lab.root(COPIES).context("broken: the copies of programs")?;
    without_resolved(lab)
}

/// Tables as Docker, ufw and firewalld have them, and one of somebody's own.
const FIREWALLS: &str = "\
table ip docker-like {
  chain DOCKER-USER { }
  chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }
}
table ip ufw-like {
  chain ufw-user-forward { }
  chain FORWARD { type filter hook forward priority 0; policy drop; jump ufw-user-forward; }
}
table inet firewalld {
  chain filter_FORWARD { type filter hook forward priority 10; reject; }
}
table inet meddler {
  chain forward { type filter hook forward priority 0; policy drop; }
}
";
/// What each of them is called, or what is to be done about it.
const TOLD: [&str; 4] = [
    "-I DOCKER-USER -i br-banger",
    "ufw route allow in on br-banger",
    "firewall-cmd --permanent --zone=trusted",
    "table `inet meddler`",
];

/// Our table is put back, and who is in the way is told by name.
fn firewalls(lab: &Lab) -> Result<()> {
    lab.root(&format!(
        "nft flush chain inet banger forward && nft -f - <<'EOF'\n{FIREWALLS}EOF\n{WAKE}"
    ))?;
    let network = |status: &str| {
        format!(
            "su owner -c 'banger get vm web -o json' | jq -e '.status.conditions[] | \
             select(.type == \"NetworkReady\" and .status == \"{status}\")' >/dev/null"
        )
    };
    lab.until("our table is put back", &same_tables(), SOON)?;
    lab.until("a firewall in the way is told", &network("False"), SOON)?;
    let told = lab.owner("banger describe vm web")?;
    for words in TOLD {
        ensure!(told.contains(words), "nothing of `{words}` in:\n{told}");
    }
    lab.root(&format!(
        "for table in 'ip docker-like' 'ip ufw-like' 'inet firewalld' 'inet meddler'; do \
           nft delete table $table || exit 1; done; {WAKE}"
    ))?;
    lab.until("the way is free again", &network("True"), SOON)
}

/// NAT off, live, and files that no guest is given, whatever a document says; and
/// all of it as it was.
fn edits(lab: &Lab) -> Result<()> {
    lab.owner(
        "mkdir -p ~/.ssh && echo key > ~/.ssh/x && echo no > ~/roots && \
         ln -sfn /etc/hostname ~/elsewhere",
    )?;
    lab.root("chown root ~owner/roots && chmod 0600 ~owner/roots")?;
    let edit = |nat, file| lab.write_vm("web.yaml", &Lab::document("web", &web(nat, file)));
    for (file, why) in [
        ("~/elsewhere", "outside the home directory"),
        ("~/.ssh/x", "is in ~/.ssh"),
        ("~/roots", "Permission denied"),
    ] {
        edit(false, file)?;
        lab.until(
            &format!("it is told of {file}"),
            &format!("su owner -c 'banger describe vm web' | grep -q '{why}'"),
            SOON,
        )?;
    }
    let file = lab.guest("web", "cat /etc/kept")?;
    ensure!(file.trim() == "kept", "broken: files of the owner: {file}");
    let beyond = lab.ask_guest("web", FETCH)?;
    ensure!(is_unanswered(&beyond), "broken: NAT off, live: {beyond:?}");
    edit(true, "~/kept")?;
    lab.until("NAT is on again", &same_tables(), SOON)?;
    lab.guest("web", FETCH)?;
    lab.ready("web")
}

/// `warm name` and `warm ifindex`: of each warm tap, sorted.
const WARM: &str = "\
    warm() { for tap in /sys/class/net/*; do \
      [ \"$(cat $tap/ifalias 2>/dev/null)\" = pool ] || continue; \
      [ $1 = name ] && echo ${tap##*/} || cat $tap/$1; done | sort; }; ";

/// The number in a warm tap's name.
fn number(name: &str) -> Option<u32> {
    name.rsplit('-').next()?.parse().ok()
}

/// While no tap can be made whole batches fail: two taps each, ever more rarely.
/// Their numbers are there for the next one. A VM's tap is one that was warm, and
/// is so again when the VM is off.
fn pool(lab: &Lab) -> Result<()> {
    let names = lab.root(&format!("{WARM} warm name"))?;
    let failed = "$(su owner -c 'banger doctor --inventory -o json' | jq .pool.failed)";
    let before = lab.root(&format!("echo {failed}"))?;
    let before = before.trim();
    lab.root(&format!(
        "{WARM} mv /dev/net/tun /dev/net/away && \
         for tap in $(warm name); do ip link delete $tap || exit 1; done; {WAKE}"
    ))?;
    // Of as many tries as there were: the pauses are at least 1, 2 and 4 s.
    let tried = lab.until(
        "whole batches of two fail, ever more rarely",
        &format!(
            "failed=$(({failed} - {before})) && [ $failed -ge 8 ] && journalctl --sync && \
             journalctl _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID banger-helper) \
               OP=ensure-pool STAGE=open -o json | jq -es --argjson failed $failed '\
                 map(.__MONOTONIC_TIMESTAMP | tonumber / 1000000) as $at | \
                 ($at | length) * 2 == $failed and \
                 ([range(1; $at | length) | $at[.] - $at[. - 1] >= pow(2; . - 1)] | all)' \
             >/dev/null"
        ),
        SOON,
    );
    lab.root("mv /dev/net/away /dev/net/tun")?;
    tried?;
    // There may have been more, that VMs gave back.
    let highest = names.lines().filter_map(number).max();
    let highest = highest.context("no tap was warm")?;
    lab.until(
        "four are warm again, under numbers that there were before",
        &format!(
            "{WARM} [ $(warm name | wc -l) = 4 ] && \
             [ $(warm name | sed 's/.*-//' | sort -n | tail -n 1) -le {highest} ]"
        ),
        SOON,
    )?;

    let warm = lab.root(&format!("{WARM} warm ifindex"))?;
    let tap =
        "/sys/class/net/$(su owner -c 'banger get vm idle -o json' | jq -r .status.handles.tap)";
    lab.owner("banger vm start idle --wait=false")?;
    lab.until(
        "a warm tap has become a VM's",
        &format!(
            "index=$(cat {tap}/ifindex 2>/dev/null) && echo '{}' | grep -qx $index",
            warm.trim_end()
        ),
        SOON,
    )?;
    let index = lab.root(&format!("cat {tap}/ifindex"))?;
    lab.owner("banger vm stop idle")?;
    lab.until(
        "the tap that the VM had is a warm one again",
        &format!("{WARM} warm ifindex | grep -qx {}", index.trim()),
        SOON,
    )
}

/// What root runs is root's alone to write. Of a copy that isn't what was
/// installed the helper says so as it starts, and the doctor when asked; and of
/// the right one they don't.
const COPIES: &str = "\
    says() { systemctl restart banger-helper && journalctl --sync && \
      journalctl _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID banger-helper) -o cat \
      | grep -q 'is not the jailer that was installed'; }; \
    ! find /usr/lib/banger ! -type l \\( ! -user root -o -perm /022 \\) | grep . || exit 1; \
    cp -p /usr/lib/banger/jailer /run/jailer && echo >> /usr/lib/banger/jailer || exit 1; \
    says; told=$?; banger doctor -o json > /run/doctor.json; status=$?; \
    cp -p /run/jailer /usr/lib/banger/jailer && rm /run/jailer && \
    [ $told = 0 ] && [ $status = 1 ] && \
    jq -e '.checks[] | select(.name == \"jailer\") | .verdict == \"fail\" and \
      (.message | test(\"isn.t what was installed\"))' /run/doctor.json >/dev/null && \
    ! says && systemctl is-active --quiet banger-helper";

/// The first server of a host without systemd-resolved may be the bridge's, as
/// docs/dns.md has it.
fn without_resolved(lab: &Lab) -> Result<()> {
    lab.root(dns::SERVED)?;
    let worker = lab.field("worker", ".status.runtime.guestIp")?;
    lab.root(&format!(
        "systemctl mask --quiet --now systemd-resolved && rm /etc/resolv.conf && \
         printf 'nameserver {}\\nnameserver 198.51.100.2\\n' > /etc/resolv.conf",
        dns::SERVER
    ))?;
    let found = lab.owner(&format!(
        "getent ahostsv4 worker.vm | grep -q {worker} && {}",
        dns::FINDS
    ));
    lab.root(&format!(
        "systemctl unmask --quiet systemd-resolved && systemctl start systemd-resolved && {}",
        dns::STUB
    ))?;
    found.context("broken: names of a host without systemd-resolved")?;
    lab.root(dns::SERVED_NO_MORE)?;
    lab.until("systemd-resolved asks at the bridge", dns::ROUTED, SOON)
}
