//! Signed links: they give out clean files, to whoever has them, for as long as their person is there; and nothing else.

use cura_tests::supabase_server::{BUCKET, KEY};
use cura_tests::{Client, Cura, Form, Reply, S3Server, SupabaseServer, s3_server};
use reqwest::Method;
use serde_json::{Value, json};

use super::{assert_code, execute, objects, samples};

/// Uploads a file and waits until it is clean.
async fn clean(user: &Client, name: &str, bytes: impl AsRef<[u8]>) -> Value {
    let reply = user.upload(Form::of(name, bytes)).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let file = user.until_scanned(&reply.body["id"]).await;
    assert_eq!(file["status"], "clean", "{file}");
    file
}

fn link<'a>(file: &'a Value, field: &str) -> &'a str {
    file[field].as_str().unwrap_or_else(|| panic!("{field}: {file}"))
}

/// Somebody who is not signed in.
fn stranger(cura: &Cura) -> Client {
    cura.client()
}

async fn get_with(client: &Client, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = client.request(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.send(request).await
}

fn assert_not_found(reply: &Reply, what: &str) {
    assert_code(reply, 404, "file_not_found", what);
}

#[tokio::test]
async fn a_clean_file_is_given_out_as_it_was_uploaded() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    for sample in samples::all() {
        let file = clean(&user, sample.name, &sample.bytes).await;
        let expires_in = file["expires_in"].as_i64().unwrap();
        assert!((3000..=3600).contains(&expires_in), "{file}");
        let given = stranger(&cura).get(link(&file, "url")).await;
        assert_eq!(given.status, 200, "{}: {}", sample.name, given.body);
        assert!(given.bytes == sample.bytes, "{}", sample.name);
        let name = format!("attachment; filename*=UTF-8''{}", sample.name);
        for (header, value) in [
            ("content-type", sample.media_type),
            ("content-length", &sample.bytes.len().to_string()),
            ("content-disposition", &name),
            ("etag", &format!("\"{}\"", file["sha256"].as_str().unwrap())),
            ("accept-ranges", "bytes"),
            ("x-content-type-options", "nosniff"),
            (
                "content-security-policy",
                "sandbox; default-src 'none'; frame-ancestors 'none'",
            ),
            ("cross-origin-resource-policy", "cross-origin"),
        ] {
            assert_eq!(given.header(header), Some(value), "{}: {header}", sample.name);
        }
        let cache = given.header("cache-control").unwrap();
        let max_age: i64 = cache.strip_prefix("private, max-age=").unwrap().parse().unwrap();
        assert!((2900..=expires_in).contains(&max_age), "{cache}");
        // What has no picture has no thumbnail.
        assert_eq!(
            file["thumbnail_url"].is_string(),
            sample.media_type.starts_with("image/"),
            "{file}"
        );
        let known = get_with(
            &stranger(&cura),
            link(&file, "url"),
            &[("if-none-match", given.header("etag").unwrap())],
        )
        .await;
        assert_eq!((known.status.as_u16(), known.bytes.len()), (304, 0));
        assert_eq!(known.header("etag"), given.header("etag"));
    }
    // A link stays the same for a while, in lists as elsewhere.
    let listed = user.get("/uploads").await;
    for file in listed.body["items"].as_array().unwrap() {
        let again = user.get(&format!("/uploads/{}", file["id"])).await;
        let minute = |url: &Value| {
            url.as_str().unwrap().split("exp=").nth(1).unwrap()[..10]
                .parse::<i64>()
                .unwrap()
        };
        let later = minute(&again.body["url"]) - minute(&file["url"]);
        assert!(later == 0 || later == 600, "{file}");
    }
}

