//! `/uploads/resumable`: uploads that arrive in parts, by TUS 1.0 (tus.io), for networks on which one request does not come through.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_app::App;
use cura_app::files::{ResumableError, UploadMetadata};
use cura_domain::FileId;
use cura_domain::file::MAX_FILE_BYTES;
use cura_domain::switch::Switch;
use poem::Request;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::problem::TusProblem;
use self::responses::{Begun, Continued, Described, Progress, Terminated};
use crate::http::arriving_parts::ArrivingParts;
use crate::http::caller::SignedIn;
use crate::http::part_body::PartBody;
use crate::http::problem::Problem;
use crate::http::tus;
use crate::realtime::user_connections::UserConnections;
use crate::routes::tag::Tag;

mod problem;
mod responses;

/// How long a client that asks how far its upload is waits for the file that is made of it.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct ResumableApi;

#[OpenApi(
    prefix_path = "/uploads/resumable",
    tag = "Tag::Uploads",
    response_header(name = "Tus-Resumable", ty = "String", description = "`1.0.0`, in every response.")
)]
impl ResumableApi {
    /// Ask what is supported
    ///
    /// Of TUS 1.0: the version, the extensions creation, expiration and termination, and the largest file. Nobody signs in. Costs one
    /// request of the default limit, counted by address.
    #[oai(path = "/", method = "options", operation_id = "describeResumableUploads")]
    async fn describe(&self) -> Described {
        Described::Support(tus::VERSION.to_owned(), tus::EXTENSIONS.to_owned(), MAX_FILE_BYTES)
    }

    /// Begin an upload in parts
    ///
    /// By TUS 1.0 (tus.io), for the same files as `/uploads/file`: what has arrived stays when the connection breaks, for 24 hours.
    /// `Tus-Resumable: 1.0.0` is required, else it is a 412. Send the bytes with `PATCH` to `Location`. At most 20 of a user are
    /// unfinished (429 `too_many_uploads`). Each request begins another upload. Costs the upload limit once, 10 a minute by user unless
    /// set otherwise. 403 `uploads_closed` while an operator lets nobody upload; what was begun can go on.
    #[oai(path = "/", method = "post", operation_id = "createResumableUpload")]
    async fn create(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        request: &Request,
        /// Required: `1.0.0`.
        #[oai(name = "Tus-Resumable")]
        _tus_resumable: Header<Option<String>>,
        /// Required: the number of bytes, at most 10 MiB.
        #[oai(name = "Upload-Length")]
        upload_length: Header<Option<String>>,
        /// `filename` and `message_id`, a message of mine that the file belongs to, both in base64. Other keys are kept and mean nothing.
        #[oai(name = "Upload-Metadata")]
        upload_metadata: Header<Option<String>>,
    ) -> Result<Begun, TusProblem> {
        tus::check_version(request)?;
        app.switches.require(Switch::Uploads).map_err(Problem::from)?;
        let length = tus::upload_length(request, upload_length.0.as_deref())?;
        let metadata = UploadMetadata::parse(upload_metadata.0.as_deref().unwrap_or_default());
        let metadata =
            metadata.map_err(|error| tus::malformed(&format!("Upload-Metadata cannot be read: {error}.")))?;
        let upload = app.files.begin_resumable(caller.0, length, &metadata).await?;
        let location = format!("{}/{}", tus::PATH, upload.id);
        Ok(Begun::Upload(location, http_date(upload.expires_at)))
    }

    /// Ask how far an upload is
    ///
    /// The next part begins at `Upload-Offset`. `Tus-Resumable: 1.0.0` is required, else it is a 412. If all has arrived, but the file
    /// could not be made yet, this tries it again, for up to 20 seconds; if that fails it is a 423 (`upload_busy` while another request
    /// makes it or too many of yours arrive, else the code of what is away), and is to be asked again after `Retry-After`. An upload that
    /// has expired or is another user's is a 404 `file_not_found`. It can be repeated. Costs one request of the default limit.
    #[oai(path = "/:upload_id", method = "head", operation_id = "getResumableUpload")]
    async fn head(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        connections: Data<&UserConnections>,
        request: &Request,
        upload_id: Path<i64>,
        /// Required: `1.0.0`.
        #[oai(name = "Tus-Resumable")]
        _tus_resumable: Header<Option<String>>,
    ) -> Result<Progress, TusProblem> {
        tus::check_version(request)?;
        let id = FileId(upload_id.0);
        let upload = app.files.find_resumable(caller.0, id).await?;
        if upload.received == upload.length && !upload.is_file {
            // Whoever is told that all is there does not send anything any more.
            let locked = |problem| problem::locked(problem, upload.received);
            let place = connections.open_upload(caller.0.user).map_err(locked)?;
            let completing = app.files.complete_resumable(caller.0, id, place);
            let completed = tokio::time::timeout(COMPLETION_TIMEOUT, completing).await;
            completed
                .unwrap_or(Err(ResumableError::Busy))
                .map_err(|error| locked(error.into()))?;
        }
        Ok(Progress::Offset(
            upload.received,
            upload.length,
            Some(upload.metadata).filter(|metadata| !metadata.is_empty()),
            http_date(upload.expires_at),
        ))
    }

