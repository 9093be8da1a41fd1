//! Supabase Storage on a real socket: it answers as its source does (github.com/supabase/storage, `src/http`), or as a test tells it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::http_server::{HttpAnswer, HttpRequest, HttpServer};
use crate::provider::Latch;

/// Its only bucket.
pub const BUCKET: &str = "cura-files";
/// The key that may do everything.
pub const KEY: &str = "sb_secret_test";
/// What a signed address ends with.
const TOKEN: &str = "token=signed";

/// The service.
pub struct SupabaseServer {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: HashMap<String, Object>,
    /// Whether the key may read and write, and not delete: nothing is deleted then, and nothing is said of it.
    may_not_delete: bool,
    /// How large a file may be, in bytes.
    largest: Option<usize>,
    /// Whether it fails when it is asked for a file.
    gives_nothing: bool,
    /// Until when nobody gets a file.
    gives_after: Option<Latch>,
    /// Until when nobody learns that a file is taken.
    takes_after: Option<Latch>,
}

/// A file, and the headers that it came with.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its bytes.
    pub content: Vec<u8>,
    /// `Content-Type`
    pub content_type: String,
    /// `Cache-Control`
    pub cache_control: String,
}

impl SupabaseServer {
    /// Starts one with an empty bucket.
    pub async fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let seen = Arc::clone(&state);
        let server = HttpServer::start(move |request| {
            let mut state = seen.lock().unwrap_or_else(PoisonError::into_inner);
            state.answer(&request)
        })
        .await;
        Self { server, state }
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Its files, by their keys.
    pub fn objects(&self) -> HashMap<String, Object> {
        self.state().objects.clone()
    }

    /// Deletes nothing from now on, without saying so, as for a key without the right to.
    pub fn delete_nothing(&self) {
        self.state().may_not_delete = true;
    }

    /// Puts a file there.
    pub fn put(&self, key: impl Into<String>, content: impl Into<Vec<u8>>) {
        let object = Object {
            content: content.into(),
            content_type: "application/octet-stream".to_owned(),
            cache_control: String::new(),
        };
        self.state().objects.insert(key.into(), object);
    }

    /// Takes no file that is larger, in bytes, from now on, or any if there is no limit.
    pub fn take_up_to(&self, largest: Option<usize>) {
        self.state().largest = largest;
    }

    /// Fails from now on when it is asked for a file, or does not fail any more.
    pub fn give_nothing(&self, is_so: bool) {
        self.state().gives_nothing = is_so;
    }

    /// Gives files from now on once the latch is open.
    pub fn give_after(&self, latch: &Latch) {
        self.state().gives_after = Some(latch.clone());
    }

    /// Takes files from now on, and says so once the latch is open.
    pub fn say_taken_after(&self, latch: &Latch) {
        self.state().takes_after = Some(latch.clone());
    }

    /// Waits until it has this many requests at once.
    pub async fn wait_for_under_way(&self, requests: usize) {
        self.server.wait_for_under_way(requests).await;
    }