#[tokio::test]
async fn a_thumbnail_is_small_and_made_anew() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let file = clean(&user, "photo.png", samples::JPEG).await;
    let given = stranger(&cura).get(link(&file, "thumbnail_url")).await;
    assert_eq!(
        (given.status.as_u16(), given.header("content-type")),
        (200, Some("image/jpeg"))
    );
    assert!(given.bytes.starts_with(&[0xff, 0xd8]) && given.bytes.len() < 64 * 1024);
    assert_ne!(given.bytes, samples::JPEG);
    assert_eq!(
        given.header("content-disposition"),
        Some("attachment; filename*=UTF-8''photo.png.jpg"),
        "saved as what it is"
    );
    let original = stranger(&cura).get(link(&file, "url")).await;
    assert_ne!(given.header("etag"), original.header("etag"));
}

#[tokio::test]
async fn a_download_goes_on_where_it_was_cut() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let bytes = samples::png_of(300_000);
    let file = clean(&user, "a.png", &bytes).await;
    let (url, client) = (link(&file, "url"), stranger(&cura));
    let tag = format!("\"{}\"", file["sha256"].as_str().unwrap());
    for (range, part) in [
        ("bytes=100000-", &bytes[100_000..]),
        ("bytes=0-0", &bytes[..1]),
        ("bytes=-7", &bytes[bytes.len() - 7..]),
        ("bytes=299999-400000", &bytes[299_999..]),
    ] {
        let given = get_with(&client, url, &[("range", range), ("if-range", &tag)]).await;
        assert_eq!(given.status, 206, "{range}");
        assert!(given.bytes == part, "{range}");
        let first = part.as_ptr() as usize - bytes.as_ptr() as usize;
        let named = format!("bytes {first}-{}/{}", first + part.len() - 1, bytes.len());
        assert_eq!(given.header("content-range"), Some(named.as_str()));
        assert_eq!(given.header("etag"), Some(tag.as_str()));
    }
    for headers in [
        &[("range", "bytes=1-2,4-5")][..],
        &[("range", "bytes=100-"), ("if-range", "\"another\"")],
    ] {
        let given = get_with(&client, url, headers).await;
        assert_eq!(
            (given.status.as_u16(), given.bytes == bytes),
            (200, true),
            "{headers:?}"
        );
    }
    for condition in ["nonsense", "W/"] {
        let given = get_with(&client, url, &[("range", "bytes=100-"), ("if-range", condition)]).await;
        assert_eq!(given.status, 200, "{condition}");
    }
    let behind = get_with(&client, url, &[("range", "bytes=300000-")]).await;
    assert_code(&behind, 416, "range_not_satisfiable", "behind the end");
    assert_eq!(behind.header("content-range"), Some("bytes */300000"));
    let head = client
        .send(client.request(Method::HEAD, url).header("range", "bytes=5-"))
        .await;
    assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0));
    for header in [
        "content-type",
        "content-length",
        "etag",
        "content-disposition",
        "accept-ranges",
    ] {
        assert_eq!(head.header(header), client.get(url).await.header(header), "{header}");
    }
}

