//! The address of the client. The header that names it counts only if it comes from a trusted proxy, and is read from right to left: the
//! client is the right-most address that is not a trusted proxy. Everything left of it may be forged.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use poem::Addr;
use poem::http::HeaderMap;

/// The header in which a proxy names the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAddressHeader {
    /// `X-Forwarded-For`: a list, to which each proxy adds its peer.
    #[default]
    XForwardedFor,
    /// `X-Real-IP`, which the proxy sets (nginx).
    XRealIp,
    /// `CF-Connecting-IP`, which Cloudflare sets.
    CfConnectingIp,
}

/// Not the name of a header in which proxies name clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be x-forwarded-for, x-real-ip or cf-connecting-ip: the header that your proxy sets, whatever the client sends"
)]
pub struct UnknownHeader;

impl FromStr for ClientAddressHeader {
    type Err = UnknownHeader;

    fn from_str(name: &str) -> Result<Self, UnknownHeader> {
        let all = [Self::XForwardedFor, Self::XRealIp, Self::CfConnectingIp];
        let named = all.into_iter().find(|header| header.name().eq_ignore_ascii_case(name));
        named.ok_or(UnknownHeader)
    }
}

impl ClientAddressHeader {
    const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::XRealIp => "x-real-ip",
            Self::CfConnectingIp => "cf-connecting-ip",
        }
    }
}

/// The proxies that name clients, and the header in which they do.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    ranges: Vec<IpNet>,
    header: ClientAddressHeader,
}

/// Not a comma-separated list of addresses and CIDR ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a comma-separated list of addresses and CIDR ranges, like 10.0.0.0/8,::1")]
pub struct InvalidProxies;

impl FromStr for TrustedProxies {
    type Err = InvalidProxies;

    fn from_str(list: &str) -> Result<Self, InvalidProxies> {
        let range = |text: &str| {
            text.parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| InvalidProxies)
        };
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Ok(Self {
            ranges: entries.map(range).collect::<Result<_, _>>()?,
            header: ClientAddressHeader::default(),
        })
    }
}

impl TrustedProxies {
    /// The same proxies, which name clients in this header.
    #[must_use]
    pub fn with_header(self, header: ClientAddressHeader) -> Self {
        Self { header, ..self }
    }

    /// Whether this is the address of a trusted proxy.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(&address))
    }

    /// The address of the client behind `peer`.
    pub(crate) fn client(&self, peer: &Addr, headers: &HeaderMap) -> IpAddr {
        let mut client = match peer {
            Addr::SocketAddr(peer) => peer.ip().to_canonical(),
            // A local socket.
            Addr::Unix(_) | Addr::Custom(..) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        // Several headers are one list.
        let lists = headers.get_all(self.header.name()).iter().rev();
        let hops = lists.flat_map(|list| {
            let list = String::from_utf8_lossy(list.as_bytes());
            list.rsplit(',').map(str::to_owned).collect::<Vec<_>>()
        });
        // Empty elements of a list do not count (RFC 9110, section 5.6.1).
        for hop in hops.filter(|hop| !hop.trim().is_empty()) {
            if !self.trusts(client) {
                break;
            }
            match parse_hop(hop.trim()) {
                Some(address) => client = address,
                // A malformed entry, and everything left of it, may be forged.
                None => break,
            }
        }
        client
    }
}

/// An address, with or without port, brackets and quotes.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let text = quoted.unwrap_or(text).trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// Where a client is: its IPv4 address, or its IPv6 /64, which is what one customer gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ClientNetwork(IpAddr);

