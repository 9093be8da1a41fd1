//! Refusals, which all look alike.

use crate::Reply;

/// Checks that this is a problem as RFC 9457 has it: complete, and of the request that was sent.
///
/// # Panics
/// When it is not; says `what` was answered so.
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
