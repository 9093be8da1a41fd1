//! What the answer of a push service means for the device. A device is touched only for an answer that names it: a wrong configuration of
//! ours must not empty the table of devices.

use std::time::Duration;

/// How long a service that gives no time is left alone when a quota is used up.
const QUOTA_PAUSE: Duration = Duration::from_secs(60);

/// What Firebase, and Google before it, says to a message that is not valid.
const INVALID_ARGUMENT: &str = "INVALID_ARGUMENT";

/// What came of one send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What it means.
    pub meaning: Meaning,
    /// What the service said, in one word, for the log; never a token or an address.
    pub code: String,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The service has taken it.
    Sent,
    /// The device is gone: it is removed.
    Gone,
    /// The device belongs to another sender: it is not pushed to any more.
    OtherSender,
    /// Again, no sooner than after this time if there is one.
    Again(Option<Duration>),
    /// Our token is not taken: a new one is needed.
    NewToken,
    /// The device is kept; the service could not deliver for a reason that an operator can mend (credentials for APNs).
    Misconfigured,
    /// The device is kept; what we sent is wrong.
    OurFault,
    /// Not an answer of the service about this device: nothing more is sent to it for a while.
    Closed,
}

impl Verdict {
    pub(super) fn new(meaning: Meaning, code: impl Into<String>) -> Self {
        Self {
            meaning,
            code: code.into(),
        }
    }
}

