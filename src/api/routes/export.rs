//! `/users/me/export`: the archive of all data of the caller, streamed in parts as it is stored.

use cura_app::App;
use cura_app::exports::{Export, ReadyExport};
use futures_util::stream;
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
    /// A ZIP archive of JSON lines, with a manifest of checksums. The first call starts its creation; it is available for an hour.
    #[oai(path = "/me/export", method = "get", operation_id = "exportMe")]
    async fn download(&self, caller: SignedIn, app: Data<&App>) -> Result<ExportResponse, Problem> {
        Ok(ExportResponse::of(
            app.exports.get_or_start(caller.0).await?,
            app.clone(),
        ))
    }

    /// Delete my export
    ///
    /// The next one contains the data of that time.
    #[oai(path = "/me/export", method = "delete", operation_id = "deleteExport")]
    async fn delete(&self, caller: SignedIn, app: Data<&App>) -> Result<ExportDeleted, Problem> {
        app.exports.delete(caller.0).await?;
        Ok(ExportDeleted::Done)
    }
}

/// The archive, or its state.
struct ExportResponse(Response);

impl ExportResponse {
    fn of(export: Export, app: App) -> Self {
        Self(match export {
            Export::Making => {
                let body = ExportStatusView {
                    status: ExportState::Making,
                };
                Response::builder()
                    .status(StatusCode::ACCEPTED)
                    .content_type("application/json")
                    .header(header::RETRY_AFTER, RETRY_AFTER)
                    .body(body.to_json_string())
            }
            Export::Ready(ready) => archive(ready, app),
        })
    }
}

fn archive(ready: ReadyExport, app: App) -> Response {
    let hash: String = ready.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("cura-export-{}.zip", ready.created_at.format("%Y-%m-%d"));
    let size = ready.size;
    let parts = stream::unfold((app, ready, 0_i32, 0_i64), |(app, ready, number, sent)| async move {
        match app.exports.part(&ready, number).await {
            Ok(Some(bytes)) => {
                let sent = sent.saturating_add(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
                Some((Ok(bytes), (app, ready, number + 1, sent)))
            }
            Ok(None) if sent >= ready.size => None,
            // A truncated archive must not look complete.
            Ok(None) => Some((
                Err(std::io::Error::other("the archive was deleted")),
                (app, ready, number, i64::MAX),
            )),
            Err(error) => Some((Err(std::io::Error::other(error)), (app, ready, number, i64::MAX))),
        }
    });
    Response::builder()
        .content_type(ZIP)
        .header(header::CONTENT_LENGTH, size)
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))
        .header(header::ETAG, format!("\"{hash}\""))
        .body(Body::from_bytes_stream(parts))
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
