//! Names of push services lead to public addresses, or nobody connects. Clients choose the endpoint, and a name under
//! somebody's control can lead into our own network.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use cura_domain::push_endpoint::PushHosts;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
type LookUp = dyn Fn(String) -> Found + Send + Sync;

/// Resolves names as the operating system does, and drops addresses that are not public, unless the operator names the
/// host. reqwest asks it for names alone; an address in an endpoint must be named by the operator, too.
#[derive(Clone)]
pub(super) struct PublicAddresses {
    named: Arc<PushHosts>,
    look_up: Arc<LookUp>,
}

/// A name leads to no address that may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the name leads to no public address")]
pub(super) struct NoPublicAddress;

impl PublicAddresses {
    /// With the resolver of the operating system. These hosts may be anywhere.
    pub(super) fn new(named: PushHosts) -> Self {
        Self::with(named, |name| {
            Box::pin(async move {
                // The port is that of the endpoint.
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.collect())
            })
        })
    }

    fn with(named: PushHosts, look_up: impl Fn(String) -> Found + Send + Sync + 'static) -> Self {
        Self {
            named: Arc::new(named),
            look_up: Arc::new(look_up),
        }
    }
}

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let is_named = self.named.names(&name);
        let found = (self.look_up)(name);
        Box::pin(async move {
            let mut addresses = found.await?;
            addresses.retain(|address| is_named || is_public(address.ip()));
            if addresses.is_empty() {
                return Err(NoPublicAddress.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Whether an error of the client comes from a name that leads to no public address.
pub(super) fn is_no_public_address(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<NoPublicAddress>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether an address can be a host of the internet (IANA's registries of special-purpose addresses, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        // Shared by the customers of a provider (RFC 6598).
        || (a == 100 && b & 0xc0 == 64)
        // Protocol assignments, relays of 6to4, benchmarks.
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && b & 0xfe == 18)
        // Multicast, reserved, broadcast.
        || a >= 224;
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let last_v4 = || {
        let [.., a, b, c, d] = address.octets();
        Ipv4Addr::new(a, b, c, d)
    };
    match parts {
        // Mapped from IPv4, and translated to it (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(last_v4()),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Teredo and other protocols (2001::/23), documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // What is given out (2000::/3); everything else is local, multicast or nobody's.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn only_hosts_of_the_internet_are_public() {
        for public in [
            "8.8.8.8",
            "100.63.255.255",
            "172.32.0.1",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for local in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(local.parse().unwrap()), "{local}");
        }
    }

    /// Resolves by this table.
    fn by_table(named: &str, table: &[(&str, &[&str])]) -> PublicAddresses {
        let address = |address: &&str| SocketAddr::new(address.parse().unwrap(), 0);
        let table: HashMap<String, Vec<SocketAddr>> = table
            .iter()
            .map(|(name, addresses)| ((*name).to_owned(), addresses.iter().map(address).collect()))
            .collect();
        PublicAddresses::with(PushHosts::parse(named).unwrap(), move |name| {
            let found = table.get(&name).cloned().ok_or(io::ErrorKind::NotFound.into());
            Box::pin(async move { found })
        })
    }

    async fn resolve(resolver: &PublicAddresses, name: &str) -> Option<Vec<String>> {
        let found = resolver.resolve(name.parse().unwrap()).await.ok()?;
        Some(found.map(|address| address.ip().to_string()).collect())
    }

    #[tokio::test]
    async fn a_name_that_leads_into_our_network_leads_nowhere() {
        let resolver = by_table(
            "ntfy.internal,push.example:8443",
            &[
                ("fcm.googleapis.com", &["142.250.1.1", "2a00:1450::1"]),
                ("evil.push.apple.com", &["10.0.0.1"]),
                ("mixed.push.apple.com", &["::1", "17.1.1.1", "169.254.169.254"]),
                ("ntfy.internal", &["10.0.0.2"]),
                ("push.example", &["127.0.0.1"]),
                ("a.ntfy.internal", &["10.0.0.3"]),
            ],
        );
        let expect = |addresses: &[&str]| Some(addresses.iter().map(|address| (*address).to_owned()).collect());
        for (name, addresses) in [
            ("fcm.googleapis.com", expect(&["142.250.1.1", "2a00:1450::1"])),
            ("evil.push.apple.com", None),
            ("mixed.push.apple.com", expect(&["17.1.1.1"])),
            // The operator knows where these are.
            ("ntfy.internal", expect(&["10.0.0.2"])),
            ("push.example", expect(&["127.0.0.1"])),
            ("a.ntfy.internal", None),
            ("nowhere.push.apple.com", None),
        ] {
            assert_eq!(resolve(&resolver, name).await, addresses, "{name}");
        }
    }

    #[tokio::test]
    async fn nobody_connects_to_a_name_that_leads_into_our_network() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = |named: &str| {
            let resolver = by_table(named, &[("evil.push.apple.com", &["127.0.0.1"])]);
            crate::push::http::client().dns_resolver(resolver).build().unwrap()
        };
        let url = format!("http://evil.push.apple.com:{port}/");
        let error = client("").post(&url).send().await.unwrap_err();
        assert!(is_no_public_address(&error), "{error:?}");
        // The same name connects when the operator names it: so the listener would have been reached.
        let named = client("evil.push.apple.com");
        let accept = async { drop(listener.accept().await.unwrap()) };
        let ((), sent) = tokio::join!(accept, named.post(&url).send());
        assert!(!is_no_public_address(&sent.unwrap_err()));
    }
}
