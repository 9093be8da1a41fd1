//! The form that all problems share.

use crate::Reply;

/// Checks that the reply is a complete problem (RFC 9457) and carries the id of its request.
///
/// # Panics
/// If it is not; `what` names the request.
pub fn assert_problem(reply: &Reply, status: u16, what: &str) {
    assert_eq!(reply.status, status, "{what}: {}", reply.body);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{what}");
    for field in ["type", "title", "detail", "code"] {
        assert!(reply.body[field].is_string(), "{what} has no {field}: {}", reply.body);
    }
    assert_eq!(reply.body["status"], status, "{what}");
    assert_eq!(
        reply.body["request_id"].as_str(),
        reply.header("x-request-id"),
        "{what}"
    );
}
