//! Forwarding, masquerade and filters: nftables tables `inet banger`
//! ([`routed`]) and `bridge banger` ([`seats`]), all of them ours.
//!
//! - guests in the set may leave through anything but the bridge, behind the
//!   host's address; answers come back; everything else to or from the bridge
//!   is dropped;
//! - a guest with an egress policy begins nothing but with the networks in it:
//!   beyond the host, among guests, and with the host's DNS;
//! - guests reach the host's own DNS and its ping, no other service;
//! - guests reach one another, or not;
//! - a guest speaks with its own MAC and addresses only, so that one outside the
//!   set can't borrow the address of one inside.
//!
//! All of it holds for IPv6 as for IPv4; where guests have no IPv6 none of theirs
//! passes.
//!
//! Guarantees: both tables change in one transaction; they are read back
//! afterwards; what [`read`] answers stands in both of them, each rule and each
//! element as it is written ([`reference`]). What was read is kept for as long as
//! nobody changes anything in the kernel's nftables ([`generation`]): the seats are
//! thousands of elements, to be listed and compared.

mod chain;
mod elements;
mod family;
mod generation;
mod legacy;
mod listing;
mod obstacles;
mod reference;
mod routed;
mod seats;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use banger_protocol::{Handle, Install, NetworkPolicy, Obstacle};

use self::generation::Generation;
pub use self::legacy::tables as legacy_tables;
use self::listing::Listing;
pub use self::reference::References;
use self::seats::{Answers, Found};
use crate::program::Program::Nft;
use crate::{Done, Failure, Host, Outcome, ipv6};

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Makes the tables allow exactly this.
pub async fn ensure(host: &Host, policy: &NetworkPolicy) -> Done {
    let confined = policy.egress.iter().map(|(slot, _)| slot);
    for slot in policy.guests.iter().copied().chain(confined) {
        host.vmm_uid(slot)?;
    }
    if !policy.ipv6 && policy.egress.has_ipv6() {
        let message = "an IPv6 network in the policy of a guest without IPv6";
        return Err(Failure::refused("egress", message));
    }
    if policy.ipv6 && !ipv6::on()? {
        return Err(Failure::refused("IPv6", "the host has none"));
    }
    let _turn = host.nat.lock().await;
    let install = &host.install;
    let now = Seen::now(host).await?;
    let mut changed = false;
    if now.tables.policy().as_ref() != Some(policy) {
        replace(install, policy, &now.tables.bridge).await?;
        let then = Seen::now(host).await?;
        if then.tables.policy().as_ref() != Some(policy) {
            return Err(Failure::later(
                "read back",
                "nft took the rules, but the tables say something else: \
                 another program changes them, or lists them in a way that is not known",
            ));
        }
        changed = true;
    }
    if !policy.guests.is_empty() {
        changed |= forward()?;
        changed |= policy.ipv6 && ipv6::forward()?;
    }
    Ok(Outcome::new(changed, Handle::None))
}

/// One transaction. Where a part of a table can't be replaced it is written
/// whole; a kernel that can't track connections across a bridge refuses the
/// rule that asks for it, in words that differ.
async fn replace(install: &Install, policy: &NetworkPolicy, found: &Found) -> Result<(), Failure> {
    let mut tries = Vec::new();
    for from in [found, &Found::Foreign] {
        tries.push((from, Answers::Tracked));
        if !policy.egress.is_empty() && !policy.isolated {
            tries.push((from, Answers::Untracked));
        }
    }
    let mut refused = None;
    for (from, answers) in tries {
        let mut text = String::new();
        routed::write(install, policy, &mut text);
        seats::write(install, policy, from, answers, &mut text);
        match Nft.run(&["-f", "-"], &text).await {
            Ok(_) => return Ok(()),
            Err(e) => refused = Some(e),
        }
    }
    Err(refused.unwrap_or_else(|| Failure::later("nft", "nothing was tried")))
}

/// What is in the tables, and which rules of others are in the way.
#[derive(Debug)]
pub struct Reading {
    /// What guests may reach; `None` where a table is missing or says something else.
    pub policy: Option<NetworkPolicy>,
    /// Rules of others that keep guests' packets from where they are to go.
    pub obstacles: Vec<Obstacle>,
}

/// Reads it. Takes no lock that a change waits for: each listing is of one moment,
/// and two that don't fit together read as no policy.
pub async fn read(host: &Host) -> Result<Reading, Failure> {
    let seen = Seen::now(host).await?;
    let policy = seen.tables.policy();
    let mut forwards = true;
    if let Some(policy) = policy.as_ref().filter(|it| !it.guests.is_empty()) {
        forwards = forwarding()? && (!policy.ipv6 || ipv6::forwarding()?);
    }
    Ok(Reading {
        // Without forwarding the rules are of no use: to be repaired likewise.
        policy: policy.filter(|_| forwards),
        obstacles: seen.obstacles.clone(),
    })
}

/// What was read last, and of which generation it is.
#[derive(Debug, Default)]
pub struct Last(Mutex<Option<(Generation, Arc<Seen>)>>);

/// What the kernel's nftables are at one moment.
#[derive(Debug)]
struct Seen {
    tables: Tables,
    obstacles: Vec<Obstacle>,
}

impl Seen {
    /// From the kernel, or from the last time where nothing has changed since.
    async fn now(host: &Host) -> Result<Arc<Self>, Failure> {
        let before = Generation::now()?;
        if let Some((generation, seen)) = &*host.nft.lock()
            && *generation == before
        {
            return Ok(seen.clone());
        }
        let ruleset = Listing::ruleset().await?;
        let seen = Arc::new(Self {
            tables: Tables::read(host, &ruleset).await?,
            obstacles: obstacles::find(&ruleset, &host.install),
        });
        // Whoever changed something meanwhile, be it a reference of ours: what was
        // listed may be of either generation.
        if Generation::now()? == before {
            *host.nft.lock() = Some((before, seen.clone()));
        }
        Ok(seen)
    }
}

impl Last {
    fn lock(&self) -> MutexGuard<'_, Option<(Generation, Arc<Seen>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Tables {
    routed: Option<NetworkPolicy>,
    bridge: Found,
}

impl Tables {
    async fn read(host: &Host, ruleset: &Listing) -> Result<Self, Failure> {
        let bridge = seats::read(host, ruleset).await?;
        let mut routed = None;
        if ruleset.has_table(routed::FAMILY) {
            let table = Listing::table(routed::FAMILY).await?;
            routed = routed::read(&host.install, &table);
            if let Some(policy) = &routed {
                let part = routed::part(&host.install, policy);
                if !host.references.stands(&part, &table).await? {
                    routed = None;
                }
            }
        }
        Ok(Self { routed, bridge })
    }

    /// The policy that both tables have.
    fn policy(&self) -> Option<NetworkPolicy> {
        let routed = self.routed.as_ref()?;
        let same = Found::Whole {
            egress: routed.egress.clone(),
            isolated: routed.isolated,
            ipv6: routed.ipv6,
        };
        (self.bridge == same).then(|| routed.clone())
    }
}

fn forwarding() -> Result<bool, Failure> {
    let on = std::fs::read_to_string(FORWARD).map_err(|e| Failure::os("read", FORWARD, e))?;
    Ok(on.trim() == "1")
}

/// Turns forwarding on; never off, since others on the host may rely on it.
fn forward() -> Result<bool, Failure> {
    if forwarding()? {
        return Ok(false);
    }
    std::fs::write(FORWARD, "1").map_err(|e| Failure::os("write", FORWARD, e))?;
    Ok(true)
}
