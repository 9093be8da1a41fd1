//! Files in a folder.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cura_providers::files::{FileStore, FileStoreError, FileStoreTimeouts};
use futures_util::TryStreamExt;
use tempfile::TempDir;

use super::{content, file, key, put, read};

async fn start() -> (TempDir, FileStore) {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    (data, store)
}

fn open(data: &Path) -> FileStore {
    FileStore::disk(&data.join("files"), FileStoreTimeouts::default()).unwrap()
}

super::suite::of_store!(start);

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn only_its_owner_reads_a_file_and_nothing_is_left_of_it() {
    let (data, store) = start().await;
    let (key, folder) = (key(), data.path().join("files"));
    put(&store, &key, b"letter").await.unwrap();
    assert_eq!(names(&folder), ["7", "incoming"]);
    assert!(names(&folder.join("incoming")).is_empty());
    for (path, expected) in [("", 0o700), ("7", 0o700), ("incoming", 0o700), (key.as_str(), 0o600)] {
        let mode = fs::metadata(folder.join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, expected, "{path}");
    }
    store.delete(&key).await.unwrap();
    assert_eq!(names(&folder), ["incoming"], "not even the folder of the user");
    assert_eq!(store.name(), "disk");
    let link = store
        .link(&key, "letter.pdf", "application/pdf", Duration::from_secs(60))
        .await;
    assert_eq!(link, Ok(None));
}

#[tokio::test]
async fn what_a_crash_left_is_removed_and_what_is_being_written_is_not() {
    let (data, store) = start().await;
    let incoming = data.path().join("files/incoming");
    let leave = |name: &str, age: Duration| {
        let file = File::create(incoming.join(name)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    };
    let (old, young) = (Duration::from_secs(3700), Duration::from_secs(3500));
    leave("old", old);
    leave("young", young);
    put(&store, &key(), b"letter").await.unwrap();
    assert_eq!(names(&incoming), ["young"], "by the next file");
    leave("old", old);
    assert_eq!(open(data.path()).check().await, Ok(()));
    assert_eq!(names(&incoming), ["young"], "by the next start");
    let (key, other) = (key(), key());
    for key in [&key, &other] {
        let (user, name) = key.parts();
        leave(&format!("{user}-{name}.a1B2c3"), young);
    }
    assert_eq!(store.delete(&key).await, Ok(()));
    let (user, name) = other.parts();
    assert_eq!(
        names(&incoming),
        [format!("{user}-{name}.a1B2c3"), "young".to_owned()],
        "by deleting the file"
    );
}

#[tokio::test]
async fn a_file_is_read_to_its_end_though_it_is_replaced_or_deleted_meanwhile() {
    let (_data, store) = start().await;
    let key = key();
    let before = content(500_000);
    put(&store, &key, &before).await.unwrap();
    let opened = [
        store.open(&key, None).await.unwrap(),
        store.open(&key, None).await.unwrap(),
    ];
    put(&store, &key, b"another").await.unwrap();
    store.delete(&key).await.unwrap();
    for opened in opened {
        let pieces: Vec<_> = opened.bytes.try_collect().await.unwrap();
        assert_eq!(pieces.concat(), before);
    }
}

#[tokio::test]
async fn a_file_that_became_shorter_is_no_whole_file() {
    let (data, store) = start().await;
    let key = key();
    put(&store, &key, &content(500_000)).await.unwrap();
    let opened = store.open(&key, None).await.unwrap();
    let path = data.path().join("files").join(key.as_str());
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(400_000)
        .unwrap();
    let read: Result<Vec<_>, _> = opened.bytes.try_collect().await;
    assert!(matches!(read, Err(FileStoreError::Unavailable(_))), "{read:?}");
}

#[tokio::test]
async fn files_of_one_user_come_and_go_at_the_same_time() {
    let (data, store) = start().await;
    // Whoever deletes the last one deletes the folder that another one is being put into.
    let work = (0..50).map(async |_| {
        let key = key();
        put(&store, &key, b"letter").await.unwrap();
        assert_eq!(read(&store, &key, None).await.unwrap().1, b"letter");
        store.delete(&key).await.unwrap();
    });
    futures_util::future::join_all(work).await;
    assert_eq!(names(&data.path().join("files")), ["incoming"]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_said_and_leaves_nothing() {
    let (data, store) = start().await;
    let (kept, folder) = (key(), data.path().join("files"));
    put(&store, &kept, b"letter").await.unwrap();
    // Root may write to any folder, but nobody to a file as if it was one.
    fs::remove_dir(folder.join("incoming")).unwrap();
    fs::write(folder.join("incoming"), "").unwrap();
    let failed = [store.check().await, put(&store, &key(), b"letter").await];
    for failed in failed {
        assert!(matches!(failed, Err(FileStoreError::Unavailable(_))), "{failed:?}");
    }
    assert_eq!(
        read(&store, &kept, None).await.unwrap().1,
        b"letter",
        "the others are read"
    );
    // A user whose folder is none: nothing half written stays.
    let (data, store) = start().await;
    let folder = data.path().join("files");
    fs::write(folder.join("7"), "").unwrap();
    let failed = put(&store, &key(), b"letter").await;
    assert!(matches!(failed, Err(FileStoreError::Unavailable(_))), "{failed:?}");
    assert!(names(&folder.join("incoming")).is_empty());
    assert!(FileStore::disk(&folder.join("7"), FileStoreTimeouts::default()).is_err());
}

#[tokio::test]
async fn a_folder_that_vanished_is_no_missing_file() {
    let (data, store) = start().await;
    fs::remove_dir_all(data.path().join("files")).unwrap();
    let gone = FileStoreError::Unavailable("gone".into());
    assert_eq!(store.check().await, Err(gone.clone()));
    assert_eq!(store.put(&key(), file(b"letter"), 6, "text/plain").await, Err(gone));
}
