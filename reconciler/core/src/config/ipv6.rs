//! The guests' IPv6, as `config.toml` has it.

use std::str::FromStr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

/// `off`, or a prefix, which [`super::parse`] checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Ipv6 {
    /// Guests have none.
    Off,
    /// They have addresses of this one.
    Prefix(Ipv6Net),
}

/// Neither.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither `off` nor an IPv6 network such as `fd12:3456:789a:1::/64`")]
pub struct NotIpv6(String);

impl FromStr for Ipv6 {
    type Err = NotIpv6;

    fn from_str(text: &str) -> Result<Self, NotIpv6> {
        match text {
            "off" => Ok(Self::Off),
            _ => text
                .parse()
                .map(Self::Prefix)
                .map_err(|_| NotIpv6(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Ipv6 {
    type Error = NotIpv6;

    fn try_from(text: String) -> Result<Self, NotIpv6> {
        text.parse()
    }
}

impl From<Ipv6> for String {
    fn from(ipv6: Ipv6) -> Self {
        match ipv6 {
            Ipv6::Off => "off".to_owned(),
            Ipv6::Prefix(prefix) => prefix.to_string(),
        }
    }
}
