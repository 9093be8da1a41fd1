//! What a URL names: one server, a cluster, or a master that sentinels know.

use ::redis::io::tcp::TcpSettings;
use ::redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use std::time::Duration;

use super::slots::NodeAddress;
use crate::error::InvalidUrl;

/// How long the kernel waits until sent data is acknowledged.
pub(super) const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);
/// Where a sentinel listens unless the URL says otherwise.
const SENTINEL_PORT: u16 = 26_379;

/// What a URL names.
#[derive(Debug, Clone)]
pub(super) enum Deployment {
    /// `redis://host:6379`: one server.
    Single(ConnectionInfo),
    /// `redis-cluster://host:6379,host:6379`: the nodes of a cluster that are asked for the others.
    Cluster(Vec<ConnectionInfo>),
    /// `redis-sentinel://host:26379,host:26379/mymaster`: the master that these sentinels know by this name.
    Sentinel(SentinelMaster),
}

/// A master that sentinels know.
#[derive(Debug, Clone)]
pub(super) struct SentinelMaster {
    pub(super) sentinels: Vec<ConnectionInfo>,
    pub(super) name: String,
    /// How to connect to the master, wherever it is.
    pub(super) master: ConnectionInfo,
}

impl Deployment {
    /// Reads a URL. User and password are those of the servers; sentinels have their own, as options.
    pub(super) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(InvalidUrl);
        };
        let (kind, scheme) = match scheme {
            "redis-cluster" => ("cluster", "redis"),
            "rediss-cluster" => ("cluster", "rediss"),
            "redis-sentinel" => ("sentinel", "redis"),
            "rediss-sentinel" => ("sentinel", "rediss"),
            _ => return Ok(Self::Single(connection_info(url)?)),
        };
        let parts = Parts::of(scheme, rest);
        if kind == "cluster" {
            parts.cluster()
        } else {
            parts.sentinel()
        }
    }
}

/// The parts of a URL that names several hosts.
struct Parts<'u> {
    scheme: &'u str,
    user_info: Option<&'u str>,
    hosts: Vec<&'u str>,
    path: &'u str,
    options: Vec<(&'u str, &'u str)>,
    /// `#insecure`, if the URL ends so.
    fragment: String,
}

impl<'u> Parts<'u> {
    fn of(scheme: &'u str, rest: &'u str) -> Self {
        let (rest, fragment) = match rest.split_once('#') {
            Some((rest, fragment)) => (rest, format!("#{fragment}")),
            None => (rest, String::new()),
        };
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, hosts) = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => (Some(user_info), hosts),
            None => (None, authority),
        };
        let options = options.split('&').filter(|option| !option.is_empty());
        Self {
            scheme,
            user_info,
            hosts: hosts.split(',').map(str::trim).collect(),
            path: path.trim_end_matches('/'),
            options: options
                .map(|option| option.split_once('=').unwrap_or((option, "")))
                .collect(),
            fragment,
        }
    }

    fn cluster(self) -> Result<Deployment, InvalidUrl> {
        self.check_options(&["protocol"])?;
        if !matches!(self.path, "" | "0") {
            return Err(InvalidUrl);
        }
        let nodes = self.hosts.iter().map(|host| self.node(host, self.user_info, "0"));
        Ok(Deployment::Cluster(nodes.collect::<Result<_, _>>()?))
    }

    fn sentinel(self) -> Result<Deployment, InvalidUrl> {
        self.check_options(&["protocol", "db", "sentinel_username", "sentinel_password"])?;
        let (name, db) = self
            .path
            .split_once('/')
            .unwrap_or((self.path, self.option("db").unwrap_or("0")));
        if name.is_empty() {
            return Err(InvalidUrl);
        }
        let user_info = self.option("sentinel_password").map(|password| {
            let user = self.option("sentinel_username").unwrap_or_default();
            format!("{user}:{password}")
        });
        let sentinels = self.hosts.iter().map(|host| {
            let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
            let host = if has_port {
                (*host).to_owned()
            } else {
                format!("{host}:{SENTINEL_PORT}")
            };
            self.node(&host, user_info.as_deref(), "0")
        });
        Ok(Deployment::Sentinel(SentinelMaster {
            sentinels: sentinels.collect::<Result<_, _>>()?,
            name: name.to_owned(),
            // The host is replaced by the one that the sentinels name.
            master: self.node("master", self.user_info, db)?,
        }))
    }

    /// How to connect to one of the hosts.
    fn node(&self, host: &str, user_info: Option<&str>, db: &str) -> Result<ConnectionInfo, InvalidUrl> {
        let user_info = user_info.map(|user_info| format!("{user_info}@")).unwrap_or_default();
        let protocol = self
            .option("protocol")
            .map(|protocol| format!("?protocol={protocol}"))
            .unwrap_or_default();
        let (scheme, fragment) = (self.scheme, &self.fragment);
        connection_info(&format!("{scheme}://{user_info}{host}/{db}{protocol}{fragment}"))
    }

    fn option(&self, name: &str) -> Option<&'u str> {
        self.options
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }

    /// A misspelt option must not pass unnoticed.
    fn check_options(&self, known: &[&str]) -> Result<(), InvalidUrl> {
        let are_known = self.options.iter().all(|(name, _)| known.contains(name));
        are_known.then_some(()).ok_or(InvalidUrl)
    }
}

