//! Whatever is sent, the answer is a problem that says what is wrong, and nothing breaks.

use cura_tests::{Client, Cura, Reply, eventually};
use reqwest::Method;
use serde_json::{Value, json};

async fn server() -> Cura {
    Cura::builder().workers(0).start().await
}

fn assert_problem(reply: &Reply, status: u16, what: &str) {
    assert_eq!(reply.status, status, "{what}: {}", reply.body);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{what}");
    for field in ["type", "title", "detail", "code"] {
        assert!(reply.body[field].is_string(), "{what} has no {field}: {}", reply.body);
    }
    assert_eq!(reply.body["status"], status, "{what}");
    assert_eq!(
        reply.body["request_id"].as_str(),
        reply.header("x-request-id"),
        "{what}"
    );
}

/// Every operation of the document that takes a body.
async fn operations_with_body(client: &Client) -> Vec<(Method, String)> {
    let document = client.get("/openapi.json").await.body;
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation.get("requestBody").is_some() {
                let path = path.replace("{conversation_id}", "1").replace("{message_id}", "1");
                found.push((method.to_uppercase().parse().unwrap(), path));
            }
        }
    }
    assert!(found.len() >= 8, "{found:?}");
    found
}

#[tokio::test]
async fn every_route_refuses_every_kind_of_bad_body() {
    let cura = server().await;
    let somebody = cura.somebody().await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let bodies: [(&str, Vec<u8>, u16); 11] = [
        ("empty", vec![], 400),
        ("malformed", b"{\"content\": ".to_vec(), 400),
        ("not UTF-8", vec![b'"', 0xff, 0xfe, b'"'], 400),
        ("deep", deep.into_bytes(), 400),
        ("a lone surrogate", br#"{"content":"\ud800"}"#.to_vec(), 400),
        (
            "huge",
            format!("{{\"content\":\"{}\"}}", "x".repeat(11 * 1024 * 1024)).into_bytes(),
            413,
        ),
        (
            "NUL",
            br#"{"content":"\u0000","title":"\u0000","email":"\u0000","name":"\u0000","password":"\u0000"}"#.to_vec(),
            422,
        ),
        ("a list", b"[]".to_vec(), 422),
        ("a number", b"7".to_vec(), 422),
        ("null", b"null".to_vec(), 422),
        (
            "wrong-typed",
            json!({ "content": 1, "title": 1, "email": 1, "password": 1, "refresh_token": 1 })
                .to_string()
                .into_bytes(),
            422,
        ),
    ];
    for (method, path) in operations_with_body(&cura.client()).await {
        for (what, body, status) in &bodies {
            let request = somebody
                .request(method.clone(), &path)
                .header("content-type", "application/json");
            let reply = somebody.send(request.body(body.clone())).await;
            assert_problem(&reply, *status, &format!("{method} {path} with {what} body"));
        }
        let request = somebody
            .request(method.clone(), &path)
            .header("content-type", "text/plain")
            .body("hello");
        assert_problem(&somebody.send(request).await, 415, &format!("{method} {path} as text"));
        let request = somebody.request(method.clone(), &path).body("{}");
        assert_problem(
            &somebody.send(request).await,
            415,
            &format!("{method} {path} without a type"),
        );
        let request = somebody
            .request(method.clone(), &path)
            .header("content-type", "application/json");
        let request = request.header("content-encoding", "gzip").body("{}");
        assert_problem(
            &somebody.send(request).await,
            415,
            &format!("{method} {path} compressed"),
        );
    }
    assert_eq!(somebody.get("/health/ready").await.status, 200, "it lives");
}

#[tokio::test]
async fn routes_that_take_no_body_survive_every_body() {
    let cura = server().await;
    let document = cura.client().get("/openapi.json").await.body;
    let mut people = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            // A stream without an end has no answer to wait for.
            if operation.get("requestBody").is_some() || path == "/events" {
                continue;
            }
            // A person of its own for each: some of these end sessions.
            people += 1;
            let somebody = cura.client().register(&format!("person{people}@example.com")).await;
            let path = path
                .split('/')
                .map(|part| if part.starts_with('{') { "7" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let send = async |body: Vec<u8>| {
                let request = somebody.request(method.to_uppercase().parse().unwrap(), &path);
                somebody
                    .send(request.header("content-type", "application/json").body(body))
                    .await
            };
            let what = format!("{method} {path}");
            assert_problem(&send(vec![b'x'; 11 * 1024 * 1024]).await, 413, &what);
            for body in ["null", "[]", "{\"a\": ", "\0"] {
                let status = send(body.into()).await.status;
                assert!(status.is_success() || status.is_client_error(), "{what}: {status}");
            }
        }
    }
    assert_eq!(cura.client().get("/health/ready").await.status, 200, "it lives");
}

#[tokio::test]
async fn a_server_without_descriptors_waits_for_better_times() {
    let cura = server().await;
    let pid = rustix::process::Pid::from_raw(cura.servers[0].program.pid().cast_signed()).unwrap();
    let few = rustix::process::Rlimit {
        current: Some(40),
        maximum: Some(40),
    };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, few).unwrap();
    let address = cura.servers[0].base.trim_start_matches("http://").to_owned();
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    cura.servers[0].program.says("no connection can be accepted").await;
    drop(sockets);
    eventually("it accepts again", async || {
        let client = cura.client();
        let asked = client.request(Method::GET, "/health/live").send().await;
        asked.is_ok_and(|response| response.status() == 200).then_some(())
    })
    .await;
    let complaints = cura.said().matches("no connection can be accepted").count();
    assert!(complaints < 100, "it loops: {complaints}");
}