    /// The most requests that it had at once.
    pub fn most_under_way(&self) -> usize {
        self.server.most_under_way()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn answer(&mut self, request: &HttpRequest) -> HttpAnswer {
        let (method, target) = request.line();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let Some(path) = path.strip_prefix("/storage/v1") else {
            return HttpAnswer::reply(404, "<html>no such page</html>");
        };
        if let Some(signed) = path.strip_prefix("/object/sign/")
            && method == "GET"
        {
            return self.give_signed(request, signed, query);
        }
        if request.header("apikey") != Some(KEY) {
            // The gateway in front of it.
            return HttpAnswer::json(401, &json!({ "message": "Invalid API key" }));
        }
        if request.header("authorization") != Some(&format!("Bearer {KEY}")) {
            return failure(403, "AccessDenied", "Unauthorized", "Invalid Compact JWS");
        }
        let in_bucket = |prefix: &str| {
            let rest = path.strip_prefix(prefix)?;
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            Some((bucket == BUCKET, key.to_owned()))
        };
        let no_bucket = || failure(404, "NoSuchBucket", "Bucket not found", "Bucket not found");
        let (exists, key, act): (_, _, fn(&mut Self, &HttpRequest, &str) -> HttpAnswer) =
            match (method, in_bucket("/bucket/"), in_bucket("/object/sign/")) {
                ("GET", Some((exists, key)), _) => {
                    (exists, key, |_, _, _| HttpAnswer::json(200, &json!({ "id": BUCKET })))
                }
                ("POST", _, Some((exists, key))) => (exists, key, Self::sign),
                ("GET", ..) => match in_bucket("/object/authenticated/") {
                    Some((exists, key)) => (exists, key, Self::give),
                    None => return HttpAnswer::reply(404, "{}"),
                },
                ("POST" | "DELETE", ..) => match in_bucket("/object/") {
                    Some((exists, key)) if method == "POST" => (exists, key, Self::take),
                    // It does not look whether there is such a bucket, and deletes nothing there.
                    Some((false, _)) => return HttpAnswer::json(200, &json!([])),
                    Some((true, key)) => (true, key, Self::delete),
                    None => return HttpAnswer::reply(404, "{}"),
                },
                _ => return HttpAnswer::reply(404, "{}"),
            };
        if !exists {
            return no_bucket();
        }
        let is_of_file = path.starts_with("/object/") && !key.is_empty() && method != "DELETE";
        let after = match method {
            "GET" => &self.gives_after,
            _ => &self.takes_after,
        };
        let after = after.clone().filter(|_| is_of_file);
        let answer = act(self, request, &key);
        match after {
            Some(latch) => answer.after(&latch),
            None => answer,
        }
    }

    fn take(&mut self, request: &HttpRequest, key: &str) -> HttpAnswer {
        let is_valid = |c: char| c.is_ascii_alphanumeric() || "_/!-.*'() &$@=;:+,?".contains(c);
        if key.is_empty() || !key.chars().all(is_valid) {
            return failure(400, "InvalidKey", "InvalidKey", "Invalid key");
        }
        if self.objects.contains_key(key) && request.header("x-upsert") != Some("true") {
            return failure(409, "ResourceAlreadyExists", "Duplicate", "The resource already exists");
        }
        if self.largest.is_some_and(|largest| request.body.len() > largest) {
            return failure(
                413,
                "EntityTooLarge",
                "Payload too large",
                "The object exceeded the maximum allowed size",
            );
        }
        let header = |name| request.header(name).unwrap_or_default().to_owned();
        let object = Object {
            content: request.body.clone(),
            content_type: header("content-type"),
            cache_control: header("cache-control"),
        };
        self.objects.insert(key.to_owned(), object);
        HttpAnswer::json(200, &json!({ "Id": "1", "Key": format!("{BUCKET}/{key}") }))
    }

    fn give(&mut self, request: &HttpRequest, key: &str) -> HttpAnswer {
        if self.gives_nothing {
            return HttpAnswer::reply(502, "<html>");
        }
        let Some(object) = self.objects.get(key) else {
            return not_found();
        };
        let size = object.content.len();
        let answer = |status, content: &[u8]| {
            HttpAnswer::reply(status, content)
                .with("Content-Type", &object.content_type)
                .with("Cache-Control", &object.cache_control)
        };
        let Some(asked) = request.header("range") else {
            return answer(200, &object.content);
        };
        match range(asked, size) {
            Some(range) => answer(206, &object.content[range.clone()]).with(
                "Content-Range",
                format!("bytes {}-{}/{size}", range.start, range.end - 1),
            ),
            None => failure(416, "S3Error", "The requested range is not satisfiable", "InvalidRange"),
        }
    }

    fn sign(&mut self, request: &HttpRequest, key: &str) -> HttpAnswer {
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if asked["expiresIn"].as_u64().is_none_or(|seconds| seconds == 0) {
            return failure(400, "InvalidRequest", "Error", "body/expiresIn must be >= 1");
        }
        if !self.objects.contains_key(key) {
            return not_found();
        }
        HttpAnswer::json(
            200,
            &json!({ "signedURL": format!("/object/sign/{BUCKET}/{key}?{TOKEN}") }),
        )
    }

    fn give_signed(&mut self, request: &HttpRequest, signed: &str, query: &str) -> HttpAnswer {
        let key = signed.strip_prefix(BUCKET).and_then(|rest| rest.strip_prefix('/'));
        let (Some(key), Some(rest)) = (key, query.strip_prefix(TOKEN)) else {
            return failure(400, "InvalidSignature", "InvalidSignature", "Invalid signature");
        };
        let answer = self.give(request, key);
        match rest.strip_prefix("&download=") {
            Some(name) => answer.with("Content-Disposition", format!("attachment; filename*=UTF-8''{name}")),
            None => answer,
        }
    }

    fn delete(&mut self, request: &HttpRequest, _: &str) -> HttpAnswer {
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let Some(keys) = asked["prefixes"].as_array() else {
            return failure(
                400,
                "InvalidRequest",
                "Error",
                "body must have required property 'prefixes'",
            );
        };
        let mut deleted = Vec::new();
        for key in keys.iter().filter_map(Value::as_str) {
            if !self.may_not_delete && self.objects.remove(key).is_some() {
                deleted.push(json!({ "name": key, "bucket_id": BUCKET }));
            }
        }
        HttpAnswer::json(200, &json!(deleted))
    }
}

/// A failure as it comes from the service: nearly always 400, with the true status in the body.
pub fn failure(status: u16, code: &str, error: &str, message: &str) -> HttpAnswer {
    let body = json!({ "statusCode": status.to_string(), "code": code, "error": error, "message": message });
    HttpAnswer::json(if status == 500 { 500 } else { 400 }, &body)
}

fn not_found() -> HttpAnswer {
    failure(404, "NoSuchKey", "not_found", "Object not found")
}

/// What `bytes=a-b` means for a file of this size.
fn range(asked: &str, size: usize) -> Option<Range<usize>> {
    let (first, last) = asked.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last = if last.is_empty() {
        size.saturating_sub(1)
    } else {
        last.parse().ok()?
    };
    (first < size && first <= last).then(|| first..size.min(last + 1))
}
