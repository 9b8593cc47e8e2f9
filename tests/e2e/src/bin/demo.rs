//! `make demo`: from nothing to microVMs made of YAML files, on a disposable
//! host, everything real. What a person would type is shown and then run.

use std::io::IsTerminal as _;

use anyhow::{Result, ensure};
use banger_e2e::{Lab, Stages, install_deps, payload};

fn main() -> Result<()> {
    let stages = Stages::default();
    install_deps(stages)?;
    let payload = payload::build(stages)?;
    let lab = Lab::up("demo", payload.path())?;

    say("The example specs become the owner's desired state.");
    // The examples name the image where a person would keep it.
    lab.owner("mkdir -p ~/images && ln -sf /images/debian-12.ext4 ~/images/debian-12.ext4")?;
    show(&lab, "ls ~/.config/banger/*/")?;
    show(
        &lab,
        "cp /payload/examples/debian-12.yaml ~/.config/banger/images/",
    )?;
    show(
        &lab,
        "cp /payload/examples/{pair,web,worker}.yaml ~/.config/banger/vms/",
    )?;
    for name in ["web", "worker", "left", "right"] {
        stages.run(&format!("{name} becomes Ready"), || lab.ready(name))?;
    }
    show(&lab, "banger get images")?;
    show(&lab, "banger get vms")?;

    say("A command in the guest, over SSH.");
    show(
        &lab,
        "banger vm ssh web -- 'hostname; uname -r; nproc; df -h / | tail -n 1'",
    )?;

    say("An edit, previewed before anything happens.");
    lab.owner("sed 's/vcpus: .*/vcpus: 4/' ~/.config/banger/vms/web.yaml > ~/web.yaml")?;
    ensure!(
        lab.ask("cmp -s ~/web.yaml ~/.config/banger/vms/web.yaml")?
            .status
            == 1,
        "the example has no vcpus to edit"
    );
    show(&lab, "banger diff -f ~/web.yaml")?;
    show(&lab, "banger apply -f ~/web.yaml --restart")?;
    show(&lab, "banger get vms -o wide")?;
    show(&lab, "banger vm ssh web -- nproc")?;

    say("And gone again; its disk is in the trash.");
    show(&lab, "banger delete vm web --yes")?;
    show(&lab, "banger get vms")?;
    Ok(())
}

fn say(text: &str) {
    println!("\n# {text}");
}

/// Shows a line as a person would type it, runs it as the owner and shows what it says.
fn show(lab: &Lab, line: &str) -> Result<()> {
    println!("$ {line}");
    // The host's end of the connection is no terminal; ours may be one.
    let colour = if std::io::stdout().is_terminal() {
        "export CLICOLOR_FORCE=1; "
    } else {
        ""
    };
    let output = lab.ask(&format!("{colour}{line}"))?;
    print!("{}{}", output.stdout, output.stderr);
    // 1 is `diff`'s way of saying that there are differences.
    let differs = line.starts_with("banger diff") && output.status == 1;
    ensure!(
        output.status == 0 || differs,
        "`{line}` ended with status {}",
        output.status
    );
    Ok(())
}