#[tokio::test]
async fn a_huge_body_without_a_length_is_cut_off() {
    let cura = server().await;
    let somebody = cura.somebody().await;
    let endless = futures_util::stream::iter((0..1024).map(|_| Ok::<_, std::io::Error>(vec![b' '; 16 * 1024])));
    let request = somebody
        .request(Method::POST, "/conversations")
        .header("content-type", "application/json");
    // The server may answer, or close, before the client has said everything.
    if let Ok(response) = request.body(reqwest::Body::wrap_stream(endless)).send().await {
        assert_eq!(response.status(), 413);
    }
    assert_eq!(somebody.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn every_route_that_needs_a_token_says_so_before_anything_else() {
    let cura = server().await;
    let document = cura.client().get("/openapi.json").await.body;
    let mut closed = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"].as_array().is_none_or(Vec::is_empty) {
                // A socket says in its closing who is not signed in: a browser shows its page no status.
                let open = ["/auth", "/health", "/chat/ws"];
                assert!(open.iter().any(|open| path.starts_with(open)), "{path} is open");
                continue;
            }
            closed += 1;
            let path = path.replace("{conversation_id}", "1").replace("{message_id}", "1");
            let request = cura.client().request(method.to_uppercase().parse().unwrap(), &path);
            let reply = cura.client().send(request.body("garbage")).await;
            assert_problem(&reply, 401, &path);
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert!(closed >= 9, "{closed}");
}

#[tokio::test]
async fn wrong_addresses_and_methods_are_problems_too() {
    let cura = server().await;
    let somebody = cura.somebody().await;
    for path in [
        "/nope",
        "/conversations/abc",
        "/chat/messages/1e3",
        "/chat/messages/99999999999999999999",
        "/docs/../etc",
        "/docs/nope",
    ] {
        assert_problem(&somebody.get(path).await, 404, path);
    }
    for (method, path, allow) in [
        (Method::DELETE, "/chat/send", "POST"),
        (Method::PUT, "/conversations", "GET, POST, HEAD"),
        (Method::POST, "/chat/messages/1/stream", "GET, HEAD"),
    ] {
        let reply = somebody.send(somebody.request(method, path)).await;
        assert_problem(&reply, 405, path);
        assert_eq!(reply.header("allow"), Some(allow), "{path}");
    }
}

#[tokio::test]
async fn what_nobody_accepts_is_not_produced() {
    let cura = server().await;
    let somebody = cura.somebody().await;
    for (path, accept) in [
        ("/conversations", "text/event-stream"),
        ("/chat/messages/1/stream", "application/json"),
        ("/health", "image/png"),
    ] {
        let reply = somebody
            .send(somebody.request(Method::GET, path).header("accept", accept))
            .await;
        assert_problem(&reply, 406, path);
    }
}

#[tokio::test]
async fn a_cursor_nobody_was_given_is_refused() {
    let cura = server().await;
    let somebody = cura.somebody().await;
    // c-8000000000000000000.1, c.1, m1 (of another list), and no base64 at all.
    for bad in ["Yy04MDAwMDAwMDAwMDAwMDAwMDAwLjE", "Yy4x", "bTE", "%2F%2F", "Y"] {
        assert_problem(&somebody.get(&format!("/conversations?cursor={bad}")).await, 400, bad);
    }
}

/// What a server says to these bytes, which no HTTP client would send.
async fn raw(cura: &Cura, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = cura.servers[0].base.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    // It may close before it has read all of it.
    let _ = socket.read_to_end(&mut said).await;
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn what_is_no_http_is_a_problem_too() {
    let cura = server().await;
    let many = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(66_000));
    for (bytes, status) in [
        (b"GARBAGE\r\n\r\n".to_vec(), 400),
        (
            b"POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_vec(),
            400,
        ),
        (
            b"POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_vec(),
            400,
        ),
        (
            format!("GET /health HTTP/1.1\r\nhost: x\r\n{many}\r\n").into_bytes(),
            431,
        ),
        (long.into_bytes(), 414),
    ] {
        let said = raw(&cura, &bytes).await;
        let (head, body) = said
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{status}: {said}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("application/problem+json"), "{head}");
        let problem: Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], status);
        let id = problem["request_id"].as_str().unwrap();
        assert!(head.contains(&format!("x-request-id: {id}")), "{head}");
    }
}

