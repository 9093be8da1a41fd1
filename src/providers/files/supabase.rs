//! Supabase Storage, by its REST interface.
//!
//! It answers 400 to nearly everything that goes wrong, with the true status in a body of JSON. Whoever may not see a file is told
//! that there is none, so it needs a key that may do everything: the service role's.

use std::fs::File;
use std::ops::Range;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cura_domain::object_key::ObjectKey;
use reqwest::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::bucket::Bucket;
use super::error::{FileStoreError, InvalidFileStore, code};
use super::http::{Fault, Http};
use super::opened::OpenedFile;
use super::timeouts::FileStoreTimeouts;
use super::url::StoreUrl;
use crate::Secret;

/// Where the interface is below the project's address.
const INTERFACE: &str = "/storage/v1";

/// Where a bucket is, and the key to it.
#[derive(Debug, Clone)]
pub struct SupabaseConfig {
    /// The project's address, with or without `/storage/v1`.
    pub url: StoreUrl,
    /// The secret key, or that of the service role.
    pub key: Secret,
    /// The bucket, a private one.
    pub bucket: Bucket,
}

/// A bucket. Cheap to clone.
#[derive(Clone)]
pub(super) struct Supabase {
    http: Http,
    base: String,
    bucket: String,
    credentials: HeaderMap,
}

