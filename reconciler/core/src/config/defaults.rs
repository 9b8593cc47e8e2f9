//! Defaults for what a VM's document leaves out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Quantity;
use crate::api::virtual_machine::{RunPolicy, UpdatePolicy};

/// Defaults for what a VM's document leaves out. They are pinned when a VM is
/// first admitted; changing them later changes no VM that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VmDefaults {
    /// When it runs.
    pub run_policy: RunPolicy,
    /// Processors, 1 to 32.
    #[schemars(range(min = 1, max = 32))]
    pub vcpus: u8,
    /// Memory, whole MiB, 64Mi to 1Ti.
    pub memory: Quantity,
    /// Size of the root disk, whole MiB, 64Mi to 2Ti.
    pub root_disk: Quantity,
    /// Whether the guest may reach beyond the host.
    pub nat: bool,
    /// When changes that need a restart are taken.
    pub update_policy: UpdatePolicy,
    /// How long a guest gets to stop by itself, 0 to 3600 s.
    #[schemars(range(max = 3600))]
    pub termination_grace_period_seconds: u32,
}

impl Default for VmDefaults {
    fn default() -> Self {
        Self {
            run_policy: RunPolicy::Always,
            vcpus: 1,
            memory: Quantity::from_mib(512),
            root_disk: Quantity::from_mib(4096),
            nat: true,
            update_policy: UpdatePolicy::OnNextBoot,
            termination_grace_period_seconds: 30,
        }
    }
}
