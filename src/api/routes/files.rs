//! `/files/{id}`: what signed links lead to, and `/files/avatars/{key}`, for `<img>` and downloads, which send no token.

use std::io;

use cura_app::App;
use cura_app::files::{AvatarSize, Lifetime, ServeError, ServedFile};
use futures_util::TryStreamExt as _;
use poem::http::{HeaderMap, StatusCode, header};
use poem::web::Data;
use poem::web::headers::{ETag, HeaderMapExt, IfNoneMatch};
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Enum, OpenApi};

use crate::http::byte_range::{Part, wanted_part};
use crate::http::operation::Operation;
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;
use crate::routes::tag::Tag;

/// What a browser may do with a file that it shows: nothing.
const SECURITY_POLICY: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";
/// Everything that can be uploaded.
const MEDIA_TYPES: [&str; 7] = [
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "application/pdf",
    "application/msword",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
];

pub(crate) struct FilesApi;

#[OpenApi(prefix_path = "/files", tag = "Tag::Uploads")]
impl FilesApi {
    /// Download a file
    ///
    /// By `url` and `thumbnail_url` of an upload, as they are: without signing in. A link is good for an hour at most. A link that was
    /// changed or has expired, a file that is gone, or an owner who is suspended: 404 `file_not_found`; ask for the upload to get a new
    /// link. `Range`, `If-Range` and `If-None-Match` are obeyed, so a download can go on where it was cut. `HEAD` gives the headers
    /// alone. A server may redirect (302) to its file store for a minute. Links that work cost nothing; forged ones cost the default
    /// limit, by address.
    #[oai(path = "/:file_id", method = "get", operation_id = "downloadFile")]
    async fn download(
        &self,
        app: Data<&App>,
        rate_limit: &RateLimit,
        request: &Request,
        #[oai(name = "file_id")] _file_id: Path<i64>,
        /// `original` or `thumb`.
        v: Query<Option<String>>,
        /// When the link expires, in seconds since 1970.
        exp: Query<Option<String>>,
        /// Its signature.
        sig: Query<Option<String>>,
    ) -> Result<FileResponse, Problem> {
        let [v, exp, sig] = [&v.0, &exp.0, &sig.0].map(|text| text.as_deref().unwrap_or_default());
        // As it came, not as it was understood: `+7` is no part of a link.
        let file_id = request.uri().path().rsplit('/').next().unwrap_or_default();
        let file = match app.files.find_served(file_id, v, exp, sig).await {
            Ok(file) => file,
            // Who guesses pays, who has or had a link does not.
            Err(ServeError::Forged) => {
                rate_limit.charge_address().await?;
                return Err(ServeError::Forged.into());
            }
            Err(error) => {
                rate_limit.excuse();
                return Err(error.into());
            }
        };
        rate_limit.excuse();
        respond(&app, request, file).await.map(FileResponse)
    }

    /// Show an avatar
    ///
    /// By the `avatar_url` of a user: without signing in. What is at an address never changes, so it can be cached for ever; once the
    /// picture was replaced or deleted it is a 404 `file_not_found`. It is a JPEG, or a PNG where something is transparent. `Range` and
    /// `If-None-Match` are obeyed. `HEAD` gives the headers alone. A picture that is there costs nothing; a wrong address costs the
    /// default limit, by address.
    #[oai(path = "/avatars/:key", method = "get", operation_id = "showAvatar")]
    async fn show_avatar(
        &self,
        app: Data<&App>,
        rate_limit: &RateLimit,
        request: &Request,
        key: Path<String>,
        /// In pixels; default 512.
        size: Query<Option<SizeView>>,
    ) -> Result<FileResponse, Problem> {
        let size = size.0.unwrap_or(SizeView::Large).into();
        let file = match app.avatars.find_served(&key.0, size).await {
            Ok(file) => file,
            Err(error) => {
                if matches!(error, ServeError::Forged | ServeError::NotFound) {
                    rate_limit.charge_address().await?;
                }
                return Err(error.into());
            }
        };
        respond(&app, request, file).await.map(FileResponse)
    }
}

/// A side of an avatar, in pixels.
#[derive(Enum, Clone, Copy)]
#[oai(rename = "AvatarSize")]
enum SizeView {
    #[oai(rename = "512")]
    Large,
    #[oai(rename = "128")]
    Small,
}

impl From<SizeView> for AvatarSize {
    fn from(size: SizeView) -> Self {
        match size {
            SizeView::Large => Self::Large,
            SizeView::Small => Self::Small,
        }
    }
}

