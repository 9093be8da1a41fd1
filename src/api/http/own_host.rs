//! Whether a page comes from the host that it talks to: what a browser, or an app that imitates one, says of itself when server and
//! page are one.

use poem::Request;
use poem::http::{HeaderMap, header};

/// Whether the request's `Origin` is the host that the request was sent to. Behind a proxy that is trusted, what it says of that host
/// counts, too: pages cannot set its headers.
pub(crate) fn is_origin(request: &Request, by_trusted_proxy: bool) -> bool {
    let headers = request.headers();
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(Ok(origin)), None) = (origins.next().map(|origin| origin.to_str()), origins.next()) else {
        return false;
    };
    let Some((default_port, origin)) = authority_of(origin) else {
        return false;
    };
    let origin = with_port(origin, default_port);
    hosts(headers, by_trusted_proxy).any(|host| with_port(&host, default_port) == origin)
}

/// The default port of an origin's scheme, and its host with its port.
fn authority_of(origin: &str) -> Option<(&'static str, &str)> {
    let (scheme, authority) = origin.split_once("://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => Some(("80", authority)),
        "https" | "wss" => Some(("443", authority)),
        _ => None,
    }
}

/// What the client and its proxies call this host.
fn hosts(headers: &HeaderMap, by_trusted_proxy: bool) -> impl Iterator<Item = String> {
    let values = |name: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let hosts = values
            .flat_map(|list| list.split(','))
            .map(|host| host.trim().to_owned());
        hosts.filter(|host| !host.is_empty()).collect::<Vec<_>>()
    };
    let mut hosts = values("host");
    if by_trusted_proxy {
        hosts.extend(values("x-forwarded-host"));
        // Some proxies name the port apart.
        let ports = values("x-forwarded-port");
        let without_port = hosts.iter().filter(|host| port_of(host).is_none());
        let with_ports: Vec<String> = without_port
            .flat_map(|host| ports.iter().map(move |port| format!("{host}:{port}")))
            .collect();
        hosts.extend(with_ports);
    }
    hosts.into_iter()
}

/// The host in lower case, with its port even if that is the default.
fn with_port(host: &str, default_port: &str) -> String {
    let host = host.to_ascii_lowercase();
    match port_of(&host) {
        Some(_) => host,
        None => format!("{}:{default_port}", host.trim_end_matches(':')),
    }
}

fn port_of(host: &str) -> Option<&str> {
    let (_, port) = host.rsplit_once(':')?;
    // The colons of an IPv6 address are in brackets.
    (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own(origin: &str, headers: &[(&str, &str)], by_trusted_proxy: bool) -> bool {
        let mut request = Request::builder().header("origin", origin);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        is_origin(&request.finish(), by_trusted_proxy)
    }

    #[test]
    fn a_page_of_the_host_that_it_talks_to_is_not_foreign() {
        for (origin, host) in [
            ("https://chat.example", "chat.example"),
            ("https://Chat.Example", "chat.example"),
            ("https://chat.example", "chat.example:443"),
            ("https://chat.example:443", "chat.example"),
            ("http://chat.example", "chat.example:80"),
            ("http://127.0.0.1:8000", "127.0.0.1:8000"),
            ("http://[::1]:8000", "[::1]:8000"),
            ("http://[2001:db8::1]", "[2001:db8::1]"),
        ] {
            assert!(is_own(origin, &[("host", host)], false), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://evil.example", "chat.example"),
            ("https://chat.example.evil.example", "chat.example"),
            ("https://evil-chat.example", "chat.example"),
            ("https://chat.example:8443", "chat.example"),
            ("https://chat.example", "chat.example:8443"),
            ("https://chat.example", "chat.example:80"),
            ("http://localhost:3000", "localhost:8000"),
            ("http://localhost", "127.0.0.1"),
            ("null", "null"),
            ("", ""),
            ("file://", ""),
            ("chrome-extension://chat.example", "chat.example"),
            ("https://chat.example/", "chat.example"),
            ("https://user@chat.example", "chat.example"),
            ("http://[2001:db8::1]", "[2001:db8::2]"),
        ] {
            assert!(!is_own(origin, &[("host", host)], false), "{origin} {host}");
        }
    }

    #[test]
    fn what_a_proxy_says_of_the_host_counts_if_it_is_trusted() {
        let inside = ("host", "cura:8000");
        let forwarded = ("x-forwarded-host", "chat.example");
        assert!(is_own("https://chat.example", &[inside, forwarded], true));
        assert!(!is_own("https://chat.example", &[inside, forwarded], false));
        assert!(!is_own("https://evil.example", &[inside, forwarded], true));
        let port = ("x-forwarded-port", "8443");
        assert!(is_own(
            "https://chat.example:8443",
            &[("host", "chat.example"), port],
            true
        ));
        assert!(!is_own(
            "https://chat.example:8443",
            &[("host", "chat.example"), port],
            false
        ));
        let several = ("x-forwarded-host", "chat.example, inner.example");
        assert!(is_own("https://chat.example", &[inside, several], true));
    }

    #[test]
    fn two_origins_are_none() {
        let request = Request::builder()
            .header("origin", "https://chat.example")
            .header("origin", "https://evil.example")
            .header("host", "chat.example");
        assert!(!is_origin(&request.finish(), false));
    }
}
