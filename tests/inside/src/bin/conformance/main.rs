//! `conformance`: the cases that the simulated host is held to, tried on the
//! real one, through the installed helper; and one of them once more for each of its
//! requests to the helper, which is cut off there. The daemon must be stopped, so
//! that nobody else acts; an image must have been imported.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, anyhow};
use banger::act::{RealHost, RealHostOptions};
use banger_core::intent::{ImageDigest, VmIntent};
use banger_core::plan::HostStep;
use banger_core::seam::Host as _;
use banger_inside::severed::{Again, Cut, Line, relay};
use banger_protocol::{Install, Sectors, Slot, install};
use banger_testkit::conformance::{Bench, Case, Part, Rule};
use banger_testkit::generate;
use clap::Parser;

/// Tries what every host must do on this one.
#[derive(Parser)]
struct Arguments {
    /// The digest of an imported image, in hexadecimal: the name of its directory.
    #[arg(long)]
    image: String,
    /// Bytes of a root disk; at least the image's.
    #[arg(long, default_value_t = 2 << 30)]
    size: u64,
    /// The owner's home.
    #[arg(long, env = "HOME")]
    home: PathBuf,
    /// What `banger system install` decided.
    #[arg(long, default_value = install::PATH)]
    install: PathBuf,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    tokio::runtime::Runtime::new()
        .context("the runtime can't start")?
        .block_on(run(arguments))
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let path = &arguments.install;
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("can't read {}: is banger installed?", path.display()))?;
    let installed: Install = toml::from_str(&text)?;
    let image = ImageDigest(arguments.image);
    let vms = [vm(1, &installed, &image)?, vm(2, &installed, &image)?];
    let options = RealHostOptions::installed(installed, arguments.home);
    let host = RealHost::new(options.clone());
    let ipv6 = host.observe(&vms).await.has_ipv6();
    host.host_step(&HostStep::EnsureBridge { ipv6 })
        .await
        .map_err(|error| anyhow!("{error}"))?;
    let bench = Bench {
        image,
        size: Sectors::from_bytes(arguments.size),
        vms,
    };
    let mut failed = 0;
    for case in Case::ALL {
        match case.run(&host, &bench).await {
            Ok(()) => println!("PASS {case}"),
            Err(differs) => {
                failed += 1;
                println!("FAIL {case}: {differs}");
            }
        }
    }
    match severed(&options, &bench).await {
        Ok(requests) => println!("PASS {WHOLE}, cut off at each of {requests} requests"),
        Err(differs) => {
            failed += 1;
            println!("FAIL {WHOLE}, {differs}");
        }
    }
    println!("{} passed, {failed} failed", Case::ALL.len() + 1 - failed);
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// All of a VM but its VMM comes and goes.
const WHOLE: Case = Case(Rule::TeardownLeavesNothing, Part::Vm);

/// Tries [`WHOLE`] while the helper is cut off at one request after the other;
/// answers how many there are.
async fn severed(options: &RealHostOptions, bench: &Bench) -> Result<usize, String> {
    let socket = options.home.join(".relay");
    let attempt = async |line: &Line| {
        let _ = std::fs::remove_file(&socket);
        relay(&socket, &options.helper_socket, line.clone())
            .map_err(|error| format!("no relay: {error}"))?;
        let mut options = options.clone();
        options.helper_socket.clone_from(&socket);
        let host = Again {
            host: RealHost::new(options),
            line: line.clone(),
        };
        WHOLE.run(&host, bench).await
    };
    let line = Line::default();
    attempt(&line).await?;
    let requests = line.heard();
    for (number, op) in requests.iter().enumerate() {
        // A look that was done, and wasn't, come to the same.
        let cuts = [Cut::Before, Cut::After];
        for cut in cuts.into_iter().take(if op == "inventory" { 1 } else { 2 }) {
            let held = attempt(&Line::cut_at(number, cut)).await;
            held.map_err(|differs| format!("cut {cut:?} {op} ({number}): {differs}"))?;
        }
    }
    let _ = std::fs::remove_file(&socket);
    Ok(requests.len())
}

/// A VM at the end of the host's slots, where no other is.
fn vm(n: u16, installed: &Install, image: &ImageDigest) -> Result<VmIntent> {
    let mut vm = generate::vm(n, generate::spec("conformance"));
    let slot = Slot::try_from(installed.slots - n)?;
    vm.allocation.slot = slot;
    vm.allocation.address = slot
        .address(installed.subnet)
        .context("the subnet has no such slot")?;
    vm.allocation.mac = slot
        .mac(installed.subnet)
        .context("the subnet has no such slot")?;
    vm.image = Some(image.clone());
    Ok(vm)
}
