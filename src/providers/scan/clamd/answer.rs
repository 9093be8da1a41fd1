//! What clamd answers, and what it means. Answers end with a zero byte, as commands do that begin with `z`.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::scan::error::ScanError;
use crate::scan::verdict::Verdict;

/// The longest answer, in bytes. That of a scan has a name of a signature, and no path.
const MAX_ANSWER_BYTES: usize = 4 * 1024;
/// The longest text of clamd that is repeated, in bytes.
const MAX_TEXT_BYTES: usize = 128;
/// What clamd finds in a file that would take more than `MaxFiles`, `MaxScanSize` and so on, if `AlertExceedsMax` is set.
const LIMITS: &str = "Heuristics.Limits.";
/// What it finds in a file that has a password, if `AlertEncrypted` is set.
const ENCRYPTED: &str = "Heuristics.Encrypted.";

/// Reads an answer, without the zero byte.
///
/// # Errors
/// [`ScanError::Unavailable`] if it breaks off or does not end.
pub(super) async fn read(mut from: impl AsyncRead + Unpin) -> Result<Vec<u8>, ScanError> {
    let mut answer = Vec::new();
    let mut piece = [0; 512];
    loop {
        let length = from.read(&mut piece).await.map_err(|_| ScanError::CONNECTION_LOST)?;
        answer.extend_from_slice(&piece[..length]);
        match answer.iter().position(|byte| *byte == 0) {
            Some(end) if end + 1 == answer.len() => {
                answer.truncate(end);
                return Ok(answer);
            }
            Some(_) => return Err(ScanError::Unavailable("unexpected_answer")),
            None if answer.is_empty() => return Err(ScanError::CONNECTION_LOST),
            None if length == 0 => return Err(ScanError::Unavailable("answer_cut_short")),
            None if answer.len() >= MAX_ANSWER_BYTES => return Err(ScanError::Unavailable("answer_too_long")),
            None => {}
        }
    }
}

/// What the answer says of a file that was sent as a whole.
///
/// # Errors
/// [`ScanError`] if it is no verdict.
pub(super) fn verdict(answer: &[u8]) -> Result<Verdict, ScanError> {
    let answer = String::from_utf8_lossy(answer);
    if answer == "stream: OK" {
        return Ok(Verdict::Clean);
    }
    if answer.starts_with("INSTREAM size limit exceeded") {
        return Err(ScanError::TooLarge);
    }
    let found = answer
        .strip_prefix("stream: ")
        .and_then(|rest| rest.strip_suffix(" FOUND"));
    match found {
        Some(found) if found.starts_with(LIMITS) => Ok(Verdict::LimitsExceeded),
        Some(found) if found.starts_with(ENCRYPTED) => Ok(Verdict::Encrypted),
        Some(found) => Ok(Verdict::Infected {
            signature: signature(found),
        }),
        None if answer.ends_with("ERROR") => Err(ScanError::Unavailable("error_answer")),
        None => Err(ScanError::Unavailable("unexpected_answer")),
    }
}

/// What the answer says of a file of which something may not have been read.
///
/// # Errors
/// [`ScanError`] if it is no verdict, and if it is that nothing was found.
pub(super) fn early_verdict(answer: &[u8]) -> Result<Verdict, ScanError> {
    match verdict(answer)? {
        Verdict::Clean => Err(ScanError::Unavailable("answer_too_early")),
        found => Ok(found),
    }
}

/// What clamd calls itself.
pub(super) fn version(answer: &[u8]) -> Option<String> {
    let answer = String::from_utf8_lossy(answer);
    let version = shown(&answer, |c| c.is_ascii_graphic() || *c == ' ');
    version.starts_with("ClamAV ").then_some(version)
}

fn signature(found: &str) -> String {
    let signature = shown(found, |c| c.is_ascii_graphic());
    if signature.is_empty() {
        "unknown".to_owned()
    } else {
        signature
    }
}

