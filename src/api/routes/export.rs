//! The archive of everything somebody has, streamed in pieces as it is stored.

use cura_app::App;
use cura_app::exports::{Export, ReadyExport};
use futures_util::stream;
use poem::http::{StatusCode, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};
use poem_openapi::{ApiResponse, Enum, Object};

const ZIP: &str = "application/zip";
/// How long an archive of a usual size takes, in seconds.
const RETRY_AFTER: &str = "2";

/// How far an archive is.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum ExportState {
    /// It is being made.
    Making,
}

/// An archive that is being made.
#[derive(Object)]
#[oai(rename = "ExportStatus")]
struct ExportStatusView {
    status: ExportState,
}

/// The archive, or that it is being made.
pub(crate) struct ExportAnswer(Response);

impl ExportAnswer {
    pub(crate) fn of(export: Export, app: App) -> Self {
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
    let pieces = stream::unfold((app, ready, 0_i32, 0_i64), |(app, ready, number, sent)| async move {
        match app.exports.part(&ready, number).await {
            Ok(Some(bytes)) => {
                let sent = sent.saturating_add(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
                Some((Ok(bytes), (app, ready, number + 1, sent)))
            }
            Ok(None) if sent >= ready.size => None,
            // Half an archive must not look like a whole one.
            Ok(None) => Some((
                Err(std::io::Error::other("the archive was forgotten")),
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
        .body(Body::from_bytes_stream(pieces))
}

impl IntoResponse for ExportAnswer {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for ExportAnswer {
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
                    "It is being made; ask again.",
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
