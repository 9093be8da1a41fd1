//! The problems of uploads that arrive in parts: those of every operation, and two of TUS.

use cura_app::files::ResumableError;
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};

use crate::http::problem::Problem;

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
            "All has arrived, and is no file yet: ask again; see `Retry-After`.",
        );
        meta.responses.extend([version, locked]);
        meta.responses.sort_by_key(|response| response.status);
        meta
    }

    fn register(registry: &mut Registry) {
        Problem::register(registry);
    }
}
