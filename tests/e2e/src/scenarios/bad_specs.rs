//! Files that can't be specs: refused by name, and nothing that runs is touched.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;

/// Files that are dropped beside a good one, and what is said of each.
const FILES: &[(&str, &str, &str)] = &[
    (
        "syntax.yaml",
        "printf 'kind: [VirtualMachine\\n' > syntax.yaml",
        "syntax.yaml:",
    ),
    ("empty.yaml", ": > empty.yaml", "no document"),
    ("fifo.yaml", "mkfifo fifo.yaml", "fifo.yaml"),
    ("loop.yaml", "ln -s loop.yaml loop.yaml", "loop.yaml"),
    ("folder.yaml", "mkdir folder.yaml", "folder.yaml"),
    ("large.yaml", "truncate -s 100M large.yaml", "large.yaml"),
    (
        "binary.yaml",
        "printf 'a: \\377\\376\\n' > binary.yaml",
        "UTF-8",
    ),
    (
        "nested.yaml",
        "head -c 20000 /dev/zero | tr '\\0' '[' > nested.yaml",
        "nested.yaml",
    ),
    (
        "orphan.yaml",
        "printf 'apiVersion: banger.dev/v1alpha1\\nkind: VirtualMachine\\nmetadata: {name: orphan}\\nspec: {image: nowhere}\\n' > orphan.yaml",
        "nowhere",
    ),
];

pub(super) fn harm_nothing(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    let pid = lab.pid("web")?;
    let result = drop_and_check(lab, pid);
    let names: Vec<&str> = FILES.iter().map(|(name, _, _)| *name).collect();
    lab.owner(&format!(
        "cd ~/.config/banger/vms && rm -rf {}",
        names.join(" ")
    ))?;
    result?;

    // A broken edit of the VM's own file keeps its last good intent.
    lab.write_vm("web.yaml", &Lab::document("web", "vcpus: many"))?;
    let accepted = "su owner -c 'banger get vm web -o json' | jq -e '.status.conditions[] | \
        select(.type == \"Accepted\" and .status == \"False\") | .message | test(\"web.yaml:[0-9]+:[0-9]+\")' >/dev/null";
    lab.until(
        "Accepted=False with its place",
        accepted,
        Duration::from_secs(30),
    )?;
    ensure!(lab.pid("web")? == pid, "a bad edit touched the VM");
    ensure!(
        lab.guest("web", "hostname")?.trim() == "web",
        "the guest is gone"
    );
    lab.write_vm("web.yaml", &Lab::document("web", ""))?;
    lab.ready("web")?;
    ensure!(lab.pid("web")? == pid, "mending the file touched the VM");
    Ok(())
}

fn drop_and_check(lab: &Lab, pid: u32) -> Result<()> {
    for (_, make, _) in FILES {
        lab.owner(&format!("cd ~/.config/banger/vms && {make}"))?;
    }
    let seen = lab.ask("banger diff")?;
    let said = format!("{}{}", seen.stdout, seen.stderr);
    for (name, _, expected) in FILES {
        ensure!(
            said.contains(expected),
            "nothing is said of {name}:\n{said}"
        );
    }
    ensure!(lab.pid("web")? == pid, "bad files touched the VM");
    let table = lab.owner("banger get vms")?;
    ensure!(
        table
            .lines()
            .any(|line| line.starts_with("web") && line.contains("Ready")),
        "the VM isn't Ready any more:\n{table}"
    );
    Ok(())
}
