//! `Prefer: wait=N` (RFC 7240): how long a client waits for an answer.

use std::time::Duration;

/// The default.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);
/// The longest wait, because proxies time out.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(300);

/// The wait that a `Prefer` header asks for. RFC 7240 requires that a malformed preference is ignored.
pub(crate) fn wait(prefer: Option<&str>) -> Duration {
    prefer
        .into_iter()
        .flat_map(|prefer| prefer.split([',', ';']))
        .find_map(|preference| match preference.trim().split_once('=') {
            Some((name, seconds)) if name.trim().eq_ignore_ascii_case("wait") => {
                Some(Duration::from_secs(seconds.trim().trim_matches('"').parse().ok()?))
            }
            None if preference.trim().eq_ignore_ascii_case("respond-async") => Some(Duration::ZERO),
            _ => None,
        })
        .map_or(DEFAULT_WAIT, |wait| wait.min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_what_the_client_prefers() {
        assert_eq!(wait(Some("wait=0")), Duration::ZERO);
        assert_eq!(wait(Some("respond-async, wait=5")), Duration::ZERO);
        assert_eq!(wait(Some("return=minimal; Wait = \"7\"")), Duration::from_secs(7));
        assert_eq!(wait(Some("wait=99999999")), MAX_WAIT);
    }

    #[test]
    fn a_malformed_preference_is_ignored() {
        for unreadable in [
            None,
            Some(""),
            Some("wait"),
            Some("wait=-1"),
            Some("wait=soon"),
            Some("waiting=1"),
        ] {
            assert_eq!(wait(unreadable), DEFAULT_WAIT, "{unreadable:?}");
        }
    }
}
