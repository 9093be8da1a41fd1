//! What TUS asks of headers, one by one.

use cura_tests::Cura;
use reqwest::Method;

use super::{PART, PATH, assert_code, begin, head, left, named, offset, part, picture, samples, send_part, tus};

#[tokio::test]
async fn options_says_what_is_supported_without_asking_who_asks() {
    let cura = Cura::without_workers().await;
    let client = cura.client();
    let reply = client.send(client.request(Method::OPTIONS, PATH)).await;
    assert_eq!(reply.status, 204);
    for (name, value) in [
        ("tus-resumable", "1.0.0"),
        ("tus-version", "1.0.0"),
        ("tus-extension", "creation,expiration,termination"),
        ("tus-max-size", "10485760"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn another_version_is_refused_before_anything_is_done() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let path = begin(&user, 1000).await;
    for version in [None, Some("0.2.2"), Some("1.0"), Some("")] {
        for (method, path) in [
            (Method::POST, PATH),
            (Method::HEAD, path.as_str()),
            (Method::PATCH, path.as_str()),
            (Method::DELETE, path.as_str()),
        ] {
            let mut request = user.request(method.clone(), path);
            if method == Method::POST {
                request = request.header("Upload-Length", "1000");
            }
            if method == Method::PATCH {
                request = request
                    .header("Upload-Offset", "0")
                    .header("content-type", PART)
                    .body("x");
            }
            if let Some(version) = version {
                request = request.header("Tus-Resumable", version);
            }
            let reply = user.send(request).await;
            let what = format!("{method} with {version:?}");
            assert_eq!(reply.status, 412, "{what}");
            assert_eq!(reply.header("tus-version"), Some("1.0.0"), "{what}");
            assert_eq!(reply.header("tus-resumable"), Some("1.0.0"), "{what}");
            if method != Method::HEAD {
                assert_code(&reply, 412, "unsupported_tus_version", &what);
            }
        }
    }
    assert_eq!((offset(&user, &path).await, left(&cura).await), (0, 1));
}

#[tokio::test]
async fn a_length_is_needed_and_may_not_come_later() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let begin = async |headers: &[(&str, &str)]| {
        let mut request = tus(&user, Method::POST, PATH);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        user.send(request).await
    };
    for headers in [
        &[][..],
        &[("Upload-Length", "")],
        &[("Upload-Length", "-1")],
        &[("Upload-Length", "many")],
        &[("Upload-Length", "1.5")],
        &[("Upload-Defer-Length", "1")],
        &[("Upload-Length", "10"), ("Upload-Defer-Length", "1")],
    ] {
        assert_code(&begin(headers).await, 400, "malformed_header", &format!("{headers:?}"));
    }
    for length in ["10485761", "99999999999999999999999999"] {
        assert_code(&begin(&[("Upload-Length", length)]).await, 413, "too_large", length);
    }
    let empty = begin(&[("Upload-Length", "0")]).await;
    assert_code(&empty, 422, "damaged_file", "no file is empty");
    assert_eq!(left(&cura).await, 0);
    assert_eq!(begin(&[("Upload-Length", "10485760")]).await.status, 201);
}

#[tokio::test]
async fn metadata_is_checked_and_given_back() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let begin = async |metadata: &[u8]| {
        let request = tus(&user, Method::POST, PATH).header("Upload-Length", "1000");
        user.send(request.header("Upload-Metadata", metadata)).await
    };
    let long = format!("a {}", "A".repeat(9000));
    for bad in [
        "filename ***",
        "a,a",
        "message_id c2V2ZW4=",
        "filename /w==",
        ",",
        &long,
    ] {
        assert_code(&begin(bad.as_bytes()).await, 400, "malformed_header", bad);
    }
    assert_code(&begin(b"filename \xff").await, 400, "malformed_header", "no text");
    assert_eq!(left(&cura).await, 0);
    // A name with a folder, and one with a character that Postgres does not take.
    for (name, shown) in [
        ("../../etc/a.png", "a.png"),
        ("a\0b\u{202e}.png", "ab.png"),
        ("", "file.png"),
    ] {
        let metadata = format!("{},type aW1hZ2UvcG5n,is_secret", named(name));
        let request = tus(&user, Method::POST, PATH).header("Upload-Length", samples::PNG.len());
        let begun = user.send(request.header("Upload-Metadata", &metadata)).await;
        let path = begun.header("location").unwrap();
        assert_eq!(
            head(&user, path).await.header("upload-metadata"),
            Some(metadata.as_str())
        );
        assert_eq!(send_part(&user, path, 0, samples::PNG).await.status, 204);
        assert_eq!(user.get(&super::file_of(path)).await.body["filename"], shown);
    }
}

