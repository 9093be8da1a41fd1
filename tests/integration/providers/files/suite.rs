//! What every store does. Each of these is a test of each store: see [`of_store`].

use cura_providers::files::{FileStore, FileStoreError};
use sha2::{Digest, Sha256};

use super::{content, file, key, put, read};

/// Makes the tests of a store, which `start` gives with what has to live as long as it.
macro_rules! of_store {
    ($start:path) => {
        super::suite::of_store!(
            $start,
            what_is_put_is_opened_whole_or_in_part,
            an_empty_file_is_a_file,
            ten_mebibytes_come_back_as_they_were,
            what_is_put_twice_is_what_came_last,
            what_is_deleted_is_missing_and_deleting_it_again_succeeds,
            no_more_than_the_size_is_put_and_less_is_an_error,
            many_at_once_are_not_mixed_up,
            the_store_is_ready,
        );
    };
    ($start:path, $($test:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                let (_alive, store) = $start().await;
                super::suite::$test(&store).await;
            }
        )*
    };
}
pub(super) use of_store;

pub(super) async fn what_is_put_is_opened_whole_or_in_part(store: &FileStore) {
    let (key, other) = (key(), key());
    let content = content(200_000);
    put(store, &key, &content).await.unwrap();
    assert_eq!(read(store, &key, None).await.unwrap(), (200_000, content.clone()));
    for range in [
        0..1,
        0..200_000,
        70_000..140_001,
        199_999..200_000,
        199_999..u64::MAX,
        0..u64::MAX,
    ] {
        let within = range.start as usize..range.end.min(200_000) as usize;
        let read = read(store, &key, Some(range.clone())).await.unwrap();
        assert_eq!(read, (200_000, content[within].to_vec()), "{range:?}");
    }
    for nothing in [0..0, 5..5, 200_000..200_001, 300_000..u64::MAX] {
        let read = read(store, &key, Some(nothing.clone())).await;
        assert_eq!(read, Ok((200_000, Vec::new())), "{nothing:?}");
    }
    for range in [None, Some(0..0), Some(0..5)] {
        assert_eq!(read(store, &other, range).await, Err(FileStoreError::Missing));
    }
}

pub(super) async fn an_empty_file_is_a_file(store: &FileStore) {
    let key = key();
    put(store, &key, &[]).await.unwrap();
    for range in [None, Some(0..0), Some(0..1)] {
        assert_eq!(read(store, &key, range).await, Ok((0, Vec::new())));
    }
    store.delete(&key).await.unwrap();
    assert_eq!(read(store, &key, None).await, Err(FileStoreError::Missing));
}

pub(super) async fn ten_mebibytes_come_back_as_they_were(store: &FileStore) {
    let (key, content) = (key(), content(10 * 1024 * 1024));
    put(store, &key, &content).await.unwrap();
    let (size, read) = read(store, &key, None).await.unwrap();
    assert_eq!(size, 10 * 1024 * 1024);
    assert_eq!(Sha256::digest(&read), Sha256::digest(&content));
}

pub(super) async fn what_is_put_twice_is_what_came_last(store: &FileStore) {
    let key = key();
    for content in [content(100_000), content(100_000), content(70_000), content(130_000)] {
        put(store, &key, &content).await.unwrap();
        assert_eq!(read(store, &key, None).await.unwrap(), (content.len() as u64, content));
    }
}

pub(super) async fn what_is_deleted_is_missing_and_deleting_it_again_succeeds(store: &FileStore) {
    let (key, twin) = (key(), key());
    put(store, &key, b"letter").await.unwrap();
    put(store, &twin, b"twin").await.unwrap();
    for _ in 0..2 {
        store.delete(&key).await.unwrap();
        assert_eq!(read(store, &key, None).await, Err(FileStoreError::Missing));
    }
    assert_eq!(read(store, &twin, None).await, Ok((4, b"twin".to_vec())));
    put(store, &key, b"again").await.unwrap();
    assert_eq!(read(store, &key, None).await, Ok((5, b"again".to_vec())));
}

pub(super) async fn no_more_than_the_size_is_put_and_less_is_an_error(store: &FileStore) {
    let (key, content) = (key(), content(100_000));
    let stored = store.put(&key, file(&content), 70_000, "text/plain").await;
    stored.unwrap();
    assert_eq!(read(store, &key, None).await, Ok((70_000, content[..70_000].to_vec())));
    let short = store.put(&key, file(&content), 100_001, "text/plain").await;
    assert!(matches!(short, Err(FileStoreError::Unavailable(_))), "{short:?}");
    let kept = read(store, &key, None).await.unwrap();
    assert_eq!(kept.0, 70_000, "half a file takes no place");
}

pub(super) async fn many_at_once_are_not_mixed_up(store: &FileStore) {
    let work = (0..20).map(async |n: usize| {
        let (key, content) = (key(), content(50_000 + n));
        put(store, &key, &content).await.unwrap();
        let read = read(store, &key, None).await.unwrap();
        assert_eq!(read, (content.len() as u64, content));
        store.delete(&key).await.unwrap();
    });
    futures_util::future::join_all(work).await;
}

pub(super) async fn the_store_is_ready(store: &FileStore) {
    assert_eq!(store.check().await, Ok(()));
}