impl Supabase {
    pub(super) fn new(config: &SupabaseConfig, timeouts: FileStoreTimeouts) -> Result<Self, InvalidFileStore> {
        let project = config.url.as_str();
        let project = project.strip_suffix(INTERFACE).unwrap_or(project);
        Ok(Self {
            http: Http::new(timeouts, judge)?,
            base: format!("{project}{INTERFACE}"),
            bucket: config.bucket.as_str().to_owned(),
            credentials: credentials(&config.key)?,
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
            HeaderValue::from_str(content_type).map_err(|_| FileStoreError::refused("no_content_type"))?;
        let request = self
            .request(Method::POST, &format!("/object/{}/{}", self.bucket, key.as_str()))
            .header(CONTENT_TYPE, content_type)
            // No cache in front of the store may keep what is deleted there.
            .header(CACHE_CONTROL, "private, no-store")
            .header("x-upsert", "true");
        let uploaded = self.http.upload(request, source, size).await;
        uploaded.map_err(FileStoreError::never_missing)
    }

    pub(super) async fn open(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<OpenedFile, FileStoreError> {
        let path = format!("/object/authenticated/{}/{}", self.bucket, key.as_str());
        self.http.open(self.request(Method::GET, &path), range).await
    }

    pub(super) async fn delete(&self, key: &ObjectKey) -> Result<(), FileStoreError> {
        let path = format!("/object/{}", self.bucket);
        let request = self
            .request(Method::DELETE, &path)
            .json(&json!({ "prefixes": [key.as_str()] }));
        let answer = self.http.call(request, self.http.timeouts().call).await;
        let answer = answer.map_err(FileStoreError::never_missing)?;
        // The list of what was deleted.
        match serde_json::from_slice::<Vec<Value>>(&answer) {
            Ok(deleted) if !deleted.is_empty() => Ok(()),
            Ok(_) => self.confirm_missing(key).await,
            Err(_) => Err(FileStoreError::refused("no_list")),
        }
    }

    /// Nothing was deleted: there was nothing, or our key may not delete, which is told the same way.
    async fn confirm_missing(&self, key: &ObjectKey) -> Result<(), FileStoreError> {
        match self.open(key, Some(0..1)).await {
            Err(FileStoreError::Missing) => Ok(()),
            Ok(_) => Err(FileStoreError::refused("not_deleted")),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn link(
        &self,
        key: &ObjectKey,
        file_name: &str,
        lifetime: Duration,
    ) -> Result<Url, FileStoreError> {
        let path = format!("/object/sign/{}/{}", self.bucket, key.as_str());
        let request = self.request(Method::POST, &path);
        let request = request.json(&json!({ "expiresIn": lifetime.as_secs() }));
        let answer = self.http.call(request, self.http.timeouts().call).await?;
        let no_link = || FileStoreError::refused("no_link");
        let signed: Signed = serde_json::from_slice(&answer).map_err(|_| no_link())?;
        // Relative, but with its slash; anything else would lead away from the store.
        if !signed.url.starts_with("/object/sign/") {
            return Err(no_link());
        }
        let mut url = Url::parse(&format!("{}{}", self.base, signed.url)).map_err(|_| no_link())?;
        url.query_pairs_mut().append_pair("download", file_name);
        Ok(url)
    }

    pub(super) async fn check(&self) -> Result<(), FileStoreError> {
        let request = self.request(Method::GET, &format!("/bucket/{}", self.bucket));
        let checked = self.http.call(request, self.http.timeouts().check).await;
        checked.map(|_| ()).map_err(FileStoreError::never_missing)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.http
            .client()
            .request(method, url)
            .headers(self.credentials.clone())
    }
}

/// What signing answers.
#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "signedURL")]
    url: String,
}

/// What failures answer. Older versions have no `code`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Failure {
    #[serde(rename = "statusCode")]
    status: Value,
    code: Option<String>,
    error: Option<String>,
    message: Option<String>,
}

/// Supabase's gateway wants the key in a header of its own, the store behind it as a token.
fn credentials(key: &Secret) -> Result<HeaderMap, InvalidFileStore> {
    let key = key.expose_secret();
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(InvalidFileStore::NotSendable);
    }
    if is_public(key) {
        return Err(InvalidFileStore::PublicKey);
    }
    let secret = |text: &str| {
        let mut value = HeaderValue::from_str(text).map_err(|_| InvalidFileStore::NotSendable)?;
        value.set_sensitive(true);
        Ok(value)
    };
    Ok(HeaderMap::from_iter([
        (HeaderName::from_static("apikey"), secret(key)?),
        (AUTHORIZATION, secret(&format!("Bearer {key}"))?),
    ]))
}

/// Whether everybody may know this key: it begins so, or it is a token for a role without rights.
fn is_public(key: &str) -> bool {
    #[derive(Deserialize)]
    struct Claims {
        role: String,
    }
    let claims = || {
        let encoded = key.split('.').nth(1)?;
        let decoded = URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?;
        serde_json::from_slice::<Claims>(&decoded).ok()
    };
    key.starts_with("sb_publishable_") || claims().is_some_and(|c| ["anon", "authenticated"].contains(&&*c.role))
}

/// What an answer means that is no success.
fn judge(status: u16, body: &[u8]) -> Fault {
    let failure: Failure = serde_json::from_slice(body).unwrap_or_default();
    let status = match &failure.status {
        Value::String(text) => text.parse().unwrap_or(status),
        Value::Number(number) => number.as_u64().and_then(|n| n.try_into().ok()).unwrap_or(status),
        _ => status,
    };
    let word = failure.code.as_deref().or(failure.error.as_deref());
    let fault = match (status, word) {
        (_, Some("NoSuchKey")) | (404, Some("not_found" | "Not found")) => FileStoreError::Missing,
        (416, _) | (_, Some("InvalidRange" | "invalid_range")) => return Fault::OutOfRange,
        _ if failure.message.as_deref() == Some("InvalidRange") => return Fault::OutOfRange,
        // 423: another request has locked the file. 499: ours was aborted.
        (408 | 423 | 429 | 499.., _) => FileStoreError::unavailable(code(word, status)),
        _ => FileStoreError::refused(code(word, status)),
    };
    fault.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_everybody_may_know_is_refused() {
        let of_role = |role: &str| {
            format!(
                "e30.{}.c2ln",
                URL_SAFE_NO_PAD.encode(json!({ "role": role }).to_string())
            )
        };
        let made = |key: &str| credentials(&Secret::from(key)).map(|_| ());
        for (key, expected) in [
            ("sb_secret_x", Ok(())),
            (&of_role("service_role"), Ok(())),
            ("own.token.x", Ok(())),
            ("sb_publishable_x", Err(InvalidFileStore::PublicKey)),
            (&of_role("anon"), Err(InvalidFileStore::PublicKey)),
            (&of_role("authenticated"), Err(InvalidFileStore::PublicKey)),
            ("", Err(InvalidFileStore::NotSendable)),
            ("two words", Err(InvalidFileStore::NotSendable)),
            ("line\nbreak", Err(InvalidFileStore::NotSendable)),
        ] {
            assert_eq!(made(key), expected, "{key}");
        }
    }

    #[test]
    fn a_file_is_missing_only_if_the_store_says_that_the_key_is() {
        let refused = |word: &'static str| Fault::Error(FileStoreError::refused(word));
        let unavailable = |word: &'static str| Fault::Error(FileStoreError::unavailable(word));
        let missing = || Fault::Error(FileStoreError::Missing);
        for (status, body, expected) in [
            (
                400,
                r#"{"statusCode":"404","code":"NoSuchKey","error":"not_found","message":"Object not found"}"#,
                missing(),
            ),
            (
                400,
                r#"{"statusCode":"404","error":"Not found","message":"The resource was not found"}"#,
                missing(),
            ),
            (
                400,
                r#"{"statusCode":"404","error":"not_found","message":"Object not found"}"#,
                missing(),
            ),
            (
                400,
                r#"{"statusCode":"404","code":"NoSuchBucket","error":"Bucket not found","message":"Bucket not found"}"#,
                refused("NoSuchBucket"),
            ),
            (
                400,
                r#"{"statusCode":"404","error":"Bucket not found","message":"Bucket not found"}"#,
                refused("http_404"),
            ),
            (404, "<html>", refused("http_404")),
            (404, "", refused("http_404")),
            (401, r#"{"message":"Invalid API key"}"#, refused("http_401")),
            (
                400,
                r#"{"statusCode":"403","code":"AccessDenied","error":"Unauthorized","message":"jwt expired"}"#,
                refused("AccessDenied"),
            ),
            (
                400,
                r#"{"statusCode":"413","code":"EntityTooLarge","error":"Payload too large","message":"The object exceeded"}"#,
                refused("EntityTooLarge"),
            ),
            (
                400,
                r#"{"statusCode":"416","code":"S3Error","error":"The requested range is not satisfiable","message":"InvalidRange"}"#,
                Fault::OutOfRange,
            ),
            (
                400,
                r#"{"statusCode":"400","code":"InvalidRange","error":"invalid_range","message":"invalid range provided"}"#,
                Fault::OutOfRange,
            ),
            (
                400,
                r#"{"statusCode":"544","code":"DatabaseTimeout"}"#,
                unavailable("DatabaseTimeout"),
            ),
            (400, r#"{"statusCode":503,"code":"SlowDown"}"#, unavailable("SlowDown")),
            (
                429,
                r#"{"statusCode":"429","code":"SlowDown"}"#,
                unavailable("SlowDown"),
            ),
            (500, "{}", unavailable("http_500")),
            (502, "<html>", unavailable("http_502")),
        ] {
            assert_eq!(judge(status, body.as_bytes()), expected, "{status} {body}");
        }
    }
}
