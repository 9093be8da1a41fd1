//! Addresses of push services. Browsers give them to clients and clients give them to us, so they are untrusted: only https to the
//! services that browsers have, and to those that the operator names.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;
use url::{Host, Url};

/// The longest endpoint, in bytes.
pub const MAX_ENDPOINT_BYTES: usize = 2048;
/// The push services of Chrome, Firefox, Safari and Edge: these hosts, and those below them.
const SERVICES: [&str; 4] = [
    "fcm.googleapis.com",
    "push.services.mozilla.com",
    "push.apple.com",
    "notify.windows.com",
];

/// The address of one subscription at an allowed service. It is a secret: who has it can send pushes, or see who is subscribed.
#[derive(Clone, PartialEq, Eq)]
pub struct PushEndpoint(Url);

/// Only its host.
impl fmt::Debug for PushEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PushEndpoint").field(&self.0.host_str()).finish()
    }
}

/// Not the address of an allowed push service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be an https address of a known push service")]
pub struct EndpointNotAllowed;

/// Push services beside those of browsers, as `WEBPUSH_HOSTS` names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushHosts(Vec<(Host, u16)>);

/// Not a list of hosts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a host, like ntfy.example.org or push.example.org:8443")]
pub struct InvalidPushHosts(String);

impl PushHosts {
    /// Reads a list of hosts with or without a port, separated by commas.
    ///
    /// # Errors
    /// The entry that is neither.
    pub fn parse(list: &str) -> Result<Self, InvalidPushHosts> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let read = |entry: &str| {
            let url = Url::parse(&format!("https://{entry}/")).ok()?;
            let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            let host = url.host()?.to_owned();
            (is_bare && has_no_user(&url)).then_some((host, url.port_or_known_default()?))
        };
        entries
            .map(|entry| read(entry).ok_or_else(|| InvalidPushHosts(entry.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the operator names this host, at whatever port.
    pub fn names(&self, host: &str) -> bool {
        Host::parse(host).is_ok_and(|host| self.0.iter().any(|(named, _)| *named == host))
    }

    /// The endpoint of a subscription.
    ///
    /// # Errors
    /// [`EndpointNotAllowed`] unless it is https, without user and password, at a known service or exactly a named one; http is
    /// allowed for a named one on this machine.
    pub fn endpoint(&self, raw: &str) -> Result<PushEndpoint, EndpointNotAllowed> {
        let url = Some(raw)
            .filter(|raw| raw.len() <= MAX_ENDPOINT_BYTES)
            .and_then(|raw| Url::parse(raw).ok())
            .filter(has_no_user)
            .ok_or(EndpointNotAllowed)?;
        let (host, port) = url
            .host()
            .map(|host| host.to_owned())
            .zip(url.port_or_known_default())
            .ok_or(EndpointNotAllowed)?;
        let is_named = self.0.iter().any(|named| *named == (host.clone(), port));
        let is_allowed = match url.scheme() {
            "https" => is_named || (port == 443 && is_known(&host)),
            "http" => is_named && is_loopback(&host),
            _ => false,
        };
        is_allowed.then_some(PushEndpoint(url)).ok_or(EndpointNotAllowed)
    }
}

impl PushEndpoint {
    /// The address.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Scheme, host and port: whom a signature of ours is for (RFC 8292, section 2).
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Its host, which is no secret.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

/// The host of a stored endpoint, which is no secret, whether or not it is allowed today.
pub fn host_of(endpoint: &str) -> Option<String> {
    Url::parse(endpoint).ok()?.host_str().map(str::to_owned)
}

fn has_no_user(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

fn is_known(host: &Host) -> bool {
    let Host::Domain(name) = host else { return false };
    SERVICES.iter().any(|service| {
        name.strip_suffix(service)
            .is_some_and(|below| below.is_empty() || below.ends_with('.'))
    })
}

fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => Ipv4Addr::is_loopback(address),
        Host::Ipv6(address) => Ipv6Addr::is_loopback(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_of_browsers_are_allowed_and_tricks_are_not() {
        let hosts = PushHosts::default();
        for good in [
            "https://fcm.googleapis.com/fcm/send/abc",
            "https://updates.push.services.mozilla.com/wpush/v2/abc",
            "https://web.push.apple.com/abc",
            "https://db5p.notify.windows.com/w/?token=abc",
            "https://FCM.googleapis.com:443/fcm/send/abc",
        ] {
            assert!(hosts.endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "http://fcm.googleapis.com/fcm/send/abc",
            "https://fcm.googleapis.com:8443/abc",
            "https://fcm.googleapis.com.evil.example/abc",
            "https://evilfcm.googleapis.com/abc",
            "https://user@fcm.googleapis.com/abc",
            "https://fcm.googleapis.com@evil.example/abc",
            "https://127.1/abc",
            "https://[::ffff:7f00:1]/abc",
            "https://0x7f000001/abc",
            "https://localhost/abc",
            "ftp://fcm.googleapis.com/abc",
            "fcm.googleapis.com/abc",
            "",
            &format!("https://fcm.googleapis.com/{}", "x".repeat(MAX_ENDPOINT_BYTES)),
        ] {
            assert_eq!(hosts.endpoint(bad), Err(EndpointNotAllowed), "{bad}");
        }
    }

    #[test]
    fn an_operator_names_services_of_its_own() {
        let hosts = PushHosts::parse(" ntfy.example.org, push.example.org:8443,127.0.0.1:9 ").unwrap();
        for good in [
            "https://ntfy.example.org/up",
            "https://push.example.org:8443/x",
            "http://127.0.0.1:9/x",
            "https://127.0.0.1:9/x",
        ] {
            assert!(hosts.endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "https://push.example.org/x",
            "http://ntfy.example.org/up",
            "https://a.ntfy.example.org/x",
            "http://127.0.0.1:10/x",
        ] {
            assert_eq!(hosts.endpoint(bad), Err(EndpointNotAllowed), "{bad}");
        }
        for bad in ["http://x", "a b", "x/y", "u@x"] {
            assert!(PushHosts::parse(bad).is_err(), "{bad}");
        }
        assert!(hosts.names("PUSH.example.org") && hosts.names("127.0.0.1"));
        assert!(!hosts.names("example.org") && !hosts.names("a.push.example.org") && !hosts.names(""));
        let endpoint = hosts.endpoint("https://push.example.org:8443/secret").unwrap();
        assert_eq!(endpoint.origin(), "https://push.example.org:8443");
        assert_eq!(host_of(endpoint.as_str()).as_deref(), Some("push.example.org"));
        assert_eq!(host_of("secret"), None);
        assert!(!format!("{endpoint:?}").contains("secret"));
    }
}