#[tokio::test]
async fn nothing_is_given_out_that_is_not_clean_and_somebodys() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let file = clean(&user, "a.png", samples::PNG).await;
    let id = &file["id"];
    let url = link(&file, "url").to_owned();
    let thumbnail = link(&file, "thumbnail_url").to_owned();
    let client = stranger(&cura);
    for (what, spoil, mend) in [
        (
            "scanned again",
            "UPDATE files SET status = 'scanning'",
            "UPDATE files SET status = 'clean'",
        ),
        (
            "infected",
            "UPDATE files SET status = 'infected', reason_code = 'malware'",
            "UPDATE files SET status = 'clean', reason_code = NULL",
        ),
        (
            "suspended",
            "UPDATE users SET suspended_at = now()",
            "UPDATE users SET suspended_at = NULL",
        ),
        (
            "erased",
            "UPDATE users SET erased_at = now()",
            "UPDATE users SET erased_at = NULL",
        ),
    ] {
        execute(&cura, spoil).await;
        for url in [&url, &thumbnail] {
            assert_not_found(&client.get(url).await, what);
        }
        if what == "scanned again" || what == "infected" {
            let shown = user.get(&format!("/uploads/{id}")).await.body;
            for field in ["url", "thumbnail_url", "expires_in"] {
                assert!(shown[field].is_null(), "{what}: {shown}");
            }
        }
        execute(&cura, mend).await;
        assert_eq!(client.get(&url).await.status, 200, "after {what}");
    }
    let other = clean(&user, "b.png", samples::png_number(1)).await;
    let signature = |url: &str| url.rsplit_once("sig=").unwrap().1.to_owned();
    let (ours, theirs) = (signature(&url), signature(link(&other, "url")));
    for (what, forged) in [
        (
            "another file",
            url.replace(&format!("/files/{id}"), &format!("/files/{}", other["id"])),
        ),
        ("the signature of another", url.replace(&ours, &theirs)),
        ("another variant", url.replace("v=original", "v=thumb")),
        ("what the model gets", url.replace("v=original", "v=model")),
        ("later", url.replace("exp=1", "exp=2")),
        ("the same time in other digits", url.replace("exp=", "exp=0")),
        ("the same time with its sign", url.replace("exp=", "exp=%2B")),
        ("the same file in other digits", url.replace("/files/", "/files/0")),
        ("the same file with its sign", url.replace("/files/", "/files/+")),
        ("no signature", url.replace(&ours, "")),
        ("cut", url[..url.len() - 1].to_owned()),
        ("longer", format!("{url}A")),
        ("nothing", format!("/files/{id}")),
        ("no number", "/files/../files?v=original".to_owned()),
        ("no id", url.replace(&format!("/files/{id}"), "/files/x")),
    ] {
        let reply = client.get(&forged).await;
        assert_eq!(reply.status, 404, "{what}: {}", reply.body);
        assert!(!reply.body.to_string().contains("sha256"), "{what}");
    }
    // Deleted, its links are dead at once.
    let gone = user.send(user.request(Method::DELETE, &format!("/uploads/{id}"))).await;
    assert_eq!(gone.status, 204);
    for url in [&url, &thumbnail] {
        assert_not_found(&client.get(url).await, "deleted");
    }
    let said = cura.logs();
    assert!(!said.contains(&ours) && !said.contains("sig="), "no link is logged");
}

#[tokio::test]
async fn a_link_costs_nothing_and_guessing_one_does() {
    let cura = Cura::builder().with("RATE_LIMIT_DEFAULT", "20").start().await;
    let user = cura.user().await;
    let file = clean(&user, "a.png", samples::PNG).await;
    let (url, client) = (link(&file, "thumbnail_url"), stranger(&cura));
    for n in 0..60 {
        assert_eq!(client.get(url).await.status, 200, "{n}");
    }
    // Nor does one that leads to nothing any more, or asks for nothing that is there.
    for _ in 0..30 {
        assert_eq!(
            get_with(&client, url, &[("range", "bytes=99999999-")]).await.status,
            416
        );
    }
    let gone = clean(&user, "b.png", samples::png_number(1)).await;
    user.send(user.request(Method::DELETE, &format!("/uploads/{}", gone["id"])))
        .await;
    for _ in 0..30 {
        assert_not_found(&client.get(link(&gone, "url")).await, "deleted");
    }
    let forged = format!("{url}A");
    let mut refused = 0;
    for _ in 0..40 {
        let reply = client.get(&forged).await;
        assert!(matches!(reply.status.as_u16(), 404 | 429), "{}", reply.body);
        refused += usize::from(reply.status == 429);
    }
    assert!(refused >= 10, "{refused} of 40");
    assert_eq!(
        client.get(url).await.status,
        200,
        "who has a link is not refused for others"
    );
}