impl From<IpAddr> for ClientNetwork {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
        })
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// The key of a client, as text.
pub(crate) fn client_key(address: IpAddr) -> String {
    ClientNetwork::from(address).to_string()
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn client(trusted: &str, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for list in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_str(list).unwrap());
        }
        let proxies: TrustedProxies = trusted.parse().unwrap();
        let peer = Addr::SocketAddr(SocketAddr::new(peer.parse().unwrap(), 1));
        proxies.client(&peer, &headers).to_string()
    }

    #[test]
    fn only_the_right_most_address_that_is_no_trusted_proxy_counts() {
        for (trusted, peer, forwarded, expected) in [
            ("", "198.51.100.7", &["203.0.113.9"][..], "198.51.100.7"),
            ("10.0.0.0/8", "198.51.100.7", &["203.0.113.9"], "198.51.100.7"),
            ("10.0.0.0/8", "10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            (
                "10.0.0.0/8",
                "10.0.0.1",
                &["6.6.6.6, 203.0.113.9, 10.0.0.2"],
                "203.0.113.9",
            ),
            (
                "10.0.0.0/8",
                "10.0.0.1",
                &["6.6.6.6", "203.0.113.9", "10.0.0.2"],
                "203.0.113.9",
            ),
            ("10.0.0.0/8", "10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.0/8", "10.0.0.1", &["6.6.6.6, nonsense"], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &["6.6.6.6, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", "::ffff:10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("::1", "::1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("::1, 10.0.0.0/8", "::1", &["[2001:db8::2]"], "2001:db8::2"),
            ("10.0.0.0/8", "10.0.0.1", &["203.0.113.9,"], "203.0.113.9"),
            (
                "10.0.0.0/8",
                "10.0.0.1",
                &["6.6.6.6, ,203.0.113.9 ,, 10.0.0.2, \t,"],
                "203.0.113.9",
            ),
            ("10.0.0.0/8", "10.0.0.1", &["203.0.113.9", "", " , "], "203.0.113.9"),
            ("10.0.0.0/8", "10.0.0.1", &[",,,"], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &["6.6.6.6,nonsense,"], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &["\"[2001:db8::1]:4711\""], "2001:db8::1"),
            ("10.0.0.0/8", "10.0.0.1", &["[::ffff:203.0.113.9]:1,"], "203.0.113.9"),
        ] {
            assert_eq!(
                client(trusted, peer, forwarded),
                expected,
                "{trusted} {peer} {forwarded:?}"
            );
        }
    }

    #[test]
    fn only_the_header_that_the_proxy_sets_counts() {
        let mut headers = HeaderMap::new();
        for (name, address) in [
            ("x-forwarded-for", "203.0.113.1"),
            ("x-real-ip", "203.0.113.2"),
            ("cf-connecting-ip", "203.0.113.3"),
        ] {
            headers.append(name, HeaderValue::from_static(address));
        }
        let seen = |header: &str, peer: &str| {
            let proxies = "10.0.0.0/8".parse::<TrustedProxies>().unwrap();
            let proxies = proxies.with_header(header.parse().unwrap());
            let peer = Addr::SocketAddr(SocketAddr::new(peer.parse().unwrap(), 1));
            proxies.client(&peer, &headers).to_string()
        };
        assert_eq!(seen("x-forwarded-for", "10.0.0.1"), "203.0.113.1");
        assert_eq!(seen("X-Real-IP", "10.0.0.1"), "203.0.113.2");
        assert_eq!(seen("CF-Connecting-IP", "10.0.0.1"), "203.0.113.3");
        assert_eq!(
            seen("cf-connecting-ip", "198.51.100.7"),
            "198.51.100.7",
            "only from a proxy"
        );
        assert_eq!("forwarded".parse::<ClientAddressHeader>(), Err(UnknownHeader));
    }

    #[test]
    fn a_customers_whole_network_is_one_client() {
        let key = |text: &str| client_key(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), key("2001:db8:1:2::1"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("198.51.100.1"), key("198.51.100.2"));
    }

    #[test]
    fn what_is_no_list_of_networks_is_refused() {
        assert!("".parse::<TrustedProxies>().is_ok());
        for bad in ["10.0.0.0/33", "localhost", "10.0.0.1;10.0.0.2", "*"] {
            assert_eq!(bad.parse::<TrustedProxies>().unwrap_err(), InvalidProxies, "{bad}");
        }
    }

    proptest! {
        /// Entries left of the client's address change nothing, and none of them panics.
        #[test]
        fn entries_that_a_client_forges_do_not_count(written in "[ -~]{0,80}", octet in 1_u8..=254, proxies in 0_usize..4) {
            let real = format!("203.0.113.{octet}");
            let mut list = vec![written, real.clone()];
            list.extend((0..proxies).map(|n| format!("10.0.0.{n}")));
            prop_assert_eq!(client("10.0.0.0/8", "10.1.1.1", &[&list.join(", ")]), real);
        }

        #[test]
        fn any_address_is_read_in_all_its_spellings(bits: u128, port: u16) {
            let v6 = Ipv6Addr::from(bits);
            let expected = Some(IpAddr::V6(v6).to_canonical());
            prop_assert_eq!(parse_hop(&v6.to_string()), expected);
            prop_assert_eq!(parse_hop(&format!("[{v6}]")), expected);
            prop_assert_eq!(parse_hop(&format!("[{v6}]:{port}")), expected);
        }
    }
}
