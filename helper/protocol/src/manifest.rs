//! `manifest.toml`, beside the programs: what `banger system install` put in
//! place. Root owns it; the helper and `banger doctor` read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Its name.
pub const FILE: &str = "manifest.toml";

/// The manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// By name: `firecracker`, `jailer`, `banger-agent` and the rest of banger's.
    pub programs: BTreeMap<String, Installed>,
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Installed {
    /// SHA-256 of its bytes: 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// What it says of itself.
    pub version: Option<String>,
}
