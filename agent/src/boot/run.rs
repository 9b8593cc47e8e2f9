//! The steps of a boot, in order.

use std::convert::Infallible;
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use banger_agent_protocol::{Boot, GuestConfig};

use super::device::Devices;
use super::{clock, disk, hand_over, modules, mounts, network};
use crate::fault::{During, Fault};
use crate::guest::{self, Root};
use crate::{host, log, machine};

/// Where the image's root is put together.
const NEWROOT: &str = "/newroot";
/// How long the host may take to say who this guest is. A daemon that is being
/// restarted or upgraded is back by then.
const CONFIG_DEADLINE: Duration = Duration::from_secs(60);
/// How long a failure is offered to the host.
const FAILURE_DEADLINE: Duration = Duration::from_secs(5);

/// Boots, or ends the machine.
pub(crate) fn run() -> ! {
    // A panic is a bug; it must not leave a guest that hangs.
    std::panic::set_hook(Box::new(|panic| {
        give_up(&Fault::new("booting", panic.to_string()))
    }));
    let Err(fault) = boot();
    give_up(&fault)
}

fn boot() -> Result<Infallible, Fault> {
    mounts::early()?;
    log::note(format_args!("{} starts", env!("CARGO_PKG_VERSION")));
    let devices = Devices::listen()?;
    modules::load(Path::new("/modules"))?;
    let config = host::ask_config(CONFIG_DEADLINE).during("asking the host who this guest is")?;
    log::note(format_args!("this is {}", config.hostname));
    clock::set(config.now_ns).during("setting the clock")?;
    nix::unistd::sethostname(&config.hostname).during("setting the host name")?;
    network::configure(&config)?;

    let newroot = Path::new(NEWROOT);
    let at = File::open(newroot).during("opening the mount point of the root disk")?;
    disk::mount_grown(&devices.wait("vda")?, at)?;
    let root = Root::open(newroot).during("opening the root file system")?;
    mounts::kernel_file_systems(&root)?;
    if config.work_disk {
        let home = root
            .directory("/root", 0o700)
            .during("opening /root of the image")?;
        disk::mount_grown(&devices.wait("vdb")?, home)?;
    }
    drop(devices);
    personalize(&root, newroot, &config)?;
    hand_over::run(&root, newroot)
}

fn personalize(root: &Root, at: &Path, config: &GuestConfig) -> Result<(), Fault> {
    guest::write_identity(root, config)?;
    guest::authorize(root, &config.authorized_keys).during("writing /root/.ssh/authorized_keys")?;
    guest::ensure_host_keys(root, at).during("making the SSH host key")
}

/// Says why, where somebody may see it, and ends the machine.
fn give_up(fault: &Fault) -> ! {
    let mut message = fault.source.to_string();
    let mut cause = fault.source.source();
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    log::error(format_args!("{fault} failed: {message}"));
    let failed = Boot::Failed {
        stage: fault.stage.clone(),
        message,
    };
    if let Err(error) = host::tell(&failed, FAILURE_DEADLINE) {
        log::error(format_args!("the host could not be told: {error}"));
    }
    machine::end()
}
