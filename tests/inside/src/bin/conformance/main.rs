//! `conformance`: the cases that the simulated host is held to, tried on the
//! real one, through the installed helper; and some of them and the DNS server once
//! more for each of their requests to the helper, which is cut off there. The daemon
//! must be stopped, so that nobody else acts; an image must have been imported.
//!
//! ```text
//! cases -> what is severed: requests, cut off one by one -> was every operation among them?
//! ```

mod names;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use banger::act::{RealHost, RealHostOptions};
use banger_core::intent::{ImageDigest, VmIntent};
use banger_core::plan::HostStep;
use banger_core::seam::Host as _;
use banger_inside::severed::{Again, Line, Tally, relay};
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

/// What is cut off at all of its requests. The first is the cheapest to try: of
/// what comes later only those are cut off that are new.
const SEVERED: [Case; 4] = [
    Case(Rule::TeardownLeavesNothing, Part::Vm),
    Case(Rule::TeardownLeavesNothing, Part::Vmm),
    Case(Rule::NetworkMayBeRepeated, Part::Filter),
    Case(Rule::NetworkMayBeRepeated, Part::Pool),
];

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let path = &arguments.install;
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("can't read {}: is banger installed?", path.display()))?;
    let installed: Install = toml::from_str(&text)?;
    let image = ImageDigest(arguments.image);
    let vms = [vm(1, &installed, &image)?, vm(2, &installed, &image)?];
    let options = RealHostOptions::installed(installed.clone(), arguments.home);
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
    let mut report = Report::default();
    for case in Case::ALL {
        report.add(&case.to_string(), case.run(&host, &bench).await);
    }
    sever(&options, &installed, &bench, &mut report).await;
    println!("{} passed, {} failed", report.passed, report.failed);
    Ok(match report.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What held, and what didn't.
#[derive(Debug, Default)]
struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    fn add(&mut self, what: &str, held: Result<(), String>) {
        match held {
            Ok(()) => {
                self.passed += 1;
                println!("PASS {what}");
            }
            Err(differs) => {
                self.failed += 1;
                println!("FAIL {what}: {differs}");
            }
        }
    }

    fn add_severed(&mut self, what: &str, held: Result<usize, String>) {
        match held {
            Ok(requests) => self.add(&format!("{what}, cut off at {requests} requests"), Ok(())),
            Err(differs) => self.add(&format!("{what}, cut off"), Err(differs)),
        }
    }
}

/// Every operation of the helper is cut off, for whatever asks for it.
async fn sever(options: &RealHostOptions, installed: &Install, bench: &Bench, report: &mut Report) {
    let mut tally = Tally::default();
    let socket = options.home.join(".relay");
    let listen = |line: &Line| {
        let _ = std::fs::remove_file(&socket);
        relay(&socket, &options.helper_socket, line.clone())
            .map_err(|error| format!("no relay: {error}"))
    };
    for case in SEVERED {
        let held = tally.sever(async |line: &Line| {
            listen(line)?;
            let mut options = options.clone();
            options.helper_socket.clone_from(&socket);
            let host = Again {
                host: RealHost::new(options),
                line: line.clone(),
            };
            case.run(&host, bench).await
        });
        report.add_severed(&case.to_string(), held.await);
    }
    let [vm, _] = &bench.vms;
    let held = tally.sever(async |line: &Line| {
        listen(line)?;
        names::come_and_go(installed, vm, &socket, line).await
    });
    report.add_severed("names of VMs", held.await);
    let _ = std::fs::remove_file(&socket);
    let missing = match tally.missing() {
        none if none.is_empty() => Ok(()),
        some => Err(format!("not {}", some.join(", "))),
    };
    report.add("every operation was cut off", missing);
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
