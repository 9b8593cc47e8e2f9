//! The rules, and handing them to the kernel.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
    make_bitflags,
};

use super::Landlock;

/// The newest that these rules were tried with. What a later one adds is only
/// asked for once it was: a new right would be a new way to break.
const TRIED: ABI = ABI::V6;
/// Where the programs that the daemon runs come from, and what loads them:
/// mkfs.ext4 and ssh-keygen. Not the home and not the state directory.
const PROGRAMS: [&str; 5] = ["/usr", "/bin", "/sbin", "/lib", "/lib64"];
/// Standard input of programs, and where their output may go.
const NULL: &str = "/dev/null";

/// What may be written. Absolute paths of directories; one that isn't there
/// when the rules are enforced can't be written later either.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Files and directories below these are the daemon's.
    pub writable: Vec<PathBuf>,
    /// Sockets may be made and names removed below these.
    pub sockets: Vec<PathBuf>,
}

impl Rules {
    /// Confines this thread, and what it starts, for good. Where the kernel can't,
    /// or only in part, that is told and the daemon runs on: it is one wall of several.
    pub fn enforce(&self) -> Landlock {
        match self.restrict() {
            Ok(status) => told(status),
            Err(why) => Landlock::Refused { why },
        }
    }

    fn restrict(&self) -> Result<RestrictionStatus, String> {
        let said = |error: landlock::RulesetError| error.to_string();
        let mut ruleset = Ruleset::default()
            // Without it no file moves to another directory: rather no rules at all.
            .set_compatibility(CompatLevel::SoftRequirement)
            .handle_access(AccessFs::Refer)
            .map_err(said)?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(TRIED))
            .map_err(said)?
            .scope(Scope::from_all(TRIED))
            .map_err(said)?
            .create()
            .map_err(said)?;
        let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        let null = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});
        let sockets = make_bitflags!(AccessFs::{MakeSock | RemoveFile});
        let fixed = [("/", read), (NULL, null)].into_iter();
        let programs = PROGRAMS.map(|path| (path, read | AccessFs::Execute));
        let fixed = fixed
            .chain(programs)
            .map(|(path, access)| (Path::new(path), access));
        let own = self.writable.iter().map(|path| (path.as_path(), write()));
        let listen = self.sockets.iter().map(|path| (path.as_path(), sockets));
        for (path, access) in fixed.chain(own).chain(listen) {
            let Some(descriptor) = opened(path)? else {
                continue;
            };
            ruleset = ruleset
                .add_rule(PathBeneath::new(descriptor, access))
                .map_err(|error| format!("no rule for {}: {error}", path.display()))?;
        }
        ruleset.restrict_self().map_err(said)
    }
}

/// All that is done below a directory of one's own, but for what needs a
/// privilege (devices) or is never done (running programs, FIFOs, links).
fn write() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeSock
            | RemoveFile | RemoveDir | Refer
    })
}

/// `None` where there is no such thing on this host.
fn opened(path: &Path) -> Result<Option<PathFd>, String> {
    match path.try_exists() {
        Ok(false) => Ok(None),
        _ => PathFd::new(path)
            .map(Some)
            .map_err(|error| format!("no rule for {}: {error}", path.display())),
    }
}

fn told(status: RestrictionStatus) -> Landlock {
    let abi = match status.landlock {
        LandlockStatus::NotEnabled => return Landlock::NotEnabled {},
        LandlockStatus::NotImplemented => return Landlock::NotBuilt {},
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => kernel_abi.unwrap_or(effective_abi as i32).unsigned_abs(),
    };
    match status.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Full { abi },
        RulesetStatus::PartiallyEnforced => Landlock::Partial { abi },
        RulesetStatus::NotEnforced => Landlock::TooOld {},
    }
}