#[tokio::test]
async fn a_part_needs_its_type_and_its_offset() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let content = picture(1000);
    let path = begin(&user, content.len()).await;
    assert_eq!(send_part(&user, &path, 0, content[..100].to_vec()).await.status, 204);
    for wrong in ["application/octet-stream", "application/json", "text/plain"] {
        let request = tus(&user, Method::PATCH, &path).header("Upload-Offset", "100");
        let reply = user.send(request.header("content-type", wrong).body("x")).await;
        assert_code(&reply, 415, "unsupported_media_type", wrong);
    }
    let untyped = tus(&user, Method::PATCH, &path)
        .header("Upload-Offset", "100")
        .body("x");
    assert_code(&user.send(untyped).await, 415, "unsupported_media_type", "none");
    for wrong in [None, Some(""), Some("-1"), Some("ten")] {
        let mut request = tus(&user, Method::PATCH, &path).header("content-type", PART);
        if let Some(wrong) = wrong {
            request = request.header("Upload-Offset", wrong);
        }
        let reply = user.send(request.body("x")).await;
        assert_code(&reply, 400, "malformed_header", &format!("{wrong:?}"));
    }
    for wrong in [0, 99, 101, 1000, 99_999_999] {
        let reply = send_part(&user, &path, wrong, "x").await;
        assert_code(&reply, 409, "wrong_offset", &wrong.to_string());
        assert_eq!(reply.header("tus-resumable"), Some("1.0.0"));
    }
    for nobodys in [
        "/uploads/resumable/999999999",
        "/uploads/resumable/0",
        "/uploads/resumable/-1",
    ] {
        assert_code(&send_part(&user, nobodys, 0, "x").await, 404, "file_not_found", nobodys);
    }
    assert_code(
        &send_part(&user, "/uploads/resumable/x", 0, "x").await,
        404,
        "not_found",
        "no id",
    );
    assert_eq!(offset(&user, &path).await, 100);
}

#[tokio::test]
async fn what_is_longer_than_was_said_is_refused_and_nothing_of_it_is_kept() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let content = picture(100_000);
    let path = begin(&user, content.len()).await;
    assert_eq!(send_part(&user, &path, 0, content[..50_000].to_vec()).await.status, 204);
    let announced = send_part(&user, &path, 50_000, vec![0; 50_001]).await;
    assert_code(&announced, 413, "too_large", "announced");
    let pieces = (0..6).map(|_| Ok::<_, std::io::Error>(vec![0_u8; 10_000]));
    let in_chunks = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let reply = user.send(part(&user, &path, 50_000, in_chunks)).await;
    assert_code(&reply, 413, "too_large", "in chunks");
    let stored = "SELECT COALESCE(sum(octet_length(bytes)), 0)::bigint FROM resumable_parts";
    assert_eq!(
        (offset(&user, &path).await, cura.database.count(stored).await),
        (50_000, 50_000)
    );
    assert_eq!(
        send_part(&user, &path, 50_000, content[50_000..].to_vec()).await.status,
        204
    );
    super::assert_is_file(&cura, &user, &path, &content).await;
    assert_code(
        &send_part(&user, &path, 100_000, "x").await,
        413,
        "too_large",
        "behind the end",
    );
}

#[tokio::test]
async fn a_header_may_say_the_method_and_other_methods_are_none() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let content = picture(1000);
    let path = begin(&user, content.len()).await;
    let meant = |method: &str| tus(&user, Method::POST, &path).header("X-HTTP-Method-Override", method);
    let patch = meant("PATCH").header("Upload-Offset", "0").header("content-type", PART);
    assert_eq!(user.send(patch.body(content[..10].to_vec())).await.status, 204);
    assert_eq!(offset(&user, &path).await, 10);
    assert_eq!(user.send(meant("DELETE")).await.status, 204);
    assert_eq!(head(&user, &path).await.status, 404);
    let reply = user.get(&path).await;
    assert_code(&reply, 405, "method_not_allowed", "GET");
    let mut allowed: Vec<&str> = reply.header("allow").unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "HEAD", "PATCH"]);
    // Nowhere else.
    let elsewhere = user
        .request(Method::POST, "/users/me")
        .header("X-HTTP-Method-Override", "DELETE");
    assert_eq!(user.send(elsewhere).await.status, 405);
}

#[tokio::test]
async fn pages_of_listed_origins_may_upload() {
    let cura = Cura::builder()
        .workers(0)
        .with("ALLOWED_ORIGINS", r#"["https://app.example"]"#)
        .start()
        .await;
    let user = cura.user().await;
    for method in ["POST", "PATCH", "HEAD", "DELETE"] {
        let asked = user.request(Method::OPTIONS, "/uploads/resumable/7");
        let asked = asked.header("origin", "https://app.example");
        let asked = asked.header("access-control-request-method", method).header(
            "access-control-request-headers",
            "authorization,content-type,tus-resumable,upload-length,upload-metadata,upload-offset",
        );
        let reply = user.send(asked).await;
        assert_eq!(reply.status, 204);
        assert!(reply.header("access-control-allow-methods").unwrap().contains(method));
        let allowed = reply.header("access-control-allow-headers").unwrap();
        for name in ["tus-resumable", "upload-length", "upload-metadata", "upload-offset"] {
            assert!(allowed.contains(name), "{name}");
        }
        assert!(reply.header("tus-version").is_none(), "it is no question of TUS");
    }
    let path = begin(&user, 1000).await;
    let read = user
        .send(tus(&user, Method::HEAD, &path).header("origin", "https://app.example"))
        .await;
    let exposed = read.header("access-control-expose-headers").unwrap();
    for name in [
        "location",
        "upload-offset",
        "upload-length",
        "upload-expires",
        "tus-resumable",
        "tus-version",
    ] {
        assert!(exposed.contains(name), "{name}");
    }
}