    /// Go on with an upload
    ///
    /// Adds bytes at `Upload-Offset`, which has to be what `HEAD` says: another number is a 409 `wrong_offset`. What arrives is kept as
    /// it comes, also when the request is cut: ask with `HEAD` and go on. A new request takes over from one that hangs. The response to
    /// the last bytes, or to an empty body behind them, is that of `/uploads/file`: once it is 204, `/uploads/{upload_id}` has the file.
    /// A file that is not taken (415, 422, 413) is gone, with all its parts. `Tus-Resumable: 1.0.0` is required, else it is a 412. At
    /// most 10 minutes a request, without 15 seconds of silence. Costs one request of the default limit.
    #[oai(path = "/:upload_id", method = "patch", operation_id = "continueResumableUpload")]
    #[expect(clippy::too_many_arguments, reason = "one for each part of the request")]
    async fn patch(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        connections: Data<&UserConnections>,
        arriving: Data<&ArrivingParts>,
        request: &Request,
        upload_id: Path<i64>,
        /// Required: `1.0.0`.
        #[oai(name = "Tus-Resumable")]
        _tus_resumable: Header<Option<String>>,
        /// Required: how many bytes have arrived before. Another number: 409.
        #[oai(name = "Upload-Offset")]
        upload_offset: Header<Option<String>>,
        body: PartBody,
    ) -> Result<Continued, TusProblem> {
        let (caller, id) = (caller.0, FileId(upload_id.0));
        let offset = tus::upload_offset(upload_offset.0.as_deref())?;
        let mut appending = app.files.append_resumable(caller, id, offset).await?;
        let expires_at = appending.expires_at();
        if tus::content_length(request).is_some_and(|length| length > appending.missing()) {
            // Before a byte of it is read.
            return Err(ResumableError::TooLarge.into());
        }
        if arriving.take_over(id).await {
            // It has written what it had.
            appending = app.files.append_resumable(caller, id, offset).await?;
        }
        let place = connections.open_upload(caller.user)?;
        let part = arriving.enter(id);
        let files = app.files.clone();
        // In a task: what has come when the client leaves is written, and made a file if it is all.
        let receiving = async move {
            let received = body.receive(&mut appending, &part).await;
            let offset = appending.offset();
            // Also where only the end of the request is missing. Else its place is free before anybody learns that it has ended.
            let completing = appending.is_complete().then_some(place);
            drop(part);
            if let Some(place) = completing {
                files.complete_resumable(caller, id, place).await?;
            }
            received.map(|()| offset)
        };
        let received = TaskTracker::new().spawn(receiving.in_current_span()).await;
        let offset = received.map_err(|_| Problem::internal())??;
        Ok(Continued::Offset(offset, http_date(expires_at)))
    }

    /// Give an upload up
    ///
    /// What has arrived is deleted, and the file, if all had. `Tus-Resumable: 1.0.0` is required, else it is a 412. Repeated, it is a 404
    /// `file_not_found`, which after a lost response means success. Costs one request of the default limit.
    #[oai(path = "/:upload_id", method = "delete", operation_id = "deleteResumableUpload")]
    async fn delete(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        request: &Request,
        upload_id: Path<i64>,
        /// Required: `1.0.0`.
        #[oai(name = "Tus-Resumable")]
        _tus_resumable: Header<Option<String>>,
    ) -> Result<Terminated, TusProblem> {
        tus::check_version(request)?;
        app.files.terminate_resumable(caller.0, FileId(upload_id.0)).await?;
        Ok(Terminated::Done)
    }
}

/// As in HTTP: `Mon, 30 Nov 2026 04:00:00 GMT`.
fn http_date(time: DateTime<Utc>) -> String {
    httpdate::fmt_http_date(time.into())
}