/// The file, a part of it, or where it is.
struct FileResponse(Response);

async fn respond(app: &App, request: &Request, file: ServedFile) -> Result<Response, Problem> {
    let text = format!("\"{}\"", file.tag);
    let tag: ETag = text.parse().map_err(|_| Problem::internal())?;
    let head = Response::builder()
        .header(header::ETAG, &text)
        .header(header::CACHE_CONTROL, cache_control(file.lifetime));
    if has_already(request.headers(), &tag) {
        return Ok(head.status(StatusCode::NOT_MODIFIED).finish());
    }
    let is_head = Operation::of(request).is_head();
    // An address at the store is good for GET only.
    if !is_head && let Some(address) = app.files.redirect_of(&file).await? {
        let redirect = Response::builder().header(header::CACHE_CONTROL, "no-store");
        return Ok(redirect
            .status(StatusCode::FOUND)
            .header(header::LOCATION, address)
            .finish());
    }
    let part = if is_head {
        Part::Whole
    } else {
        wanted_part(request.headers(), file.size, &tag)
    };
    let head = head
        .content_type(&file.media_type)
        .header(header::CONTENT_DISPOSITION, file.disposition())
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::CONTENT_SECURITY_POLICY, SECURITY_POLICY)
        // Pages of other origins show it: the link is what they need to know.
        .header("cross-origin-resource-policy", "cross-origin")
        .header(header::ACCEPT_RANGES, "bytes");
    let (head, range, length) = match part {
        Part::Whole => (head, None, file.size),
        Part::Bytes(range) => {
            let named = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
            let head = head
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, named);
            let length = range.end - range.start;
            (head, Some(range), length)
        }
        Part::Unsatisfiable => return Err(Problem::range_not_satisfiable(file.size)),
    };
    let head = head.header(header::CONTENT_LENGTH, length);
    if is_head {
        return Ok(head.finish());
    }
    let opened = app.files.open_served(&file, range).await?;
    Ok(head.body(Body::from_bytes_stream(opened.bytes.map_err(io::Error::other))))
}

fn cache_control(lifetime: Lifetime) -> String {
    match lifetime {
        Lifetime::Seconds(seconds) => format!("private, max-age={seconds}"),
        // A year, the most that is usual.
        Lifetime::Forever => "public, max-age=31536000, immutable".to_owned(),
    }
}

fn has_already(headers: &HeaderMap, tag: &ETag) -> bool {
    let known = headers.typed_get::<IfNoneMatch>();
    known.is_some_and(|known| !known.precondition_passes(tag))
}

impl From<ServeError> for Problem {
    fn from(error: ServeError) -> Self {
        match error {
            // Which of them it is says nothing to who guesses.
            ServeError::Forged | ServeError::Expired | ServeError::NotFound => {
                let detail = "There is no such file, or its link was changed or has expired: use `url` as it is, and ask for a new one.";
                Self::not_found("file_not_found", detail)
            }
            ServeError::FileStoreUnavailable => Self::storage_unavailable(),
            ServeError::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for FileResponse {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for FileResponse {
    fn meta() -> MetaResponses {
        let header = |name: &str, description: &str| MetaHeader {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            required: true,
            deprecated: false,
            schema: String::schema_ref(),
        };
        let answer = |status, description, content, headers| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content,
            headers,
        };
        let bytes = || {
            let binary = |content_type| MetaMediaType {
                content_type,
                schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary"))),
            };
            MEDIA_TYPES.map(binary).into()
        };
        let tag = || header("ETag", "The same for the same bytes.");
        MetaResponses {
            responses: vec![
                answer(200, "The file.", bytes(), vec![tag()]),
                answer(
                    206,
                    "The part of the file that `Range` names; of several, everything is sent.",
                    bytes(),
                    vec![tag(), header("Content-Range", "Which part it is.")],
                ),
                answer(
                    302,
                    "The file is at this address of the file store for a minute.",
                    Vec::new(),
                    vec![header("Location", "The address.")],
                ),
                answer(
                    304,
                    "The client has it, as `If-None-Match` says.",
                    Vec::new(),
                    vec![tag()],
                ),
                answer(
                    416,
                    "The range begins behind the end of the file.",
                    Vec::new(),
                    vec![header("Content-Range", "How large the file is.")],
                ),
            ],
        }
    }

    fn register(_: &mut Registry) {}
}
