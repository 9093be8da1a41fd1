//! Where a clamd listens.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// The longest path of a Unix socket, in bytes: 108 with the zero behind it (`man 7 unix`).
const LONGEST_PATH: usize = 107;
/// The longest name of a host (RFC 1035, section 2.3.4).
const LONGEST_HOST: usize = 253;

/// Where a clamd listens: `LocalSocket` or `TCPAddr` and `TCPSocket` of its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClamdAddress {
    /// A Unix socket of this machine.
    Unix(PathBuf),
    /// A port of a host.
    Tcp {
        /// A name, or an address without brackets.
        host: String,
        /// Not 0.
        port: u16,
    },
}

/// Not where a clamd can listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it must be host:port, as clamav:3310, or the absolute path of a Unix socket, as /run/clamav/clamd.ctl")]
pub struct InvalidClamdAddress;

impl FromStr for ClamdAddress {
    type Err = InvalidClamdAddress;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        if raw.starts_with('/') {
            let is_path = raw.len() <= LONGEST_PATH && !raw.ends_with('/') && !raw.chars().any(char::is_control);
            return is_path.then(|| Self::Unix(raw.into())).ok_or(InvalidClamdAddress);
        }
        let (host, port) = raw.rsplit_once(':').ok_or(InvalidClamdAddress)?;
        let port = Some(port)
            .filter(|port| port.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|port| port.parse().ok())
            .filter(|port| *port > 0)
            .ok_or(InvalidClamdAddress)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => is_name(host),
        };
        let host = bracketed.unwrap_or(host).to_owned();
        is_host.then_some(Self::Tcp { host, port }).ok_or(InvalidClamdAddress)
    }
}

/// A name of a host, or an IPv4 address. Names within a network of containers may have underscores.
fn is_name(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=LONGEST_HOST).contains(&host.len()) && host.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_its_port_or_a_path_is_an_address() {
        let tcp = |host: &str, port| {
            Ok(ClamdAddress::Tcp {
                host: host.to_owned(),
                port,
            })
        };
        for (raw, expected) in [
            ("clamav:3310", tcp("clamav", 3310)),
            ("my_clamav-1.internal:1", tcp("my_clamav-1.internal", 1)),
            ("127.0.0.1:65535", tcp("127.0.0.1", 65535)),
            ("[::1]:3310", tcp("::1", 3310)),
            (
                "/run/clamav/clamd.ctl",
                Ok(ClamdAddress::Unix("/run/clamav/clamd.ctl".into())),
            ),
        ] {
            assert_eq!(raw.parse(), expected, "{raw}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        let long_path = format!("/{}", "x".repeat(LONGEST_PATH));
        let long_host = format!("{}:3310", "x".repeat(LONGEST_HOST + 1));
        for bad in [
            "",
            "clamav",
            "3310",
            ":3310",
            "clamav:",
            "clamav:0",
            "clamav:65536",
            "clamav:+1",
            "clamav:-1",
            "clamav: 3310",
            "cla mav:3310",
            "tcp://clamav:3310",
            "user@clamav:3310",
            "::1:3310",
            "[clamav]:3310",
            "[::1:3310",
            "clamav:3310/",
            "run/clamd.ctl",
            "/",
            "/run/clamav/",
            "/run\n/clamd.ctl",
            &long_path,
            &long_host,
        ] {
            assert_eq!(bad.parse::<ClamdAddress>(), Err(InvalidClamdAddress), "{bad}");
        }
    }
}
