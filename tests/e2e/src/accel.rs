//! Does this machine's KVM work, and can it nest?
//!
//! `/dev/kvm` proves nothing: there are machines where it opens and no ordinary
//! guest ever boots. So a kernel is booted under it, with a tiny initrd, within
//! five seconds; the initrd prints a marker if the virtual CPU offers
//! virtualisation in its turn. The answer is kept until the machine reboots.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{cache::Cache, process::boot_id, qemu::Accel};

const LIMIT: Duration = Duration::from_secs(5);
const MARKER: &str = "BANGER-E2E-PROBE";

/// The accelerator, and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The accelerator.
    pub accel: Accel,
    /// The reason, for people.
    pub reason: String,
    boot_id: String,
}

/// Chooses: `$BANGER_E2E_ACCEL` (`kvm` or `tcg`) decides where it is set, else
/// this boot's earlier answer, else the probe.
///
/// # Errors
/// The variable holds something else, or QEMU isn't there.
pub fn choose(cache: &Cache, kernel: &Path, initrd: &Path) -> Result<Choice> {
    let boot_id = boot_id().context("cannot read this machine's boot id")?;
    let said = env::var("BANGER_E2E_ACCEL").ok();
    let kept = cache.file("accel.json");
    choose_by(said.as_deref(), &kept, &boot_id, || probe(kernel, initrd))
}

/// By what the variable says, by the answer in `kept` if it is of this boot, or by
/// the probe, whose answer is then kept.
fn choose_by(
    said: Option<&str>,
    kept: &Path,
    boot_id: &str,
    probe: impl FnOnce() -> Result<Result<(), String>>,
) -> Result<Choice> {
    let chosen = |accel, reason: &str| Choice {
        accel,
        reason: reason.to_owned(),
        boot_id: boot_id.to_owned(),
    };
    match said {
        Some("kvm") => return Ok(chosen(Accel::Kvm, "BANGER_E2E_ACCEL says so")),
        Some("tcg") => return Ok(chosen(Accel::Tcg, "BANGER_E2E_ACCEL says so")),
        Some(other) => bail!("BANGER_E2E_ACCEL is {other:?}; say kvm or tcg"),
        None => {}
    }
    let earlier = fs::read(kept)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Choice>(&bytes).ok());
    if let Some(choice) = earlier.filter(|choice| choice.boot_id == boot_id) {
        return Ok(choice);
    }
    let choice = match probe()? {
        Ok(()) => chosen(Accel::Kvm, "a kernel booted under KVM, and can nest"),
        Err(reason) => chosen(Accel::Tcg, &reason),
    };
    let bytes = serde_json::to_vec_pretty(&choice)?;
    fs::write(kept, bytes).with_context(|| format!("cannot write {}", kept.display()))?;
    Ok(choice)
}

/// `Ok(Err(reason))` is a KVM that doesn't work.
fn probe(kernel: &Path, initrd: &Path) -> Result<Result<(), String>> {
    let rights = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    if let Err(error) = rustix::fs::access("/dev/kvm", rights) {
        return Ok(Err(format!("/dev/kvm can't be used: {error}")));
    }
    let start = Instant::now();
    let mut qemu = Command::new("qemu-system-x86_64")
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(Accel::Kvm.arguments())
        .args(["-m", "256", "-serial", "stdio"])
        .args(["-append", "console=ttyS0 quiet panic=-1 banger_e2e.probe"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start qemu-system-x86_64; `host deps` installs it")?;
    let console = qemu.stdout.take().context("QEMU has no standard output")?;
    let (found, answer) = channel();
    let reader = thread::spawn(move || {
        let lines = BufReader::new(console).lines().map_while(Result::ok);
        for line in lines {
            if line.contains(MARKER) {
                let _ = found.send(());
                return;
            }
        }
    });
    let result = match answer.recv_timeout(LIMIT.saturating_sub(start.elapsed())) {
        Ok(()) => Ok(()),
        Err(RecvTimeoutError::Timeout) => Err("KVM boots no kernel within 5 s".to_owned()),
        Err(RecvTimeoutError::Disconnected) => {
            Err("KVM boots no kernel that could nest".to_owned())
        }
    };
    qemu.kill().context("cannot kill the probe's QEMU")?;
    qemu.wait().context("cannot wait for the probe's QEMU")?;
    reader
        .join()
        .map_err(|_| anyhow::anyhow!("the probe's reader panicked"))?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    type Answer = Result<Result<(), String>>;

    fn never() -> Answer {
        bail!("probed")
    }

    fn broken() -> Answer {
        Ok(Err("KVM boots no kernel within 5 s".to_owned()))
    }

    #[test]
    fn the_variable_decides_and_nothing_is_probed_or_kept() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("accel.json");
        for (said, accel) in [("kvm", Accel::Kvm), ("tcg", Accel::Tcg)] {
            let choice = choose_by(Some(said), &kept, "this boot", never).unwrap();
            assert_eq!(choice.accel, accel);
        }
        for said in ["", "KVM", "hvf"] {
            let error = choose_by(Some(said), &kept, "this boot", never).unwrap_err();
            assert!(error.to_string().contains("say kvm or tcg"), "{error}");
        }
        assert!(!kept.exists());
    }

    #[test]
    fn the_probe_decides_once_a_boot() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("accel.json");
        let choose = |boot_id, probe: fn() -> Answer| choose_by(None, &kept, boot_id, probe);
        // A probe that can't be made is no answer, and none is kept.
        assert!(choose("first", never).is_err());
        let first = choose("first", broken).unwrap();
        assert_eq!(first.accel, Accel::Tcg);
        assert_eq!(first.reason, "KVM boots no kernel within 5 s");
        assert_eq!(choose("first", never).unwrap(), first);
        // Another boot may have another kernel, or another machine below it.
        let second = choose("second", || Ok(Ok(()))).unwrap();
        assert_eq!(second.accel, Accel::Kvm);
        assert_eq!(choose("second", never).unwrap(), second);
        // What nobody can read is asked again.
        fs::write(&kept, "{").unwrap();
        assert_eq!(choose("second", broken).unwrap().accel, Accel::Tcg);
    }
}
