//! `banger gc`: removes what is banger's and what no intent knows, and images
//! that nothing needs.

use std::collections::BTreeSet;

use banger_protocol::VmUid;
use clap::Args;

use crate::cli::context::Context;
use crate::cli::escape::escape_line;
use crate::cli::output::{note, print};
use crate::cli::style::{BAD, DIM, GOOD, WARN};
use crate::cli::{Exit, Failure};

/// `banger gc`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Gc {
    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Remove this VM although it runs: no document and no database knows it
    #[arg(long, value_name = "UID")]
    orphan: Vec<VmUid>,
}

impl Gc {
    /// Exit code 6 where something could not be removed.
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let orphans: BTreeSet<VmUid> = self.orphan.into_iter().collect();
        let collected = context.daemon.collect(self.dry_run, orphans)?;
        let mut failed = 0;
        for removal in &collected.removed {
            let of = match removal.uid {
                Some(uid) => format!(" of {uid}"),
                None => String::new(),
            };
            let what = escape_line(&removal.what);
            match &removal.failed {
                None if collected.dry_run => print(format_args!("{DIM}would{DIM:#}  {what}{of}"))?,
                None => print(format_args!("{GOOD}done{GOOD:#}   {what}{of}"))?,
                Some(why) => {
                    failed += 1;
                    let why = escape_line(why);
                    print(format_args!("{BAD}failed{BAD:#} {what}{of}: {why}"))?;
                }
            }
        }
        for left in &collected.left {
            let (what, why) = (escape_line(&left.what), escape_line(&left.why));
            note(format_args!("{WARN}left{WARN:#}   {what}: {why}"));
            if let Some(remedy) = &left.remedy {
                note(format_args!("       `{}`", escape_line(remedy)));
            }
        }
        if collected.removed.is_empty() && collected.left.is_empty() {
            note("Nothing to remove.");
        }
        if failed == 0 {
            return Ok(Exit::Ok);
        }
        Err(Failure::new(
            Exit::Conflict,
            format!("{failed} of them could not be removed"),
        )
        .help("`journalctl -u bangerd -u banger-helper` says more; it can be run again"))
    }
}
