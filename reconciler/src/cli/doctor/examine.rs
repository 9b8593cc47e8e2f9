//! All checks, in the order in which people should mend them: the host, the
//! installation, the daemon, what it holds.

use super::kvm::Prove;
use super::{
    Check, clock, daemon, device_mapper, devices, disk_pressure, firewall, images,
    installed_programs, ipv6, isolation, kvm, leftovers, limits, modules, names, programs,
    resolved, services, sockets, state_dir, systemd, work_seeds,
};
use crate::cli::context::Context;
use crate::cli::places::installed;

/// What an installation needs of the host. `banger system install` refuses a
/// host where one of these fails.
pub(in crate::cli) fn requirements(prove: Prove) -> Vec<Check> {
    let mut checks = systemd::checks();
    checks.push(kvm::check(prove));
    checks.push(device_mapper::check());
    checks.push(devices::loop_devices());
    checks.push(devices::tun());
    checks.push(modules::check());
    checks.extend(programs::checks());
    checks
}

/// Everything.
pub(in crate::cli) fn examine(context: &Context) -> Vec<Check> {
    let installed = installed();
    let install = installed.as_ref();
    let mut checks = requirements(Prove::ByRunning);
    checks.push(resolved::check(install));
    checks.push(firewall::check(context, install));
    checks.push(ipv6::check(install));
    checks.extend(state_dir::checks(install));
    checks.push(work_seeds::check());
    checks.push(clock::check());
    checks.extend(isolation::checks());
    checks.push(limits::check());
    checks.extend(installed_programs::checks(install));
    checks.extend(services::checks(install.is_some()));
    checks.push(sockets::check(install.is_some()));
    let (daemon, answers) = daemon::checks(context, install.is_some());
    checks.extend(daemon);
    checks.push(names::check(install));
    checks.push(images::check(context, answers));
    checks.push(disk_pressure::check(context, answers));
    checks.extend(leftovers::checks(context, install, answers));
    checks
}
