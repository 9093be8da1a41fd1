//! `/uploads`: files of the user: uploading, reading, listing and deleting them.

use cura_app::App;
use cura_app::files::{FileError, NewUpload, UploadError};
use cura_domain::file_type::Refusal;
use cura_domain::switch::Switch;
use cura_domain::{FileId, MessageId};
use poem::Request;
use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::http::caller::SignedIn;
use crate::http::multipart::FileForm;
use crate::http::paging::{DEFAULT_LIMIT, PageLinks, read_cursor};
use crate::http::problem::{FieldError, Problem};
use crate::realtime::user_connections::UserConnections;
use crate::routes::answer_response::read_key;
use crate::routes::tag::Tag;
use crate::views::attachment::AttachmentView;

pub(crate) struct UploadsApi;

/// A page of files.
#[derive(Object)]
struct UploadPage {
    /// The files of this page.
    items: Vec<AttachmentView>,
    /// Pass it as `cursor` to get the next page.
    next_cursor: Option<String>,
    /// Whether there is a next page.
    has_more: bool,
}

#[derive(ApiResponse)]
enum FileUploaded {
    /// The file is kept, and will be scanned.
    #[oai(status = 201)]
    Kept(
        Json<AttachmentView>,
        /// Its path.
        #[oai(header = "Location")]
        String,
        /// `true` if an earlier request with this key had uploaded it.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

#[derive(ApiResponse)]
enum UploadList {
    /// A page.
    #[oai(status = 200)]
    Page(
        Json<UploadPage>,
        /// The number of items on all pages.
        #[oai(header = "X-Total-Count")]
        i64,
        /// The link to the next page.
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[derive(ApiResponse)]
enum UploadDeleted {
    /// The file is deleted.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/uploads", tag = "Tag::Uploads")]
impl UploadsApi {
    /// Upload a file
    ///
    /// JPEG, PNG, GIF, WebP, PDF, DOC or DOCX, by its content: its name and its type in the form are not believed. At most 10 MiB, within
    /// 10 minutes and without 15 seconds of silence (408); 4 files of a user may arrive at once. The file is `scanning` first and can be
    /// attached to a message at once; an `upload` event says when it is `clean`, `infected` or `failed`. With an `Idempotency-Key`, a
    /// request that is repeated within 24 hours with the same file, name and `message_id` returns the file of the first one
    /// (`Idempotent-Replayed: true`); with others it is a 422 `idempotency_key_reused`. A full account is a 413 `storage_quota_exceeded`;
    /// 403 `uploads_closed` while an operator lets nobody upload. Costs the upload limit, 10 a minute by user unless set otherwise.
    #[oai(path = "/file", method = "post", operation_id = "uploadFile")]
    async fn upload(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        connections: Data<&UserConnections>,
        request: &Request,
        /// The client's key for this request. A repeated request with the same key and file returns what the first one has uploaded.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        form: FileForm,
    ) -> Result<FileUploaded, Problem> {
        app.switches.require(Switch::Uploads)?;
        let key = read_key(idempotency_key.0)?;
        let place = connections.open_upload(caller.0.user)?;
        let received = form.receive(request, app.files.arrival()).await?;
        let upload = NewUpload {
            size: received.file.size,
            sha256: received.file.sha256,
            raw_name: received.raw_name,
            message: received.message_id.map(MessageId),
            key,
        };
        let kept = app.files.upload(caller.0, received.file.content, upload, place).await?;
        let location = format!("/uploads/{}", kept.file.file.id);
        let replayed = kept.replayed.then_some(true);
        Ok(FileUploaded::Kept(Json(kept.file.into()), location, replayed))
    }

    /// List my files, newest first
    ///
    /// All files of the user, those that are scanned or were refused by the scan included. One that has arrived in parts is where it was
    /// begun; one that is still arriving is not listed. Pass `next_cursor` as `cursor` for the next page. Costs one request of the
    /// default limit.
    #[oai(path = "/", method = "get", operation_id = "listUploads")]
    async fn list(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        /// The most items on a page; default 20.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<UploadList, Problem> {
        let limit = limit.0.unwrap_or(DEFAULT_LIMIT);
        let before = read_cursor::<FileId>(cursor.0.as_deref())?;
        let wanted = u32::try_from(limit).unwrap_or(1);
        let page = app.files.list(caller.0, before, wanted).await?;
        let links = PageLinks::of(&page, "/uploads", &[("limit", &limit.to_string())]);
        let body = UploadPage {
            items: page.items.into_iter().map(Into::into).collect(),
            has_more: links.next_cursor.is_some(),
            next_cursor: links.next_cursor,
        };
        Ok(UploadList::Page(Json(body), links.total, links.link))
    }

    /// Get a file's state
    ///
    /// What is known of a file, and fresh links to it while it is `clean`. A file that is deleted or another user's is a 404
    /// `file_not_found`. Costs one request of the default limit.
    #[oai(path = "/:upload_id", method = "get", operation_id = "getUpload")]
    async fn get(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        upload_id: Path<i64>,
    ) -> Result<Json<AttachmentView>, Problem> {
        Ok(Json(app.files.get(caller.0, FileId(upload_id.0)).await?.into()))
    }

    /// Delete a file
    ///
    /// It is gone at once, from its messages, too, and its links lead to nothing. An export that contains it is deleted with it. This
    /// cannot be undone. Repeated, it is a 404 `file_not_found`, which after a lost response means success. Costs one request of the
    /// default limit.
    #[oai(path = "/:upload_id", method = "delete", operation_id = "deleteUpload")]
    async fn delete(&self, caller: SignedIn, app: Data<&App>, upload_id: Path<i64>) -> Result<UploadDeleted, Problem> {
        app.files.delete(caller.0, FileId(upload_id.0)).await?;
        Ok(UploadDeleted::Done)
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NotFound => Self::file_not_found(),
            FileError::Store(error) => error.into(),
        }
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::NotSignedIn => Self::not_signed_in(),
            UploadError::Suspended => Self::suspended(),
            UploadError::Refused(refusal) => refused(refusal),
            UploadError::MessageNotFound => Self::message_not_found(),
            UploadError::MessageIsFull => {
                let detail = "must be a message with fewer than 10 files";
                Self::invalid(vec![FieldError::new("/message_id", "too_many", detail)])
            }
            UploadError::QuotaExceeded => {
                let detail = "Your files take as much room as they may; delete some first.";
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "storage_quota_exceeded", detail)
            }
            UploadError::KeyReused => Self::key_reused(),
            UploadError::FileNotFound => Self::file_not_found(),
            UploadError::FileStoreUnavailable | UploadError::Superseded => Self::storage_unavailable(),
            UploadError::Content(error) => {
                tracing::error!(error = %error.kind(), "an upload that has arrived cannot be read");
                Self::storage_unavailable()
            }
            // Which was logged where it happened.
            UploadError::Panicked => Self::internal(),
            UploadError::Store(error) => error.into(),
        }
    }
}

/// What a person can do about a file that is not taken is its detail.
fn refused(refusal: Refusal) -> Problem {
    let (status, code) = match refusal {
        Refusal::Unsupported { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_file_type"),
        Refusal::Damaged => (StatusCode::UNPROCESSABLE_ENTITY, "damaged_file"),
    };
    Problem::new(status, code, refusal.to_string())
}
