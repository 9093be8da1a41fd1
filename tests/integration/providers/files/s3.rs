//! Files in a bucket of S3.

use std::time::Duration;

use cura_providers::files::{FileStore, FileStoreError, FileStoreTimeouts};
use cura_tests::S3Server;
use cura_tests::s3_server::{BUCKET, SECRET_ACCESS_KEY};

use super::{content, key, put, read, s3_at};

async fn start() -> (S3Server, FileStore) {
    let server = S3Server::start().await;
    let store = s3_at(&server.url(), SECRET_ACCESS_KEY, FileStoreTimeouts::default());
    (server, store)
}

super::suite::of_store!(start);

#[tokio::test]
async fn a_link_leads_whoever_has_it_to_one_file_for_a_minute() {
    let (server, store) = start().await;
    let (key, content) = (key(), content(100_000));
    put(&store, &key, &content).await.unwrap();
    let link = store
        .link(&key, "Größe \"1\".pdf", "application/pdf", Duration::from_secs(3600))
        .await
        .unwrap()
        .unwrap();
    assert!(
        link.as_str()
            .starts_with(&format!("{}/{BUCKET}/{}?", server.url(), key.as_str()))
    );
    let said = |name: &str| {
        let found = link.query_pairs().find(|(found, _)| found == name);
        found.map(|(_, value)| value.into_owned())
    };
    assert_eq!(said("X-Amz-Expires").as_deref(), Some("60"), "never longer");
    assert_eq!(said("response-content-type").as_deref(), Some("application/pdf"));
    assert_eq!(
        said("response-content-disposition").as_deref(),
        Some("attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%221%22.pdf")
    );
    let client = reqwest::Client::builder().build().unwrap();
    let got = client.get(link.clone()).send().await.unwrap();
    assert_eq!(got.status(), 200);
    assert_eq!(got.bytes().await.unwrap(), content);
    // The link is for reading this file as this file.
    let changed = [
        link.as_str().replace("application%2Fpdf", "text%2Fhtml"),
        link.as_str().replace(".pdf?", ".pdg?"),
    ];
    for changed in changed {
        assert_ne!(changed, link.as_str());
        assert_eq!(client.get(&changed).send().await.unwrap().status(), 403, "{changed}");
    }
    assert_eq!(client.delete(link).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_no_file_is_missing_for_it() {
    let (server, right) = start().await;
    let wrong = s3_at(&server.url(), "another", FileStoreTimeouts::default());
    let key = key();
    put(&right, &key, b"letter").await.unwrap();
    let refused = Err(FileStoreError::Refused("SignatureDoesNotMatch".into()));
    assert_eq!(wrong.check().await, refused);
    assert_eq!(put(&wrong, &key, b"other").await, refused);
    assert_eq!(wrong.delete(&key).await, refused);
    assert_eq!(read(&wrong, &key, None).await.map(|_| ()), refused);
    assert_eq!(read(&right, &key, None).await.unwrap().1, b"letter");
    assert_eq!(right.name(), "s3");
}
