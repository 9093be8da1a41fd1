//! S3, and servers that speak its protocol: MinIO, R2, Ceph and others.
//!
//! `object_store` signs addresses, and our own client goes there: its `put` wants the whole file in memory, and its retries would take
//! longer than a call may.

use std::fs::File;
use std::ops::Range;
use std::str;
use std::sync::Arc;
use std::time::Duration;

use cura_domain::object_key::ObjectKey;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use reqwest::{Method, header};
use secrecy::ExposeSecret;
use url::Url;

use super::attachment::attachment;
use super::bucket::{Bucket, Region};
use super::error::{FileStoreError, InvalidFileStore, code};
use super::http::{Fault, Http};
use super::opened::OpenedFile;
use super::timeouts::FileStoreTimeouts;
use super::url::StoreUrl;
use crate::Secret;

/// How long our own requests are valid, by the store's clock: it may be a quarter of an hour behind or ahead.
const VALID_FOR: Duration = Duration::from_secs(15 * 60);
/// What is asked for to check the store. It is no key of a file.
const NO_FILE: &str = "cura-check";

/// Where a bucket is, and whose it is.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The server; `None` for Amazon's own.
    pub endpoint: Option<StoreUrl>,
    /// The region, also where a server knows only one.
    pub region: Region,
    /// The bucket.
    pub bucket: Bucket,
    /// Who we are.
    pub access_key_id: Secret,
    /// What requests are signed with.
    pub secret_access_key: Secret,
}

/// A bucket. Cheap to clone.
#[derive(Clone)]
pub(super) struct S3 {
    http: Http,
    signer: Arc<AmazonS3>,
}

impl S3 {
    pub(super) fn new(config: &S3Config, timeouts: FileStoreTimeouts) -> Result<Self, InvalidFileStore> {
        let [id, secret] = [&config.access_key_id, &config.secret_access_key].map(ExposeSecret::expose_secret);
        let is_sendable = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
        if ![id, secret].into_iter().all(is_sendable) {
            return Err(InvalidFileStore::NotSendable);
        }
        let bucket = config.bucket.as_str();
        let builder = AmazonS3Builder::new()
            .with_region(config.region.as_str())
            .with_bucket_name(bucket)
            .with_access_key_id(id)
            .with_secret_access_key(secret);
        let builder = match &config.endpoint {
            Some(endpoint) => builder
                .with_endpoint(endpoint.as_str())
                .with_allow_http(endpoint.as_str().starts_with("http://")),
            // No certificate of Amazon's is for a name with further dots.
            None => builder.with_virtual_hosted_style_request(!bucket.contains('.')),
        };
        Ok(Self {
            http: Http::new(timeouts, judge)?,
            signer: Arc::new(builder.build().map_err(|_| InvalidFileStore::NotSendable)?),
        })
    }

    pub(super) async fn put(
        &self,
        key: &ObjectKey,
        source: File,
        size: u64,
        content_type: &str,
    ) -> Result<(), FileStoreError> {
        let content_type =
            header::HeaderValue::from_str(content_type).map_err(|_| FileStoreError::refused("no_content_type"))?;
        let options = SignedUrlOptions::new().with_signed_header(header::CONTENT_TYPE, content_type.clone());
        let url = self.sign(Method::PUT, key.as_str(), VALID_FOR, options).await?;
        let request = self.http.client().put(url).header(header::CONTENT_TYPE, content_type);
        let uploaded = self.http.upload(request, source, size).await;
        uploaded.map_err(FileStoreError::never_missing)
    }