#[tokio::test]
async fn the_pages_of_the_document_say_which_methods_they_have() {
    let cura = server().await;
    for path in ["/openapi.json", "/docs/", "/redoc"] {
        let reply = cura.client().post(path, &json!({})).await;
        assert_problem(&reply, 405, path);
        assert_eq!(reply.header("allow"), Some("GET, HEAD"), "{path}");
    }
}

#[tokio::test]
async fn several_accept_headers_are_one_list_and_an_empty_one_is_none() {
    let cura = server().await;
    let somebody = cura.somebody().await;
    let request = somebody.request(Method::GET, "/users/me");
    let both = request
        .header("accept", "text/html")
        .header("accept", "application/json");
    assert_eq!(somebody.send(both).await.status, 200);
    let empty = somebody.request(Method::GET, "/users/me").header("accept", "");
    assert_eq!(somebody.send(empty).await.status, 200);
}

#[tokio::test]
async fn a_bad_cursor_is_refused_before_the_stream_opens() {
    let cura = server().await;
    let somebody = cura.somebody().await;
    let sent = somebody
        .request(Method::POST, "/chat/send")
        .header("Prefer", "wait=0")
        .json(&json!({ "content": "Hi" }));
    let answer = somebody.send(sent).await.body["assistant_message"]["id"].clone();
    for bad in ["x", "1.-1", "1.2.3", "99999999999.0"] {
        let path = format!("/chat/messages/{answer}/stream?after={bad}");
        assert_problem(&somebody.get(&path).await, 400, bad);
    }
}

#[tokio::test]
async fn a_bad_idempotency_key_is_refused() {
    let cura = server().await;
    let somebody = cura.somebody().await;
    for bad in ["", "with space", &"x".repeat(300)] {
        let request = somebody
            .request(Method::POST, "/chat/send")
            .header("Idempotency-Key", bad);
        let reply = somebody.send(request.json(&json!({ "content": "Hi" }))).await;
        assert_problem(&reply, 400, bad);
    }
}

#[tokio::test]
async fn texts_have_their_limits_and_emojis_count_once() {
    let cura = server().await;
    let somebody = cura.somebody().await;
    let send = async |content: Value| {
        let request = somebody.request(Method::POST, "/chat/send").header("Prefer", "wait=0");
        somebody.send(request.json(&json!({ "content": content }))).await
    };
    assert_eq!(send(json!("👋".repeat(10_000))).await.status, 202);
    for bad in [
        json!("👋".repeat(10_001)),
        json!(""),
        json!(" \n\t "),
        json!("nul \u{0}"),
        json!(null),
    ] {
        assert_problem(&send(bad.clone()).await, 422, "content");
    }
}

