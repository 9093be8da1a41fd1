//! The statuses, besides success, that the OpenAPI document lists for every operation.

use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use super::Problem;
use super::view::ProblemView;

pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

const STATUSES: [(u16, &str); 14] = [
    (400, "The request cannot be read."),
    (401, "There is no valid access token."),
    (403, "The caller is signed in, but not allowed to do this."),
    (404, "Not found, or it belongs to another user."),
    (405, "The path does not have this method; see `Allow`."),
    (406, "The path cannot produce any accepted content type."),
    (408, "The body took too long to arrive."),
    (409, "The request conflicts with the current state."),
    (413, "The body is too large."),
    (415, "The operation does not accept this content type."),
    (422, "Some fields are invalid."),
    (429, "A limit is reached; see `Retry-After` and `RateLimit-*`."),
    (500, "Internal server error."),
    (503, "A dependency is unavailable; see `Retry-After`."),
];

impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        let response = |(status, description): (u16, &'static str)| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: CONTENT_TYPE,
                schema: ProblemView::schema_ref(),
            }],
            headers: vec![],
        };
        MetaResponses {
            responses: STATUSES.into_iter().map(response).collect(),
        }
    }

    fn register(registry: &mut Registry) {
        ProblemView::register(registry);
    }
}
