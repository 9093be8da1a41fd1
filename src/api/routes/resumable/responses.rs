//! What is answered when nothing is wrong, in the headers of TUS.

use poem_openapi::ApiResponse;

#[derive(ApiResponse)]
pub(super) enum Described {
    /// What is supported.
    #[oai(status = 204)]
    Support(
        /// `1.0.0`.
        #[oai(header = "Tus-Version")]
        String,
        /// `creation,expiration,termination`.
        #[oai(header = "Tus-Extension")]
        String,
        /// The largest file, in bytes.
        #[oai(header = "Tus-Max-Size")]
        u64,
    ),
}

#[derive(ApiResponse)]
pub(super) enum Begun {
    /// The upload has begun.
    #[oai(status = 201)]
    Upload(
        /// Its path.
        #[oai(header = "Location")]
        String,
        /// When it is gone, finished or not.
        #[oai(header = "Upload-Expires")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(super) enum Progress {
    /// How far the upload is. When all has arrived, the file is there.
    #[oai(status = 200)]
    Offset(
        /// How many bytes have arrived.
        #[oai(header = "Upload-Offset")]
        i64,
        /// How many there will be.
        #[oai(header = "Upload-Length")]
        i64,
        /// As it was sent at the beginning.
        #[oai(header = "Upload-Metadata")]
        Option<String>,
        /// When it is gone.
        #[oai(header = "Upload-Expires")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(super) enum Continued {
    /// The bytes are kept. If they were the last ones, the file is there.
    #[oai(status = 204)]
    Offset(
        /// How many bytes have arrived.
        #[oai(header = "Upload-Offset")]
        u64,
        /// When it is gone.
        #[oai(header = "Upload-Expires")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(super) enum Terminated {
    /// Nothing is left of it.
    #[oai(status = 204)]
    Done,
}
