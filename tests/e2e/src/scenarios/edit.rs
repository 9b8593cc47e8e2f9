//! A change that needs a restart: shown, held, taken when asked.

use anyhow::{Result, ensure};

use crate::lab::Lab;

pub(super) fn vcpus(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    let pid = lab.pid("web")?;
    let edited = Lab::document("web", "vcpus: 2");
    lab.write("web-edited.yaml", &edited)?;

    let diff = lab.ask("banger diff -f ~/web-edited.yaml")?;
    ensure!(
        diff.status == 1,
        "diff's status is {}: {}",
        diff.status,
        diff.stderr
    );
    ensure!(
        diff.stdout.contains("vcpus") && diff.stdout.contains("restart"),
        "diff doesn't tell of the restart:\n{}",
        diff.stdout
    );
    ensure!(lab.pid("web")? == pid, "a preview changed something");

    lab.owner("banger apply -f ~/web-edited.yaml --timeout 120s")?;
    let condition = "[.status.conditions[] | select(.type == \"RestartRequired\") | .status][0]";
    let required = lab.field("web", condition)?;
    ensure!(required == "True", "RestartRequired is {required}");
    ensure!(
        lab.guest("web", "nproc")?.trim() == "1",
        "the guest changed before its restart"
    );
    ensure!(
        lab.ask("banger diff")?.status == 1,
        "diff forgets what is still to come"
    );

    lab.owner("banger apply -f ~/web-edited.yaml --restart --timeout 300s")?;
    let processors = lab.guest("web", "nproc")?;
    ensure!(
        processors.trim() == "2",
        "the guest has {processors} processors"
    );
    ensure!(lab.pid("web")? != pid, "it is still the same Firecracker");
    let required = lab.field("web", condition)?;
    ensure!(
        required != "True",
        "RestartRequired stands after the restart"
    );
    ensure!(
        lab.ask("banger diff")?.status == 0,
        "diff shows something after the restart"
    );
    Ok(())
}