#[tokio::test]
async fn a_callers_request_id_is_kept_when_it_is_sensible() {
    let cura = server().await;
    let send = async |id: &str| {
        let request = cura
            .client()
            .request(Method::GET, "/health/live")
            .header("x-request-id", id);
        cura.client()
            .send(request)
            .await
            .header("x-request-id")
            .unwrap()
            .to_owned()
    };
    assert_eq!(send("trace-42.a_b").await, "trace-42.a_b");
    for odd in ["with space", "<script>", &"x".repeat(129)] {
        let given = send(odd).await;
        assert!(given != odd && given.len() == 32, "{given}");
    }
    assert_ne!(send("<a>").await, send("<a>").await);
}

#[tokio::test]
async fn only_listed_origins_may_call_from_a_page() {
    let cura = Cura::builder()
        .workers(0)
        .with("ALLOWED_ORIGINS", r#"["https://app.example"]"#)
        .start()
        .await;
    let call = async |method: Method, origin: &str| {
        let request = cura.client().request(method, "/conversations").header("origin", origin);
        cura.client()
            .send(request.header("access-control-request-method", "POST"))
            .await
    };
    let listed = call(Method::OPTIONS, "https://app.example").await;
    assert_eq!(listed.status, 204);
    assert_eq!(
        listed.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    assert!(listed.header("access-control-allow-credentials").is_none());
    let app = Cura::builder()
        .workers(0)
        .with("ALLOWED_ORIGINS", r#"["capacitor://localhost"]"#)
        .start()
        .await;
    let request = app.client().request(Method::GET, "/conversations");
    let read = app
        .client()
        .send(request.header("origin", "capacitor://localhost"))
        .await;
    assert_eq!(
        read.header("access-control-allow-origin"),
        Some("capacitor://localhost")
    );
    for evil in [
        "https://evil.example",
        "https://app.example.evil.example",
        "http://app.example",
        "null",
        "https://app.example:8443",
    ] {
        let refused = call(Method::OPTIONS, evil).await;
        assert_problem(&refused, 403, evil);
        assert!(refused.header("access-control-allow-origin").is_none());
        assert!(
            call(Method::GET, evil)
                .await
                .header("access-control-allow-origin")
                .is_none()
        );
    }
    let read = call(Method::GET, "https://app.example").await;
    assert!(
        read.header("access-control-expose-headers")
            .unwrap()
            .contains("x-request-id")
    );
    assert_eq!(read.header("vary"), Some("Origin"));
}

#[tokio::test]
async fn the_document_and_its_pages_are_served_and_ask_nobody_else() {
    let cura = server().await;
    let document = cura.client().get("/openapi.json").await;
    assert_eq!(document.status, 200);
    assert_eq!(document.body["openapi"], "3.0.0");
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_secs(30));
    let http = http.build().unwrap();
    let base = &cura.servers[0].base;
    let docs = http.get(format!("{base}/docs")).send().await.unwrap();
    assert_eq!(
        (docs.status().as_u16(), docs.headers()["location"].to_str().unwrap()),
        (308, "/docs/")
    );
    for path in ["/docs/", "/docs/swagger-initializer.js", "/redoc"] {
        let page = http.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        assert!(
            page.headers()["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("'self'")
        );
        let text = page.text().await.unwrap();
        assert!(
            !text.contains("fonts.googleapis.com") && !text.contains("validator.swagger.io"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn answers_are_not_cached_sniffed_or_framed() {
    let cura = server().await;
    let reply = cura.client().get("/health/live").await;
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(reply.header(name), Some(value));
    }
}

#[tokio::test]
async fn logs_hold_neither_words_nor_tokens_nor_addresses() {
    let cura = Cura::start().await;
    let somebody = cura.client().register("private@example.com").await;
    somebody
        .post("/chat/send", &json!({ "content": "my secret words" }))
        .await;
    somebody.get("/conversations?cursor=my-secret-cursor").await;
    somebody
        .get(&format!("/users/me?token={}", somebody.token.as_ref().unwrap()))
        .await;
    let said = cura.said();
    assert!(said.contains("/chat/send"), "the access log is there: {said}");
    for secret in [
        "private@example.com",
        "my secret words",
        "my-secret-cursor",
        somebody.token.as_ref().unwrap(),
        "a long password",
    ] {
        assert!(!said.contains(secret), "{secret} is in the logs");
    }
}
