//! Forms that are wrong: each refusal has its code, and nothing is left.

use cura_tests::{Cura, Form};

use super::{assert_code, assert_nothing_is_kept, faults, rows, samples};

#[tokio::test]
async fn a_form_has_one_file_and_fields_that_make_sense() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let one = || Form::of("a.png", samples::PNG);
    for (form, expected) in [
        (one().file("b.png", samples::PNG), vec![("/file", "too_many")]),
        (Form::default().field("note", "hi"), vec![("/file", "required")]),
        (Form::default(), vec![("/file", "required")]),
        (
            one().field("message_id", "seven"),
            vec![("/message_id", "invalid_type")],
        ),
        (
            one().field("message_id", "9".repeat(30)),
            vec![("/message_id", "invalid_type")],
        ),
        (
            one().field("message_id", "9".repeat(300)),
            vec![("/message_id", "invalid_type")],
        ),
        (
            one().field("message_id", 1).field("message_id", 2),
            vec![("/message_id", "too_many")],
        ),
        (one().field("status", "clean"), vec![("/status", "not_allowed")]),
        (
            Form::default().field("message_id", "x").field("user_id", 1),
            vec![
                ("/file", "required"),
                ("/message_id", "invalid_type"),
                ("/user_id", "not_allowed"),
            ],
        ),
    ] {
        let reply = user.upload(form).await;
        assert_code(&reply, 422, "validation_failed", "a field");
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(pointer, code)| (pointer.to_owned(), code.to_owned()))
            .collect();
        assert_eq!(faults(&reply), expected);
    }
    assert_nothing_is_kept(&cura, "wrong fields").await;
    // What is not known is ignored, as in JSON; and an empty field is none.
    let extra = one().field("note", "x".repeat(100_000)).field("message_id", "");
    assert_eq!(user.upload(extra).await.status, 201);
    assert_eq!(rows(&cura).await, 1);
}

#[tokio::test]
async fn what_is_no_form_is_refused() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let bytes = || Form::of("a.png", samples::PNG).end();
    let send = async |content_type: Option<&str>, body: Vec<u8>| {
        let mut request = user.request(reqwest::Method::POST, "/uploads/file").body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        user.send(request).await
    };
    for content_type in [
        None,
        Some("application/json"),
        Some("multipart/mixed; boundary=x"),
        Some("image/png"),
        Some("nonsense"),
    ] {
        let reply = send(content_type, bytes()).await;
        assert_code(&reply, 415, "unsupported_media_type", &format!("{content_type:?}"));
    }
    let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
    for content_type in ["multipart/form-data", &long] {
        let reply = send(Some(content_type), bytes()).await;
        assert_code(&reply, 400, "malformed_header", content_type);
    }
    let form = Form::of("a.png", samples::PNG);
    let content_type = form.content_type();
    for (what, body) in [
        ("nothing", vec![]),
        ("no boundary", b"only words".to_vec()),
        ("another boundary", b"--other\r\n\r\nx\r\n--other--\r\n".to_vec()),
        ("no end", form.clone().unfinished()),
        (
            "a head without an end",
            b"------a-boundary-of-a-test\r\nContent-Disposition: form-data".to_vec(),
        ),
        (
            "a head that is none",
            Form::default().part("no header at all", "x").end(),
        ),
    ] {
        let reply = send(Some(&content_type), body).await;
        assert_code(&reply, 400, "malformed_body", what);
    }
    assert_nothing_is_kept(&cura, "no forms").await;
}

#[tokio::test]
async fn parts_and_their_heads_have_their_limits() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let fields = |count: usize| (0..count).fold(Form::default(), |form, n| form.field(&format!("field{n}"), n));
    let with_head = |bytes: usize| {
        let filler = "x".repeat(bytes - 100);
        let headers =
            format!("Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nX-Filler: {filler}");
        Form::default().part(&headers, samples::PNG)
    };
    assert_eq!(user.upload(fields(7).file("a.png", samples::PNG)).await.status, 201);
    assert_eq!(user.upload(with_head(8 * 1024)).await.status, 201);
    let many = (0..1000).map(|_| "X-Same: 1234567890\r\n").collect::<String>();
    let before = |bytes: usize| {
        let form = Form::of("a.png", samples::PNG);
        (
            form.content_type(),
            ["x".repeat(bytes).into_bytes(), b"\r\n".to_vec(), form.end()].concat(),
        )
    };
    for (what, form) in [
        ("nine parts", fields(8).file("a.png", samples::PNG)),
        ("9 KiB of headers", with_head(9 * 1024)),
        (
            "many headers",
            Form::default().part(
                &format!("{many}Content-Disposition: form-data; name=\"file\""),
                samples::PNG,
            ),
        ),
        (
            "33 headers",
            Form::default().part(&format!("{}X: y", "A: b\r\n".repeat(33)), samples::PNG),
        ),
    ] {
        assert_code(&user.upload(form).await, 400, "malformed_body", what);
    }
    for (bytes, status) in [(1000, 201), (20_000, 400)] {
        let (content_type, body) = before(bytes);
        let request = user.request(reqwest::Method::POST, "/uploads/file");
        let reply = user.send(request.header("content-type", content_type).body(body)).await;
        assert_eq!(
            reply.status, status,
            "{bytes} bytes before the first part: {}",
            reply.body
        );
    }
    assert_eq!(rows(&cura).await, 3);
}
