//! The file store is away, or refuses: 503, and nothing is kept.

use cura_tests::supabase_server::{BUCKET, KEY};
use cura_tests::{
    Cura, CuraBuilder, Form, HttpAnswer, HttpServer, Reply, S3Server, SupabaseServer, eventually, s3_server,
};
use serde_json::json;

use super::{assert_code, assert_nothing_is_kept, clean_up, objects, rows, samples};

fn on_supabase(url: &str, key: &str) -> CuraBuilder {
    Cura::builder()
        .with("STORAGE_PROVIDER", "supabase")
        .with("SUPABASE_URL", url)
        .with("SUPABASE_KEY", key)
        .with("SUPABASE_STORAGE_BUCKET", BUCKET)
}

fn assert_unavailable(reply: &Reply, what: &str) {
    assert_code(reply, 503, "storage_unavailable", what);
    assert_eq!(reply.header("retry-after"), Some("10"), "{what}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_keeps_nothing_until_it_can() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let folder = cura.data.path().join("files");
    std::fs::rename(&folder, cura.data.path().join("away")).unwrap();
    std::fs::write(&folder, "no folder").unwrap();
    let form = || Form::of("a.png", samples::png_of(200_000));
    assert_unavailable(&user.upload_with_key(form(), "one").await, "no folder");
    assert_eq!(rows(&cura).await, 0);
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(cura.data.path().join("away"), &folder).unwrap();
    let again = user.upload_with_key(form(), "one").await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotent-replayed")),
        (201, None),
        "{}",
        again.body
    );
    assert_eq!((rows(&cura).await, objects(&cura).len()), (1, 1));
}

#[tokio::test]
async fn health_says_whether_files_can_be_kept() {
    let cura = Cura::start().await;
    let storage = async || cura.client().get("/health").await.body;
    let health = storage().await;
    assert_eq!(health["storage"], json!({ "status": "up", "provider": "disk" }));
    assert_eq!(
        health["scanner"],
        json!({ "status": "up", "clamd": "not_used", "sandbox": "up" })
    );
    let folder = cura.data.path().join("files");
    std::fs::rename(&folder, cura.data.path().join("away")).unwrap();
    eventually("the store is down", async || {
        let health = storage().await;
        (health["storage"]["status"] == "down" && health["status"] == "degraded").then_some(())
    })
    .await;
    std::fs::rename(cura.data.path().join("away"), &folder).unwrap();
    eventually("the store is up", async || {
        (storage().await["storage"]["status"] == "up").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_disk_on_which_files_cannot_arrive_is_no_fault_of_the_client() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    std::fs::rename(cura.data.path(), cura.data.path().with_extension("away")).unwrap();
    let reply = user.upload(Form::of("a.png", samples::png_of(200_000))).await;
    std::fs::rename(cura.data.path().with_extension("away"), cura.data.path()).unwrap();
    assert_unavailable(&reply, "nowhere to arrive");
    assert_nothing_is_kept(&cura, "nowhere to arrive").await;
}

#[tokio::test]
async fn a_service_that_is_away_or_refuses_keeps_nothing() {
    let refusing = SupabaseServer::start().await;
    let failing = HttpServer::start(|_| HttpAnswer::json(500, &json!({ "message": "no" }))).await;
    let cut = HttpServer::start(|_| HttpAnswer::Cut).await;
    for (what, url, key) in [
        ("nobody there", "http://127.0.0.1:1".to_owned(), KEY),
        ("a wrong key", refusing.url(), "sb_secret_wrong"),
        ("failing", failing.url(), KEY),
        ("cut", cut.url(), KEY),
    ] {
        let cura = on_supabase(&url, key).workers(0).start().await;
        let user = cura.user().await;
        assert_unavailable(&user.upload(Form::of("a.png", samples::PNG)).await, what);
        assert_nothing_is_kept(&cura, what).await;
        let listed = "SELECT count(*) FROM object_deletions WHERE due_at > now() + interval '10 minutes'";
        assert_eq!(
            cura.database.count(listed).await,
            1,
            "{what}: an answer that was lost is no refusal"
        );
        let said = cura.logs();
        assert!(
            !said.contains(KEY) && !said.contains("sb_secret_wrong") && !said.contains("a.png"),
            "{said}"
        );
    }
    assert!(refusing.objects().is_empty());
}

#[tokio::test]
async fn s3_keeps_files_deletes_them_and_may_be_away() {
    let s3 = S3Server::start().await;
    let on_s3 = |url: String| {
        Cura::builder()
            .with("STORAGE_PROVIDER", "s3")
            .with("S3_ENDPOINT", url)
            .with("S3_REGION", "us-east-1")
            .with("S3_BUCKET", s3_server::BUCKET)
            .with("S3_ACCESS_KEY_ID", s3_server::ACCESS_KEY_ID)
            .with("S3_SECRET_ACCESS_KEY", s3_server::SECRET_ACCESS_KEY)
    };
    let cura = on_s3(s3.url()).start().await;
    let user = cura.user().await;
    let kept = user.upload(Form::of("a.png", samples::PNG)).await;
    assert_eq!((kept.status.as_u16(), s3.objects()), (201, 1), "{}", kept.body);
    let path = format!("/uploads/{}", kept.body["id"]);
    assert_eq!(
        user.send(user.request(reqwest::Method::DELETE, &path)).await.status,
        204
    );
    eventually("the object is deleted", async || (s3.objects() == 0).then_some(())).await;
    let cura = on_s3("http://127.0.0.1:1".to_owned()).workers(0).start().await;
    let user = cura.user().await;
    assert_unavailable(&user.upload(Form::of("a.png", samples::PNG)).await, "nobody there");
    assert_nothing_is_kept(&cura, "nobody there").await;
}

#[tokio::test]
async fn a_service_keeps_files_and_deletes_them() {
    let supabase = SupabaseServer::start().await;
    let mut cura = on_supabase(&supabase.url(), KEY).workers(0).start().await;
    let user = cura.user().await;
    for sample in samples::all() {
        let reply = user.upload(Form::of(sample.name, &sample.bytes)).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
    }
    let kept = supabase.objects();
    let samples = samples::all();
    assert_eq!(kept.len(), samples.len());
    for sample in &samples {
        let of_type = kept.values().filter(|object| object.content_type == sample.media_type);
        assert!(
            of_type.map(|object| &object.content).eq([&sample.bytes]),
            "{}",
            sample.name
        );
    }
    for file in user.get("/uploads").await.body["items"].as_array().unwrap() {
        let path = format!("/uploads/{}", file["id"]);
        assert_eq!(
            user.send(user.request(reqwest::Method::DELETE, &path)).await.status,
            204
        );
    }
    cura.add_worker().await;
    clean_up(&cura, 1).await;
    assert!(supabase.objects().is_empty());
}