fn shown(text: &str, is_shown: impl Fn(&char) -> bool) -> String {
    text.chars().filter(is_shown).take(MAX_TEXT_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: &[u8]) -> Result<Verdict, String> {
        verdict(answer).map_err(|error| error.to_string())
    }

    fn infected(signature: &str) -> Result<Verdict, String> {
        let signature = signature.to_owned();
        Ok(Verdict::Infected { signature })
    }

    #[test]
    fn only_one_answer_says_that_a_file_is_clean() {
        assert_eq!(said(b"stream: OK"), Ok(Verdict::Clean));
        for other in [
            &b""[..],
            b"OK",
            b"stream: OK ",
            b" stream: OK",
            b"stream:OK",
            b"stream: ok",
            b"stream: OK\n",
            b"stream: OK\xff",
            b"stream: OK stream: OK",
            b"stream: NOT OK",
            b"PONG",
            b"UNKNOWN COMMAND",
            b"stream: Win.Test FOUND ",
            b"stream: Win.Test found",
            b"Win.Test FOUND",
            b"stream: FOUND",
        ] {
            let unexpected = "the scanner is unavailable (unexpected_answer)".to_owned();
            assert_eq!(said(other), Err(unexpected), "{other:?}");
        }
    }

    #[test]
    fn what_is_found_is_a_virus_unless_it_says_that_it_could_not_look() {
        for (answer, expected) in [
            (
                &b"stream: Win.Test.EICAR_HDB-1 FOUND"[..],
                infected("Win.Test.EICAR_HDB-1"),
            ),
            (
                b"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND",
                Ok(Verdict::LimitsExceeded),
            ),
            (b"stream: Heuristics.Limits.Exceeded FOUND", Ok(Verdict::LimitsExceeded)),
            (b"stream: Heuristics.Encrypted.Zip FOUND", Ok(Verdict::Encrypted)),
            (b"stream: Heuristics.Encrypted.PDF FOUND", Ok(Verdict::Encrypted)),
            (
                b"stream: Heuristics.OLE2.ContainsMacros FOUND",
                infected("Heuristics.OLE2.ContainsMacros"),
            ),
            (
                b"stream: Win.Heuristics.Limits.X FOUND",
                infected("Win.Heuristics.Limits.X"),
            ),
            (b"stream:  FOUND", infected("unknown")),
            (b"stream: a b\xff\r\n\x1b[1m\xe2\x80\xae FOUND", infected("ab[1m")),
        ] {
            assert_eq!(said(answer), expected, "{}", String::from_utf8_lossy(answer));
        }
        let long = format!("stream: {} FOUND", "x".repeat(MAX_TEXT_BYTES + 1));
        assert_eq!(said(long.as_bytes()), infected(&"x".repeat(MAX_TEXT_BYTES)));
    }

    #[test]
    fn an_error_is_no_verdict_and_one_of_them_is_for_an_operator() {
        let too_large = verdict(b"INSTREAM size limit exceeded. ERROR");
        assert!(matches!(too_large, Err(ScanError::TooLarge)), "{too_large:?}");
        for error in [
            &b"stream: Can't open file or directory ERROR"[..],
            b"INSTREAM: wait ERROR",
            b"ERROR",
        ] {
            let unavailable = verdict(error);
            assert!(
                matches!(unavailable, Err(ScanError::Unavailable("error_answer"))),
                "{unavailable:?}"
            );
        }
    }

    #[test]
    fn half_a_file_is_never_clean_but_what_is_found_in_it_counts() {
        let early = early_verdict(b"stream: OK");
        assert!(
            matches!(early, Err(ScanError::Unavailable("answer_too_early"))),
            "{early:?}"
        );
        assert!(matches!(
            early_verdict(b"stream: X FOUND"),
            Ok(Verdict::Infected { .. })
        ));
    }

    #[test]
    fn only_what_clamd_calls_itself_is_its_version() {
        assert_eq!(
            version(b"ClamAV 1.4.6/27800/Sat Nov 28 09:00:00 2026").unwrap(),
            "ClamAV 1.4.6/27800/Sat Nov 28 09:00:00 2026"
        );
        assert_eq!(version(b"ClamAV 1\x1b[0m\n\xff").unwrap(), "ClamAV 1[0m");
        for other in [&b"UNKNOWN COMMAND"[..], b"", b"PONG"] {
            assert_eq!(version(other), None);
        }
    }
}
