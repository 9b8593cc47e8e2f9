//! Names, kinds and metadata, with the meaning that Kubernetes gives them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds::PREVENT_DELETION;

/// The two kinds.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Kind {
    /// A root file system and a kernel to boot it with.
    Image,
    /// A Firecracker microVM.
    VirtualMachine,
}

impl Kind {
    /// As in `kind:`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "Image",
            Self::VirtualMachine => "VirtualMachine",
        }
    }

    /// As in `vm/web`.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::VirtualMachine => "vm",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An object's name: an RFC 1123 label (1 to 63 of `a-z`, `0-9`, `-`, with a
/// letter or digit at both ends), because it becomes a host name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(
    with = "String",
    extend("minLength" = 1, "maxLength" = 63, "pattern" = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
)]
pub struct Name(String);

/// The text can't be a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a valid name: use 1 to 63 lower-case letters, digits and `-`, \
     beginning and ending with a letter or digit"
)]
pub struct BadName(pub String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let bytes = text.as_bytes();
        let ok = (1..=63).contains(&bytes.len())
            && bytes.iter().copied().all(inner)
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-');
        if ok {
            Ok(Self(text))
        } else {
            Err(BadName(text))
        }
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::try_from(text.to_owned())
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// What every object carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Unique within its kind on this host.
    pub name: Name,
    /// For selecting; changing them changes nothing that runs. Keys and values
    /// follow Kubernetes: at most 63 letters, digits, `-`, `_` and `.`, the key
    /// with a DNS name and `/` before it where wanted. At most 64 labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 64,
        "propertyNames" = {"pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"},
        "additionalProperties" = {"type": "string", "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"}
    ))]
    pub labels: BTreeMap<String, String>,
    /// For notes of any text, at most 256 KiB together, and for
    /// `banger.dev/prevent-deletion: "true"`. Keys are as those of labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "propertyNames" = {"pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"},
        "properties" = {"banger.dev/prevent-deletion": {"enum": ["true", "false"]}}
    ))]
    pub annotations: BTreeMap<String, String>,
}

/// Whether an object with these annotations must stay (`banger.dev/prevent-deletion`).
pub fn prevents_deletion(annotations: &BTreeMap<String, String>) -> bool {
    let value = annotations.get(PREVENT_DELETION);
    value.is_some_and(|value| value == "true")
}
