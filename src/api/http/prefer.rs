//! `Prefer: wait=N` (RFC 7240): how long a client wants to wait.

use std::time::Duration;

/// How long a client waits when it does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);
/// The longest wait: proxies give up sooner or later.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(300);

/// The wait a `Prefer` header asks for. What cannot be read counts as not said, as RFC 7240 wants it.
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
    fn what_cannot_be_read_counts_as_not_said() {
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
