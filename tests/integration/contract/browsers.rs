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
