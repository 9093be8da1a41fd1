//! Files in Supabase Storage.

use std::time::Duration;

use cura_providers::files::{FileStore, FileStoreError, FileStoreTimeouts};
use cura_tests::SupabaseServer;
use cura_tests::supabase_server::{BUCKET, KEY};

use super::{content, key, put, read, supabase_at};

async fn start() -> (SupabaseServer, FileStore) {
    let server = SupabaseServer::start().await;
    let store = supabase_at(&server.url(), KEY, BUCKET, FileStoreTimeouts::default());
    (server, store)
}

super::suite::of_store!(start);

#[tokio::test]
async fn a_file_is_kept_with_its_type_and_in_no_cache() {
    let (server, store) = start().await;
    let key = key();
    put(&store, &key, b"letter").await.unwrap();
    let objects = server.objects();
    let object = &objects[key.as_str()];
    assert_eq!(object.content_type, "application/pdf");
    assert_eq!(object.cache_control, "private, no-store");
    let address = format!("{}/storage/v1", server.url());
    let same = supabase_at(&address, KEY, BUCKET, FileStoreTimeouts::default());
    assert_eq!(
        read(&same, &key, None).await.unwrap().1,
        b"letter",
        "the address of the interface will do"
    );
    assert_eq!(store.name(), "supabase");
}

#[tokio::test]
async fn a_link_leads_to_the_file_under_its_name() {
    let (server, store) = start().await;
    let (key, missing) = (key(), key());
    let content = content(100_000);
    put(&store, &key, &content).await.unwrap();
    let link = async |key, lifetime| {
        let name = "Größe & \"1\".pdf";
        let link = store.link(key, name, "application/pdf", lifetime).await?;
        Ok::<_, FileStoreError>(link.unwrap())
    };
    let minute = Duration::from_secs(60);
    let url = link(&key, minute).await.unwrap();
    let path = format!(
        "{}/storage/v1/object/sign/{BUCKET}/{}?token=",
        server.url(),
        key.as_str()
    );
    assert!(url.as_str().starts_with(&path), "{url}");
    let got = reqwest::Client::builder()
        .build()
        .unwrap()
        .get(url)
        .send()
        .await
        .unwrap();
    assert_eq!(
        got.headers()["content-disposition"],
        "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe+%26+%221%22.pdf"
    );
    assert_eq!(got.bytes().await.unwrap(), content);
    assert!(link(&key, Duration::ZERO).await.is_ok(), "a second at least");
    assert_eq!(link(&missing, minute).await, Err(FileStoreError::Missing));
}

#[tokio::test]
async fn a_wrong_key_or_bucket_is_refused_and_no_file_is_missing_for_it() {
    let (server, right) = start().await;
    let key = key();
    put(&right, &key, b"letter").await.unwrap();
    let at = |secret: &str, bucket: &str| supabase_at(&server.url(), secret, bucket, FileStoreTimeouts::default());
    for (wrong, code) in [
        (at("sb_secret_other", BUCKET), "http_401"),
        (at(KEY, "another"), "NoSuchBucket"),
    ] {
        let refused = Err(FileStoreError::Refused(code.into()));
        assert_eq!(wrong.check().await, refused);
        assert_eq!(put(&wrong, &key, b"other").await, refused);
        assert_eq!(wrong.delete(&key).await, refused);
        assert_eq!(read(&wrong, &key, None).await.map(|_| ()), refused);
        let link = wrong.link(&key, "letter.pdf", "application/pdf", Duration::from_secs(60));
        assert_eq!(link.await.map(|_| ()), refused);
    }
    assert_eq!(read(&right, &key, None).await.unwrap().1, b"letter");
}

#[tokio::test]
async fn a_key_that_may_not_delete_is_found_out() {
    let (server, store) = start().await;
    let (key, missing) = (key(), key());
    put(&store, &key, b"letter").await.unwrap();
    server.delete_nothing();
    assert_eq!(
        store.delete(&key).await,
        Err(FileStoreError::Refused("not_deleted".into()))
    );
    assert_eq!(store.delete(&missing).await, Ok(()));
}
