//! Every example that the README tells people to copy, copied and run.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;

pub(super) fn all(lab: &mut Lab) -> Result<()> {
    lab.owner("banger delete --yes $(banger get vms -o name)")?;
    // The person's own image lies where the example says: here the quick one.
    lab.owner(
        "mkdir -p ~/images && ln -sf /images/quick.ext4 ~/images/debian-12.ext4 && \
         rm -f ~/.config/banger/images/*.yaml ~/.config/banger/vms/*.yaml && \
         cp /payload/examples/debian-12.yaml ~/.config/banger/images/ && \
         cd /payload/examples && cp $(ls | grep -v debian-12) ~/.config/banger/vms/",
    )?;
    let names = lab.owner(
        "cd ~/.config/banger/vms && banger validate -f . >/dev/null && \
         sed -n 's/^  name: //p' *.yaml",
    )?;
    let names: Vec<&str> = names.lines().collect();
    ensure!(names.len() >= 4, "the examples hold {names:?}");
    for name in &names {
        lab.ready(name)?;
        let host_name = lab.guest(name, "hostname")?;
        ensure!(host_name.trim() == *name, "{name} calls itself {host_name}");
    }
    // web's published port leads into the guest.
    lab.guest(
        "web",
        "setsid perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 5, LocalPort => 80, \
         ReuseAddr => 1) or die; while ($c = $s->accept) { <$c>; \
         print $c \"HTTP/1.0 200 OK\\r\\n\\r\\nfrom the guest\\n\"; close $c }' >/dev/null 2>&1 </dev/null &",
    )?;
    lab.until(
        "the guest answers at the published port",
        "curl -s --max-time 5 http://127.0.0.1:8080/ | grep -q 'from the guest'",
        Duration::from_secs(30),
    )?;
    // worker's work disk and environment.
    let root = lab.guest(
        "worker",
        "findmnt -n -o SOURCE /root; . /etc/environment; echo $QUEUE_PORT",
    )?;
    ensure!(
        root.split_whitespace().collect::<Vec<_>>() == ["/dev/vdb", "5672"],
        "worker's /root and QUEUE_PORT: {root}"
    );
    let objects: Vec<String> = names.iter().map(|name| format!("vm/{name}")).collect();
    lab.owner(&format!("banger delete --yes {}", objects.join(" ")))?;
    Ok(())
}