fn connection_info(url: &str) -> Result<ConnectionInfo, InvalidUrl> {
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_user_timeout(TCP_USER_TIMEOUT);
    let info = url.into_connection_info().map_err(|_| InvalidUrl)?;
    Ok(info.set_tcp_settings(tcp))
}

/// The same way to connect, to another node.
pub(super) fn at(node: &NodeAddress, like: &ConnectionInfo) -> ConnectionInfo {
    let (host, port) = (node.host.clone(), node.port);
    let addr = match like.addr() {
        ConnectionAddr::TcpTls {
            insecure, tls_params, ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    like.clone().set_addr(addr)
}

/// The node that is connected to; `None` for a Unix socket.
pub(super) fn address_of(info: &ConnectionInfo) -> Option<NodeAddress> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Some(NodeAddress {
            host: host.clone(),
            port: *port,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(infos: &[ConnectionInfo]) -> Vec<String> {
        infos.iter().map(|info| info.addr().to_string()).collect()
    }

    #[test]
    fn a_cluster_is_named_by_some_of_its_nodes() {
        let Ok(Deployment::Cluster(nodes)) = Deployment::parse("redis-cluster://ann:s%40cret@a:7000,b,[::1]:7002")
        else {
            panic!("a cluster");
        };
        assert_eq!(addresses(&nodes), ["a:7000", "b:6379", "::1:7002"]);
        for node in &nodes {
            assert_eq!(node.redis_settings().username(), Some("ann"));
            assert_eq!(node.redis_settings().password(), Some("s@cret"));
        }
        let Ok(Deployment::Cluster(nodes)) = Deployment::parse("rediss-cluster://a:1,b:2/") else {
            panic!("a cluster");
        };
        assert!(
            nodes
                .iter()
                .all(|node| matches!(node.addr(), ConnectionAddr::TcpTls { .. }))
        );
    }

    #[test]
    fn a_master_is_named_by_its_sentinels() {
        let url = "redis-sentinel://:inner@a:1,b,c:3/mymaster?db=2&sentinel_password=outer";
        let Ok(Deployment::Sentinel(named)) = Deployment::parse(url) else {
            panic!("sentinels");
        };
        assert_eq!(addresses(&named.sentinels), ["a:1", "b:26379", "c:3"]);
        assert_eq!(named.name, "mymaster");
        assert_eq!(named.master.redis_settings().db(), 2);
        assert_eq!(named.master.redis_settings().password(), Some("inner"));
        assert_eq!(named.sentinels[0].redis_settings().password(), Some("outer"));
        let Ok(Deployment::Sentinel(named)) = Deployment::parse("redis-sentinel://a/mymaster/3") else {
            panic!("sentinels");
        };
        assert_eq!(named.master.redis_settings().db(), 3);
        assert_eq!(named.sentinels[0].redis_settings().password(), None);
    }

    #[test]
    fn one_server_is_named_as_ever() {
        for url in ["redis://h", "rediss://u:p@h:1/2", "redis+unix:///run/redis.sock"] {
            assert!(matches!(Deployment::parse(url), Ok(Deployment::Single(_))), "{url}");
        }
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for url in [
            "http://a",
            "a:6379",
            "redis://a:6379,b:6379",
            "redis-cluster://",
            "redis-cluster://a,,b",
            "redis-cluster://a:x",
            "redis-cluster://a/1",
            "redis-cluster://a?db=1",
            "redis-sentinel://a",
            "redis-sentinel://a/",
            "redis-sentinel://a/mymaster?sentinelpassword=x",
            "redis-sentinel://a/mymaster?db=x",
        ] {
            assert!(Deployment::parse(url).is_err(), "{url}");
        }
    }
}
