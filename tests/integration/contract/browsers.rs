//! Browsers: allowed origins, security headers, and documentation pages that load nothing from elsewhere.

use cura_tests::Cura;
use cura_tests::problem::assert_problem;
use reqwest::Method;

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

/// What a preflight answers: the headers that a page may send, and those that it may read.
async fn may_send_and_read(cura: &Cura) -> (Vec<String>, Vec<String>) {
    let list = |value: Option<&str>| {
        let names = value.unwrap_or_default().split(',').map(|name| name.trim().to_owned());
        names.collect::<Vec<_>>()
    };
    let request = cura.client().request(Method::OPTIONS, "/chat/send");
    let request = request
        .header("origin", "http://localhost:3000")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "traceparent,sentry-trace,baggage,x-requested-with",
        );
    let preflight = cura.client().send(request).await;
    assert_eq!(preflight.status, 204);
    let request = cura.client().request(Method::GET, "/health/live");
    let read = cura
        .client()
        .send(request.header("origin", "http://localhost:3000"))
        .await;
    (
        list(preflight.header("access-control-allow-headers")),
        list(read.header("access-control-expose-headers")),
    )
}

#[tokio::test]
async fn a_page_may_send_what_libraries_add_and_read_what_the_contract_names() {
    let cura = Cura::without_workers().await;
    let (sent, read) = may_send_and_read(&cura).await;
    for header in [
        "authorization",
        "idempotency-key",
        "last-event-id",
        "prefer",
        "x-request-id",
        "baggage",
        "cache-control",
        "content-type",
        "if-none-match",
        "range",
        "sentry-trace",
        "traceparent",
        "tracestate",
        "x-requested-with",
        "tus-resumable",
        "upload-length",
        "upload-metadata",
        "upload-offset",
        "upload-defer-length",
        "upload-concat",
        "x-http-method-override",
    ] {
        assert!(sent.iter().any(|name| name == header), "{header} in {sent:?}");
    }
    for header in [
        "x-request-id",
        "location",
        "link",
        "x-total-count",
        "retry-after",
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "idempotent-replayed",
        "etag",
        "content-disposition",
        "allow",
        "deprecation",
        "sunset",
        "cura-trouble",
        "content-range",
        "tus-resumable",
        "tus-version",
        "tus-extension",
        "tus-max-size",
        "upload-expires",
        "upload-length",
        "upload-offset",
        "upload-metadata",
    ] {
        assert!(read.iter().any(|name| name == header), "{header} in {read:?}");
    }
    // Every header of an answer that the document names can be read.
    let document = cura.client().get("/openapi.json").await.body;
    let operations = document["paths"].as_object().unwrap().values();
    let operations = operations.flat_map(|item| item.as_object().unwrap().values());
    let responses = operations.flat_map(|operation| operation["responses"].as_object().unwrap().values());
    let headers = responses.filter_map(|response| response["headers"].as_object());
    for header in headers.flat_map(|headers| headers.keys()) {
        assert!(read.contains(&header.to_ascii_lowercase()), "{header} in {read:?}");
    }
}

#[tokio::test]
async fn a_page_of_the_server_itself_may_call() {
    let cura = Cura::builder()
        .workers(0)
        .with("ALLOWED_ORIGINS", r#"["https://app.example"]"#)
        .start()
        .await;
    let own = cura.servers[0].base.clone();
    let preflight = async |origin: &str| {
        let request = cura
            .client()
            .request(Method::OPTIONS, "/conversations")
            .header("origin", origin);
        cura.client()
            .send(request.header("access-control-request-method", "POST"))
            .await
    };
    let allowed = preflight(&own).await;
    assert_eq!(
        (allowed.status.as_u16(), allowed.header("access-control-allow-origin")),
        (204, Some(own.as_str()))
    );
    // Another port of the same host is another origin.
    assert_problem(&preflight("http://127.0.0.1:1").await, 403, "another port");
}

#[tokio::test]
async fn local_pages_may_call_in_development() {
    let cura = Cura::without_workers().await;
    for origin in [
        "http://localhost",
        "http://localhost:3000",
        "http://localhost:5173",
        "capacitor://localhost",
    ] {
        let request = cura
            .client()
            .request(Method::OPTIONS, "/users/me")
            .header("origin", origin);
        let allowed = cura
            .client()
            .send(request.header("access-control-request-method", "GET"))
            .await;
        assert_eq!(
            (allowed.status.as_u16(), allowed.header("access-control-allow-origin")),
            (204, Some(origin))
        );
    }
}

#[tokio::test]
async fn answers_are_not_cached_sniffed_or_framed() {
    let cura = Cura::without_workers().await;
    let reply = cura.client().get("/health/live").await;
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(reply.header(name), Some(value));
    }
}
