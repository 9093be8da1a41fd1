//! `/users/me/export`: the archive of all data of the caller, streamed as the file store gives it.

use std::io;

use cura_app::App;
use cura_app::exports::{Export, ExportError, ReadyExport};
use cura_app::session_watch::OpenSession;
use futures_util::{StreamExt as _, stream};
use poem::http::{StatusCode, header};
use poem::web::Data;
use poem::{Body, IntoResponse, Response};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};

use crate::http::caller::SignedIn;
use crate::http::problem::Problem;
use crate::routes::tag::Tag;

const ZIP: &str = "application/zip";
/// How long it takes to create an archive of usual size, in seconds.
const RETRY_AFTER: &str = "2";

/// The state of an archive.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum ExportState {
    /// It is being created.
    Making,
}

/// An archive that is being created.
#[derive(Object)]
#[oai(rename = "ExportStatus")]
struct ExportStatusView {
    /// Always `making`.
    status: ExportState,
}

#[derive(ApiResponse)]
enum ExportDeleted {
    /// The archive is deleted; the next call creates a new one.
    #[oai(status = 204)]
    Done,
}

pub(crate) struct ExportApi;

#[OpenApi(prefix_path = "/users", tag = "Tag::Accounts")]
impl ExportApi {
    /// Download my export
    ///
    /// A ZIP archive: JSON lines, the files that were scanned and found clean, and a manifest of checksums that names the files left out.
    /// The first call starts its creation and is a 202 with `Retry-After`: ask again, or wait for the `export` event. Once it is ready,
    /// the archive can be downloaded for an hour, as often as wanted; afterwards the next call creates a new one. A download that is cut
    /// off, because the session has ended or something in the archive was deleted, ends with an error and never looks complete. 503
    /// `storage_unavailable` while the archive cannot be stored. Costs one request of the default limit.
    #[oai(path = "/me/export", method = "get", operation_id = "exportMe")]
    async fn download(&self, caller: SignedIn, app: Data<&App>) -> Result<ExportResponse, Problem> {
        Ok(match app.exports.get_or_start(caller.0).await? {
            Export::Making => ExportResponse(making()),
            Export::Ready(ready) => {
                let session = app.session_watch.watch(caller.0).await;
                ExportResponse(archive(ready, session))
            }
        })
    }

    /// Delete my export
    ///
    /// Deletes the archive, also one that is being created; a download that is under way is cut off. The next `GET` creates one with the
    /// data of that time. It is a 204 also when there is none, so it can be repeated. Costs one request of the default limit.
    #[oai(path = "/me/export", method = "delete", operation_id = "deleteExport")]
    async fn delete(&self, caller: SignedIn, app: Data<&App>) -> Result<ExportDeleted, Problem> {
        app.exports.delete(caller.0).await?;
        Ok(ExportDeleted::Done)
    }
}

/// The archive, or its state.
struct ExportResponse(Response);

fn making() -> Response {
    let body = ExportStatusView {
        status: ExportState::Making,
    };
    Response::builder()
        .status(StatusCode::ACCEPTED)
        .content_type("application/json")
        .header(header::RETRY_AFTER, RETRY_AFTER)
        .body(body.to_json_string())
}

/// An archive on its way to a client, as long as the session stands. One that is cut off ends with an error: it must not look complete.
fn archive(ready: ReadyExport, session: OpenSession) -> Response {
    let hash: String = ready.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("cura-export-{}.zip", ready.created_at.format("%Y-%m-%d"));
    let size = ready.content.size;
    let pieces = stream::unfold(Some((ready.content.bytes, session)), |download| async {
        let (mut pieces, mut session) = download?;
        let piece = tokio::select! {
            biased;
            _ = session.revoked() => Err(io::Error::other("the session has ended")),
            piece = pieces.next() => piece?.map_err(io::Error::other),
        };
        let rest = piece.is_ok().then_some((pieces, session));
        Some((piece, rest))
    });
    Response::builder()
        .content_type(ZIP)
        .header(header::CONTENT_LENGTH, size)
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))
        .header(header::ETAG, format!("\"{hash}\""))
        .body(Body::from_bytes_stream(pieces))
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::FileStoreUnavailable => Self::storage_unavailable(),
            ExportError::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for ExportResponse {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for ExportResponse {
    fn meta() -> MetaResponses {
        let header = |name: &str, description: &str| MetaHeader {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            required: true,
            deprecated: false,
            schema: String::schema_ref(),
        };
        let answer = |status, description, content_type, schema, headers| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType { content_type, schema }],
            headers,
        };
        let binary = MetaSchemaRef::Inline(Box::new(poem_openapi::registry::MetaSchema::new_with_format(
            "string", "binary",
        )));
        MetaResponses {
            responses: vec![
                answer(
                    200,
                    "The archive.",
                    ZIP,
                    binary,
                    vec![header("ETag", "The archive's SHA-256, in hexadecimal.")],
                ),
                answer(
                    202,
                    "The archive is being created; try again.",
                    "application/json",
                    ExportStatusView::schema_ref(),
                    vec![header("Retry-After", "In seconds.")],
                ),
            ],
        }
    }

    fn register(registry: &mut Registry) {
        ExportStatusView::register(registry);
    }
}
