//! Whom a request means, and whose page has sent it. A page of anybody can send requests to a port of this machine: by a name of its own
//! that leads here (DNS rebinding), or from its own origin.

use std::net::IpAddr;

use poem::Request;
use poem::http::uri::Authority;
use poem::http::{HeaderMap, Method, header};

use crate::http::own_host;

/// The names by which this server may be asked.
pub(super) struct OwnName {
    /// As it is configured.
    host: String,
}

impl OwnName {
    pub(super) fn new(host: &str) -> Self {
        Self {
            host: host.to_ascii_lowercase(),
        }
    }

    /// Whether the request means this server: by an address, which no DNS server gives away, by `localhost`, or by its configured name. A
    /// proxy asks by one of them, too: whatever is trusted as one may be the gateway that every browser of the machine comes through.
    pub(super) fn is_asked(&self, request: &Request) -> bool {
        host_of(request.headers()).is_some_and(|host| host == "localhost" || host == self.host || is_address(&host))
    }
}

/// The host that the request was sent to, without its port, in lower case; `None` unless exactly one is named.
fn host_of(headers: &HeaderMap) -> Option<String> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return None;
    };
    let authority: Authority = host.to_str().ok()?.parse().ok()?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// Whether the page that has sent this form is of the browser's own machine, without TLS: then no network can read a cookie, and one that
/// is `Secure` would not be kept. Its origin says so; the host may be one that a proxy has put there.
pub(super) fn is_on_own_machine(headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let host = origin.and_then(|origin| origin.strip_prefix("http://")?.parse::<Authority>().ok());
    host.is_some_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
    })
}

/// Whether another page has sent the request. A form has to say that it is of this one. A link from elsewhere may lead here: without its
/// cookie, which such a request does not have, one sees where to sign in.
pub(super) fn is_foreign(request: &Request, by_trusted_proxy: bool) -> bool {
    let headers = request.headers();
    let has_origin = headers.contains_key(header::ORIGIN);
    if has_origin && !own_host::is_origin(request, by_trusted_proxy) {
        return true;
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read && !has_origin {
        return true;
    }
    let says = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match says("sec-fetch-site") {
        None | Some("same-origin" | "none") => false,
        Some(_) => !(is_read && says("sec-fetch-mode") == Some("navigate")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.finish()
    }

    #[test]
    fn only_names_that_nobody_can_lead_here_are_ours() {
        let own = OwnName::new("Queue.internal");
        let is_asked = |headers: &[(&str, &str)]| own.is_asked(&request(Method::GET, headers));
        for host in [
            "127.0.0.1:9100",
            "[::1]:9100",
            "localhost:9100",
            "10.0.0.7",
            "queue.internal:9100",
            "LOCALHOST",
        ] {
            assert!(is_asked(&[("host", host)]), "{host}");
        }
        for host in [
            "evil.example:9100",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "user@localhost:x",
            "::1",
        ] {
            assert!(!is_asked(&[("host", host)]), "{host}");
        }
        assert!(!is_asked(&[]) && !is_asked(&[("host", "localhost"), ("host", "evil.example")]));
    }

    #[test]
    fn a_cookie_may_be_sent_in_clear_on_the_machine_itself_only() {
        for (origin, expected) in [
            ("http://127.0.0.1:9100", true),
            ("http://127.8.9.1", true),
            ("http://[::1]:9100", true),
            ("http://localhost", true),
            ("http://10.0.0.7:9100", false),
            ("http://queue.example", false),
            ("https://localhost:9100", false),
            ("null", false),
        ] {
            // A proxy may have rewritten the host.
            let headers = [("host", "127.0.0.1:9100"), ("origin", origin)];
            let request = request(Method::POST, &headers);
            assert_eq!(is_on_own_machine(request.headers()), expected, "{origin}");
        }
    }

    #[test]
    fn forms_say_whose_they_are_and_links_may_lead_here() {
        let host = ("host", "localhost:9100");
        let own = ("origin", "http://localhost:9100");
        let evil = ("origin", "https://evil.example");
        let site = |value| ("sec-fetch-site", value);
        let is = |method: Method, headers: &[(&str, &str)]| is_foreign(&request(method, headers), false);
        assert!(!is(Method::POST, &[host, own]));
        assert!(!is(Method::POST, &[host, own, site("same-origin")]));
        assert!(is(Method::POST, &[host]), "no origin");
        assert!(is(Method::POST, &[host, ("origin", "null")]));
        assert!(is(Method::POST, &[host, evil]));
        assert!(is(Method::POST, &[host, own, site("cross-site")]));
        assert!(is(
            Method::POST,
            &[host, own, site("same-site"), ("sec-fetch-mode", "navigate")]
        ));
        assert!(!is(Method::GET, &[host]));
        assert!(!is(Method::GET, &[host, site("none")]));
        assert!(is(Method::GET, &[host, evil]));
        assert!(
            is(Method::GET, &[host, site("same-site"), ("sec-fetch-mode", "cors")]),
            "another port"
        );
        assert!(!is(
            Method::GET,
            &[host, site("cross-site"), ("sec-fetch-mode", "navigate")]
        ));
    }
}
