//! The problems of uploads that arrive in parts: those of every operation, and two of TUS.

use std::time::Duration;

use cura_app::files::{MAX_UNFINISHED_UPLOADS, ResumableError};
use poem::error::ResponseError as _;
use poem::http::{HeaderName, HeaderValue, StatusCode};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};

use crate::http::problem::Problem;

/// When to ask again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// A problem of an operation whose document names 412 and 423, too.
pub(super) struct TusProblem(Problem);

impl From<Problem> for TusProblem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<ResumableError> for TusProblem {
    fn from(error: ResumableError) -> Self {
        Self(error.into())
    }
}

impl From<ResumableError> for Problem {
    fn from(error: ResumableError) -> Self {
        match error {
            ResumableError::TooManyUnfinished(first_expires_in) => {
                let detail = "20 of your uploads are unfinished; finish or delete one first.";
                let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_uploads", detail);
                let limit = usize::try_from(MAX_UNFINISHED_UPLOADS).unwrap_or_default();
                problem.with_limit(limit).with_retry_after(first_expires_in)
            }
            ResumableError::WrongOffset => {
                let detail = "Another number of bytes has arrived; ask for the offset with HEAD.";
                Self::new(StatusCode::CONFLICT, "wrong_offset", detail)
            }
            ResumableError::TooLarge => Self::too_large(),
            ResumableError::Busy => busy(),
            ResumableError::Upload(error) => error.into(),
        }
    }
}

/// 423: somebody else is at it.
fn busy() -> Problem {
    let detail = "All has arrived, and another request makes the file of it; please ask again.";
    Problem::new(StatusCode::LOCKED, "upload_busy", detail).with_retry_after(ASK_AGAIN_AFTER)
}

/// What `HEAD` answers if the file of an upload that has arrived was not made: that the client is to blame for, as it is; else 423. Clients
/// of TUS ask again after this, and begin anew after any other error.
pub(super) fn locked(problem: Problem, offset: i64) -> TusProblem {
    let code = match problem.status() {
        StatusCode::LOCKED | StatusCode::TOO_MANY_REQUESTS => "upload_busy",
        status if status.is_client_error() => return problem.into(),
        _ => problem.code(),
    };
    let detail = "All has arrived, but the file cannot be made at the moment; please ask again.";
    let problem = Problem::new(StatusCode::LOCKED, code, detail);
    let problem = problem.with_header(UPLOAD_OFFSET, HeaderValue::from(offset));
    problem.with_retry_after(ASK_AGAIN_AFTER).into()
}

impl From<TusProblem> for poem::Error {
    fn from(problem: TusProblem) -> Self {
        problem.0.into()
    }
}

impl ApiResponse for TusProblem {
    fn meta() -> MetaResponses {
        let mut meta = Problem::meta();
        let alike = |status, description| {
            let content = meta.responses.first().into_iter().flat_map(|known| &known.content);
            let content = content.map(|media| MetaMediaType {
                content_type: media.content_type,
                schema: media.schema.clone(),
            });
            MetaResponse {
                description,
                status: Some(status),
                status_range: None,
                content: content.collect(),
                headers: vec![],
            }
        };
        let version = alike(
            412,
            "`Tus-Resumable` is missing, or another version; see `Tus-Version`.",
        );
        let locked = alike(
            423,
            "All has arrived, and is no file yet: ask again; see `Retry-After`. `upload_busy` while another request makes the file.",
        );
        meta.responses.extend([version, locked]);
        meta.responses.sort_by_key(|response| response.status);
        meta
    }

    fn register(registry: &mut Registry) {
        Problem::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_423_and_says_why() {
        let of = |problem: Problem| locked(problem, 7).0;
        for (problem, code) in [
            (ResumableError::Busy.into(), "upload_busy"),
            (
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_uploads", ""),
                "upload_busy",
            ),
            (Problem::storage_unavailable(), "storage_unavailable"),
            (Problem::internal(), "internal_error"),
        ] {
            let problem = of(problem);
            assert_eq!((problem.status(), problem.code()), (StatusCode::LOCKED, code));
        }
        let mine = of(Problem::not_found("file_not_found", ""));
        assert_eq!((mine.status(), mine.code()), (StatusCode::NOT_FOUND, "file_not_found"));
    }
}