#[tokio::test]
async fn a_store_that_does_not_give_a_file_is_no_fault_of_the_client() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let bytes = samples::png_of(100_000);
    let file = clean(&user, "a.png", &bytes).await;
    let folder = cura.data.path().join("files");
    std::fs::rename(&folder, cura.data.path().join("away")).unwrap();
    let reply = stranger(&cura).get(link(&file, "url")).await;
    assert_code(&reply, 503, "storage_unavailable", "away");
    std::fs::rename(cura.data.path().join("away"), &folder).unwrap();
    assert_eq!(stranger(&cura).get(link(&file, "url")).await.status, 200);
    // One that has become shorter must not look whole.
    let user_folder = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().is_some_and(|name| name != "incoming"))
        .unwrap();
    assert_eq!(objects(&cura).len(), 3);
    for object in std::fs::read_dir(user_folder).unwrap() {
        let object = object.unwrap();
        if object.metadata().unwrap().len() == bytes.len() as u64 {
            std::fs::write(object.path(), &bytes[..50_000]).unwrap();
        }
    }
    let reply = stranger(&cura).get(link(&file, "url")).await;
    assert_code(&reply, 503, "storage_unavailable", "shorter than it was");
}

/// A client that does not go where it is sent.
async fn redirected(cura: &Cura, path: &str) -> (u16, String, String) {
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let response = http
        .get(format!("{}{path}", cura.servers[0].base))
        .send()
        .await
        .unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        value
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default()
    };
    (response.status().as_u16(), header("location"), header("cache-control"))
}

#[tokio::test]
async fn every_store_gives_files_through_us_or_by_its_own_link() {
    let (s3, supabase) = (S3Server::start().await, SupabaseServer::start().await);
    let on_s3 = || {
        Cura::builder()
            .with("STORAGE_PROVIDER", "s3")
            .with("S3_ENDPOINT", s3.url())
            .with("S3_REGION", "us-east-1")
            .with("S3_BUCKET", s3_server::BUCKET)
            .with("S3_ACCESS_KEY_ID", s3_server::ACCESS_KEY_ID)
            .with("S3_SECRET_ACCESS_KEY", s3_server::SECRET_ACCESS_KEY)
    };
    let on_supabase = || {
        Cura::builder()
            .with("STORAGE_PROVIDER", "supabase")
            .with("SUPABASE_URL", supabase.url())
            .with("SUPABASE_KEY", KEY)
            .with("SUPABASE_STORAGE_BUCKET", BUCKET)
    };
    let bytes = samples::png_of(200_000);
    for (builder, at_store) in [
        (on_s3(), None),
        (on_supabase(), None),
        (on_s3().with("FILE_DELIVERY", "redirect"), Some(s3.url())),
        (on_supabase().with("FILE_DELIVERY", "redirect"), Some(supabase.url())),
    ] {
        let cura = builder.start().await;
        let user = cura.user().await;
        let file = clean(&user, "a.png", &bytes).await;
        let url = link(&file, "url");
        let (status, location, cache) = redirected(&cura, url).await;
        match &at_store {
            None => assert_eq!((status, location.as_str()), (200, "")),
            Some(store) => {
                assert_eq!((status, cache.as_str()), (302, "no-store"));
                assert!(location.starts_with(store.as_str()), "{location}");
            }
        }
        // Followed, where there is a redirection.
        let client = stranger(&cura);
        assert!(client.get(url).await.bytes == bytes);
        let part = get_with(&client, url, &[("range", "bytes=150000-")]).await;
        assert_eq!(part.status, 206);
        assert!(part.bytes == bytes[150_000..]);
        let head = client.send(client.request(Method::HEAD, url)).await;
        assert_eq!(
            (head.status.as_u16(), head.header("content-length")),
            (200, Some("200000"))
        );
        let forged = client.get(&format!("{url}A")).await;
        assert_not_found(&forged, "forged");
        let thumbnail = client.get(link(&file, "thumbnail_url")).await;
        assert_eq!((thumbnail.status.as_u16(), thumbnail.bytes.is_empty()), (200, false));
        assert_eq!(thumbnail.body, json!(null));
    }
}
