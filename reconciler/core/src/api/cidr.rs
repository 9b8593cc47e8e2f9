//! A network, as people write it: `10.0.0.0/8`, `2001:db8::/32`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A network. Host bits may be set in it; validation refuses those.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(
    with = "String",
    extend("pattern" = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)/[0-9]{1,3}$")
)]
pub struct Cidr(IpNet);

/// The text isn't a network.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a network{hint}")]
pub struct BadCidr {
    text: String,
    hint: String,
}

impl Cidr {
    /// The network.
    pub const fn get(self) -> IpNet {
        self.0
    }

    /// Whether no host bit is set.
    pub fn is_canonical(self) -> bool {
        self.0.trunc() == self.0
    }
}

impl From<IpNet> for Cidr {
    fn from(network: IpNet) -> Self {
        Self(network)
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        text.parse().map(Self).map_err(|_| {
            let hint = match text.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => format!(": one address is `{text}/32`"),
                Ok(IpAddr::V6(_)) => format!(": one address is `{text}/128`"),
                Err(_) => String::new(),
            };
            BadCidr {
                text: text.to_owned(),
                hint,
            }
        })
    }
}

impl TryFrom<String> for Cidr {
    type Error = BadCidr;

    fn try_from(text: String) -> Result<Self, BadCidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
