//! systemd-resolved over D-Bus (org.freedesktop.resolve1(5)): the settings of
//! one interface. It isn't started by being asked: a host that runs another
//! resolver is meant to.

use std::net::Ipv4Addr;
use std::time::Duration;

use zbus::fdo::DBusProxy;
use zbus::names::BusName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath};

use crate::Failure;

const NAME: &str = "org.freedesktop.resolve1";
/// How long a call may take.
const CALL: Duration = Duration::from_secs(10);

#[zbus::proxy(
    interface = "org.freedesktop.resolve1.Manager",
    default_service = "org.freedesktop.resolve1",
    default_path = "/org/freedesktop/resolve1"
)]
trait Manager {
    fn get_link(&self, ifindex: i32) -> zbus::Result<OwnedObjectPath>;
    #[zbus(name = "SetLinkDNS")]
    fn set_link_dns(&self, ifindex: i32, servers: &[(i32, Vec<u8>)]) -> zbus::Result<()>;
    fn set_link_domains(&self, ifindex: i32, domains: &[(String, bool)]) -> zbus::Result<()>;
    fn set_link_default_route(&self, ifindex: i32, enable: bool) -> zbus::Result<()>;
    #[zbus(name = "SetLinkDNSSEC")]
    fn set_link_dnssec(&self, ifindex: i32, mode: &str) -> zbus::Result<()>;
    #[zbus(name = "SetLinkDNSOverTLS")]
    fn set_link_dns_over_tls(&self, ifindex: i32, mode: &str) -> zbus::Result<()>;
    fn revert_link(&self, ifindex: i32) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "org.freedesktop.resolve1.Link",
    default_service = "org.freedesktop.resolve1"
)]
trait Link {
    #[zbus(property, name = "DNS")]
    fn dns(&self) -> zbus::Result<Vec<(i32, Vec<u8>)>>;
    #[zbus(property)]
    fn domains(&self) -> zbus::Result<Vec<(String, bool)>>;
    #[zbus(property)]
    fn default_route(&self) -> zbus::Result<bool>;
    #[zbus(property, name = "DNSSEC")]
    fn dnssec(&self) -> zbus::Result<String>;
    #[zbus(property, name = "DNSOverTLS")]
    fn dns_over_tls(&self) -> zbus::Result<String>;
}

/// What systemd-resolved goes by on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// Address family (socket(2)) and address, in network order.
    servers: Vec<(i32, Vec<u8>)>,
    /// Domains, and whether they only route.
    domains: Vec<(String, bool)>,
    default_route: bool,
    dnssec: String,
    dns_over_tls: String,
}

impl LinkSettings {
    /// One server for one domain and for nothing else, asked in plain DNS: the
    /// domain is none of the public tree's, so that no signature leads to it.
    pub fn routing(server: Ipv4Addr, domain: &str) -> Self {
        Self {
            servers: vec![(nix::libc::AF_INET, server.octets().to_vec())],
            domains: vec![(domain.to_owned(), true)],
            default_route: false,
            dnssec: "no".to_owned(),
            dns_over_tls: "no".to_owned(),
        }
    }

    /// Whether nobody has set a server or a domain.
    pub const fn untouched(&self) -> bool {
        self.servers.is_empty() && self.domains.is_empty()
    }
}

/// systemd-resolved on the system bus.
#[derive(Debug)]
pub struct Resolved {
    connection: Connection,
    manager: ManagerProxy<'static>,
}

impl Resolved {
    /// Its proxy; `None` where it doesn't run.
    pub async fn connect() -> Result<Option<Self>, Failure> {
        let connection = within("D-Bus", "connect to the system bus", Connection::system()).await?;
        let bus = within("D-Bus", "the bus", DBusProxy::new(&connection)).await?;
        let name = BusName::from_static_str(NAME).map_err(|e| failure("D-Bus", NAME, e))?;
        let runs = async { Ok(bus.name_has_owner(name).await?) };
        if !within("NameHasOwner", NAME, runs).await? {
            return Ok(None);
        }
        let manager = within("D-Bus", NAME, ManagerProxy::new(&connection)).await?;
        Ok(Some(Self {
            connection,
            manager,
        }))
    }

    /// The settings of an interface.
    pub async fn link(&self, index: u32) -> Result<LinkSettings, Failure> {
        let object = format!("interface {index}");
        let settings = async {
            let path = self.manager.get_link(index.cast_signed()).await?;
            let link = LinkProxy::builder(&self.connection)
                .path(path)
                .cache_properties(CacheProperties::No)
                .build()
                .await?;
            Ok(LinkSettings {
                servers: link.dns().await?,
                domains: link.domains().await?,
                default_route: link.default_route().await?,
                dnssec: link.dnssec().await?,
                dns_over_tls: link.dns_over_tls().await?,
            })
        };
        within("GetLink", &object, settings).await
    }

    /// Sets them. The server comes last: without one nothing is asked there.
    pub async fn set(&self, index: u32, to: &LinkSettings) -> Result<(), Failure> {
        let (manager, object) = (&self.manager, format!("interface {index}"));
        let index = index.cast_signed();
        let route = manager.set_link_default_route(index, to.default_route);
        within("SetLinkDefaultRoute", &object, route).await?;
        let domains = manager.set_link_domains(index, &to.domains);
        within("SetLinkDomains", &object, domains).await?;
        let dnssec = manager.set_link_dnssec(index, &to.dnssec);
        within("SetLinkDNSSEC", &object, dnssec).await?;
        let tls = manager.set_link_dns_over_tls(index, &to.dns_over_tls);
        within("SetLinkDNSOverTLS", &object, tls).await?;
        let servers = manager.set_link_dns(index, &to.servers);
        within("SetLinkDNS", &object, servers).await
    }

    /// Forgets them all.
    pub async fn revert(&self, index: u32) -> Result<(), Failure> {
        let object = format!("interface {index}");
        let call = self.manager.revert_link(index.cast_signed());
        within("RevertLink", &object, call).await
    }
}

async fn within<T>(
    step: &'static str,
    object: &str,
    call: impl Future<Output = zbus::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(CALL, call).await {
        Ok(done) => done.map_err(|e| failure(step, object, e)),
        Err(_) => Err(Failure::later(
            step,
            format!("{object}: no answer after {CALL:?}"),
        )),
    }
}

fn failure(step: &'static str, object: &str, error: impl std::fmt::Display) -> Failure {
    Failure::later(step, format!("{object}: {error}"))
}