    pub(super) async fn open(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<OpenedFile, FileStoreError> {
        let url = self.own(Method::GET, key.as_str()).await?;
        self.http.open(self.http.client().get(url), range).await
    }

    pub(super) async fn delete(&self, key: &ObjectKey) -> Result<(), FileStoreError> {
        let url = self.own(Method::DELETE, key.as_str()).await?;
        self.call(Method::DELETE, url, self.http.timeouts().call).await
    }

    pub(super) async fn link(
        &self,
        key: &ObjectKey,
        file_name: &str,
        content_type: &str,
        lifetime: Duration,
    ) -> Result<Url, FileStoreError> {
        let options = SignedUrlOptions::new().with_query([
            ("response-content-disposition", attachment(file_name)),
            ("response-content-type", content_type.to_owned()),
        ]);
        self.sign(Method::GET, key.as_str(), lifetime, options).await
    }

    /// Asks for a file that does not exist: that the store says so tells that bucket and credentials are right. Without the right to
    /// list the bucket, S3 says "forbidden" instead, and we could never tell a missing file.
    pub(super) async fn check(&self) -> Result<(), FileStoreError> {
        let url = self.own(Method::GET, NO_FILE).await?;
        self.call(Method::GET, url, self.http.timeouts().check).await
    }

    /// A call after which the object may be missing.
    async fn call(&self, method: Method, url: Url, limit: Duration) -> Result<(), FileStoreError> {
        match self.http.call(self.http.client().request(method, url), limit).await {
            Ok(_) | Err(FileStoreError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// An address for a request of ours.
    async fn own(&self, method: Method, key: &str) -> Result<Url, FileStoreError> {
        self.sign(method, key, VALID_FOR, SignedUrlOptions::new()).await
    }

    /// Asks nobody: the credentials are here.
    async fn sign(
        &self,
        method: Method,
        key: &str,
        lifetime: Duration,
        options: SignedUrlOptions,
    ) -> Result<Url, FileStoreError> {
        let unsigned = |_| FileStoreError::refused("not_signed");
        let path = Path::parse(key).map_err(|_| FileStoreError::refused("not_signed"))?;
        let signed = self.signer.signed_url_opts(method, &path, lifetime, &options).await;
        signed.map_err(unsigned)
    }
}

/// What an answer means that is no success: XML with a code (S3, *Error responses*).
fn judge(status: u16, body: &[u8]) -> Fault {
    let word = word(body);
    let fault = match (status, word) {
        (_, Some("NoSuchKey")) => FileStoreError::Missing,
        (416, _) | (_, Some("InvalidRange")) => return Fault::OutOfRange,
        // They come as 400 or 503.
        (_, Some("RequestTimeout" | "SlowDown" | "InternalError" | "ServiceUnavailable" | "OperationAborted"))
        | (408 | 429 | 500.., _) => FileStoreError::unavailable(code(word, status)),
        // A bucket that is not there is one for an operator, too, and so is a redirect: it names another region.
        _ => FileStoreError::refused(code(word, status)),
    };
    fault.into()
}

/// What `<Code>` says.
fn word(body: &[u8]) -> Option<&str> {
    let text = str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(word: &str) -> Vec<u8> {
        format!("<?xml version=\"1.0\"?><Error><Code>{word}</Code><Key>7/a.pdf</Key></Error>").into_bytes()
    }

    #[test]
    fn a_file_is_missing_only_if_the_store_says_that_the_key_is() {
        let refused = |word: &'static str| Fault::Error(FileStoreError::refused(word));
        let unavailable = |word: &'static str| Fault::Error(FileStoreError::unavailable(word));
        for (status, body, expected) in [
            (404, error("NoSuchKey"), Fault::Error(FileStoreError::Missing)),
            (404, error("NoSuchBucket"), refused("NoSuchBucket")),
            (404, b"<html>".to_vec(), refused("http_404")),
            (404, Vec::new(), refused("http_404")),
            (403, error("AccessDenied"), refused("AccessDenied")),
            (403, error("SignatureDoesNotMatch"), refused("SignatureDoesNotMatch")),
            (403, error("RequestTimeTooSkewed"), refused("RequestTimeTooSkewed")),
            (401, Vec::new(), refused("http_401")),
            (301, error("PermanentRedirect"), refused("PermanentRedirect")),
            (416, error("InvalidRange"), Fault::OutOfRange),
            (400, error("RequestTimeout"), unavailable("RequestTimeout")),
            (503, error("SlowDown"), unavailable("SlowDown")),
            (500, error("not a word"), unavailable("http_500")),
            (502, b"\xff".to_vec(), unavailable("http_502")),
            (429, Vec::new(), unavailable("http_429")),
        ] {
            assert_eq!(
                judge(status, &body),
                expected,
                "{status} {}",
                String::from_utf8_lossy(&body)
            );
        }
    }
}
