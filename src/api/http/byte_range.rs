//! `Range`: the part of a file that a client asks for, to go on with a download or to seek in it (RFC 9110, section 14).

use std::ops::Range;

use poem::http::{HeaderMap, header};
use poem::web::headers::{ETag, HeaderMapExt, IfRange};

/// What of a file is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// These of its bytes; never none.
    Bytes(Range<u64>),
    /// Nothing: the range begins behind its end.
    Unsatisfiable,
}

/// What a request wants of a file of `size` bytes, not empty, that has this tag now. Everything, if it asks for several ranges, which a
/// server may do, or for what is no range of bytes, or goes on with a file that has changed.
pub(crate) fn wanted_part(headers: &HeaderMap, size: u64, tag: &ETag) -> Part {
    let mut ranges = headers.get_all(header::RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return Part::Whole;
    };
    let condition = headers.typed_get::<IfRange>();
    // One that cannot be read is not fulfilled.
    let is_other_file = headers.contains_key(header::IF_RANGE)
        && condition.is_none_or(|condition| condition.is_modified(Some(tag), None));
    match range.to_str() {
        Ok(range) if !is_other_file => part(range, size),
        _ => Part::Whole,
    }
}

fn part(range: &str, size: u64) -> Part {
    let Some((first, last)) = range
        .split_once('=')
        .filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"))
        .and_then(|(_, range)| range.trim().split_once('-'))
    else {
        return Part::Whole;
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Part::Whole,
        (Some(first), _) if first >= size && (last.is_empty() || number(last).is_some()) => Part::Unsatisfiable,
        (Some(first), Some(last)) => Part::Bytes(first..last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => Part::Bytes(first..size),
        // The last so many.
        (None, Some(0)) if first.is_empty() => Part::Unsatisfiable,
        (None, Some(many)) if first.is_empty() => Part::Bytes(size.saturating_sub(many)..size),
        _ => Part::Whole,
    }
}

/// Digits, and nothing else; one that is too large for a number is larger than any file.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn wanted(pairs: &[(&'static str, &str)]) -> Part {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        wanted_part(&headers, 10, &"\"abc\"".parse().unwrap())
    }

    #[test]
    fn a_range_is_cut_to_the_file() {
        for (range, expected) in [
            ("bytes=0-3", Part::Bytes(0..4)),
            ("bytes=3-3", Part::Bytes(3..4)),
            ("Bytes=4-", Part::Bytes(4..10)),
            ("bytes=4-99", Part::Bytes(4..10)),
            ("bytes=0-", Part::Bytes(0..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-99", Part::Bytes(0..10)),
            ("bytes=9-99999999999999999999999", Part::Bytes(9..10)),
            ("bytes=0-18446744073709551615", Part::Bytes(0..10)),
        ] {
            assert_eq!(wanted(&[("range", range)]), expected, "{range}");
        }
    }

    #[test]
    fn what_begins_behind_the_end_is_refused() {
        for range in ["bytes=10-", "bytes=10-12", "bytes=99999999999999999999999-", "bytes=-0"] {
            assert_eq!(wanted(&[("range", range)]), Part::Unsatisfiable, "{range}");
        }
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_ignored() {
        for range in [
            "bytes=0-1,4-5",
            "bytes=10-,0-",
            "bytes=5-3",
            "bytes=-",
            "bytes=",
            "bytes",
            "bytes=a-b",
            "bytes=1-b",
            "bytes=12-b",
            "bytes=+1-2",
            "bytes=--1",
            "lines=0-3",
            "",
        ] {
            assert_eq!(wanted(&[("range", range)]), Part::Whole, "{range}");
        }
        assert_eq!(wanted(&[("range", "bytes=0-1"), ("range", "bytes=4-5")]), Part::Whole);
        assert_eq!(wanted(&[]), Part::Whole);
    }

    #[test]
    fn a_download_goes_on_only_with_the_same_file() {
        let on = |condition| wanted(&[("range", "bytes=4-"), ("if-range", condition)]);
        assert_eq!(on("\"abc\""), Part::Bytes(4..10));
        for other in ["\"abd\"", "W/\"abc\"", "Wed, 21 Oct 2026 07:28:00 GMT", "nonsense"] {
            assert_eq!(on(other), Part::Whole, "{other}");
        }
    }
}