/// What Firebase Cloud Messaging's answer means (HTTP v1, `FcmError`). What answers with 200 and a page is not
/// Firebase.
pub(super) fn of_fcm(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Verdict {
    let answer = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
    if (200..300).contains(&status) && (answer.is_object() || body.is_empty()) {
        return Verdict::new(Meaning::Sent, "sent");
    }
    let error = &answer["error"];
    let details = error["details"].as_array().map_or(&[][..], Vec::as_slice);
    let is_of_type =
        |detail: &&serde_json::Value, name: &str| detail["@type"].as_str().is_some_and(|given| given.ends_with(name));
    let named = details
        .iter()
        .find(|detail| is_of_type(detail, "google.firebase.fcm.v1.FcmError"))
        .and_then(|detail| detail["errorCode"].as_str());
    // What Google refuses before Firebase sees it has no word of Firebase: the first example of its error reference, and what is
    // too large.
    let refused = error["status"].as_str().filter(|status| *status == INVALID_ARGUMENT);
    let Some(code) = named.or(refused) else {
        return without_fcm_error(status, retry_after);
    };
    let meaning = match code {
        "UNREGISTERED" => Meaning::Gone,
        INVALID_ARGUMENT => {
            let message = error["message"].as_str().unwrap_or_default();
            let violations = details
                .iter()
                .filter(|detail| is_of_type(detail, "google.rpc.BadRequest"))
                .filter_map(|detail| detail["fieldViolations"].as_array())
                .flatten()
                .filter_map(|violation| violation["field"].as_str());
            let is_about_token = violations
                .clone()
                .any(|field| matches!(field, "message.token" | "message.fid"))
                || (violations.count() == 0 && message.to_ascii_lowercase().contains("registration token"));
            if is_about_token {
                Meaning::Gone
            } else {
                Meaning::OurFault
            }
        }
        "SENDER_ID_MISMATCH" => Meaning::OtherSender,
        "QUOTA_EXCEEDED" => Meaning::Again(Some(retry_after.unwrap_or(QUOTA_PAUSE))),
        "UNAVAILABLE" | "INTERNAL" => Meaning::Again(retry_after),
        "THIRD_PARTY_AUTH_ERROR" => Meaning::Misconfigured,
        _ => Meaning::Closed,
    };
    Verdict::new(meaning, code.to_ascii_lowercase())
}

fn without_fcm_error(status: u16, retry_after: Option<Duration>) -> Verdict {
    let meaning = match status {
        401 => Meaning::NewToken,
        429 => Meaning::Again(Some(retry_after.unwrap_or(QUOTA_PAUSE))),
        500..=599 => Meaning::Again(retry_after),
        _ => Meaning::Closed,
    };
    Verdict::new(meaning, format!("http_{status}"))
}

/// What a push service's answer means (RFC 8030); `is_of_old_key` says that the browser subscribed for a key that we had before.
pub(super) fn of_web_push(status: u16, retry_after: Option<Duration>, is_of_old_key: bool) -> Verdict {
    let meaning = match status {
        200..=299 => return Verdict::new(Meaning::Sent, "sent"),
        404 | 410 => Meaning::Gone,
        401 | 403 if is_of_old_key => Meaning::Gone,
        401 | 403 => Meaning::Misconfigured,
        413 => Meaning::OurFault,
        429 => Meaning::Again(Some(retry_after.unwrap_or(QUOTA_PAUSE))),
        500..=599 => Meaning::Again(retry_after),
        // Clients choose endpoints: one that was made up must not look like a fault of ours.
        400..=499 => Meaning::Misconfigured,
        // Redirects are not followed: they may lead anywhere.
        _ => Meaning::Closed,
    };
    Verdict::new(meaning, format!("http_{status}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fcm_error(code: &str, message: &str, more: &[Value]) -> Vec<u8> {
        let mut details =
            vec![json!({ "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code })];
        details.extend_from_slice(more);
        json!({ "error": { "code": 400, "message": message, "status": "X", "details": details } })
            .to_string()
            .into_bytes()
    }

    fn violation(field: &str) -> Value {
        json!({ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{ "field": field, "description": "no" }] })
    }

    /// An error of Google's that Firebase has not written.
    fn google_error(status: &str, message: &str, details: &[Value]) -> Vec<u8> {
        json!({ "error": { "code": 400, "message": message, "status": status, "details": details } })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn a_message_that_google_refuses_before_firebase_sees_it_closes_nothing() {
        let refused = "Request contains an invalid argument.";
        let of_token = "The registration token is not a valid FCM registration token";
        for (status, body, meaning) in [
            (
                400,
                google_error(
                    "INVALID_ARGUMENT",
                    "Invalid value at 'message.data[0].value' (TYPE_STRING), 12",
                    &[violation("message.data[0].value")],
                ),
                Meaning::OurFault,
            ),
            (400, google_error("INVALID_ARGUMENT", refused, &[]), Meaning::OurFault),
            (
                400,
                json!({ "error": { "code": 400, "message": refused, "status": "INVALID_ARGUMENT" } })
                    .to_string()
                    .into_bytes(),
                Meaning::OurFault,
            ),
            (
                400,
                google_error("INVALID_ARGUMENT", refused, &[violation("message.token")]),
                Meaning::Gone,
            ),
            (
                400,
                google_error("INVALID_ARGUMENT", refused, &[violation("message.fid")]),
                Meaning::Gone,
            ),
            (400, google_error("INVALID_ARGUMENT", of_token, &[]), Meaning::Gone),
            (400, google_error("FAILED_PRECONDITION", refused, &[]), Meaning::Closed),
            (400, b"INVALID_ARGUMENT".to_vec(), Meaning::Closed),
            (400, b"<html>INVALID_ARGUMENT</html>".to_vec(), Meaning::Closed),
            (403, google_error("PERMISSION_DENIED", refused, &[]), Meaning::Closed),
            (401, google_error("UNAUTHENTICATED", refused, &[]), Meaning::NewToken),
            (404, google_error("NOT_FOUND", refused, &[]), Meaning::Closed),
        ] {
            let verdict = of_fcm(status, None, &body);
            assert_eq!(verdict.meaning, meaning, "{status} {}", String::from_utf8_lossy(&body));
            if meaning == Meaning::OurFault {
                assert_eq!(verdict.code, "invalid_argument");
            }
        }
    }

    #[test]
    fn a_device_of_firebase_is_touched_only_for_an_answer_that_names_it() {
        let ten = Some(Duration::from_secs(10));
        let token = "The registration token is not a valid FCM registration token";
        for (status, retry_after, body, meaning) in [
            (
                200,
                None,
                br#"{"name": "projects/cura/messages/0:1"}"#.to_vec(),
                Meaning::Sent,
            ),
            (200, None, b"{}".to_vec(), Meaning::Sent),
            (204, None, Vec::new(), Meaning::Sent),
            (200, None, b"<html>Welcome</html>".to_vec(), Meaning::Closed),
            (200, None, b"[]".to_vec(), Meaning::Closed),
            (404, None, fcm_error("UNREGISTERED", "", &[]), Meaning::Gone),
            (400, None, fcm_error("INVALID_ARGUMENT", token, &[]), Meaning::Gone),
            (
                400,
                None,
                fcm_error("INVALID_ARGUMENT", "", &[violation("message.token")]),
                Meaning::Gone,
            ),
            (
                400,
                None,
                fcm_error("INVALID_ARGUMENT", "", &[violation("message.fid")]),
                Meaning::Gone,
            ),
            (
                400,
                None,
                fcm_error("INVALID_ARGUMENT", "", &[violation("message.data[0].value")]),
                Meaning::OurFault,
            ),
            (
                400,
                None,
                fcm_error("INVALID_ARGUMENT", token, &[violation("message.data")]),
                Meaning::OurFault,
            ),
            (
                400,
                None,
                fcm_error("INVALID_ARGUMENT", "Request is too large", &[]),
                Meaning::OurFault,
            ),
            (
                403,
                None,
                fcm_error("SENDER_ID_MISMATCH", "", &[]),
                Meaning::OtherSender,
            ),
            (
                429,
                None,
                fcm_error("QUOTA_EXCEEDED", "", &[]),
                Meaning::Again(Some(QUOTA_PAUSE)),
            ),
            (429, ten, fcm_error("QUOTA_EXCEEDED", "", &[]), Meaning::Again(ten)),
            (503, ten, fcm_error("UNAVAILABLE", "", &[]), Meaning::Again(ten)),
            (500, None, fcm_error("INTERNAL", "", &[]), Meaning::Again(None)),
            (
                401,
                None,
                fcm_error("THIRD_PARTY_AUTH_ERROR", "", &[]),
                Meaning::Misconfigured,
            ),
            (400, None, fcm_error("SOMETHING_NEW", "", &[]), Meaning::Closed),
            (401, None, b"{}".to_vec(), Meaning::NewToken),
            (403, None, b"<html>no</html>".to_vec(), Meaning::Closed),
            (
                404,
                None,
                json!({ "error": { "status": "NOT_FOUND" } }).to_string().into_bytes(),
                Meaning::Closed,
            ),
            (502, None, b"<html>bad gateway</html>".to_vec(), Meaning::Again(None)),
            (302, None, Vec::new(), Meaning::Closed),
        ] {
            let verdict = of_fcm(status, retry_after, &body);
            assert_eq!(verdict.meaning, meaning, "{status} {}", String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn only_what_is_gone_or_of_an_old_key_is_removed_from_the_web() {
        for (status, is_of_old_key, meaning) in [
            (201, false, Meaning::Sent),
            (404, false, Meaning::Gone),
            (410, false, Meaning::Gone),
            (403, false, Meaning::Misconfigured),
            (401, true, Meaning::Gone),
            (413, false, Meaning::OurFault),
            (400, false, Meaning::Misconfigured),
            (429, false, Meaning::Again(Some(QUOTA_PAUSE))),
            (503, false, Meaning::Again(None)),
            (307, false, Meaning::Closed),
        ] {
            assert_eq!(of_web_push(status, None, is_of_old_key).meaning, meaning, "{status}");
        }
    }
}
