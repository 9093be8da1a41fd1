//! The real clamd.

use std::time::{Duration, Instant};

use cura_domain::file::MAX_FILE_BYTES;
use cura_providers::scan::{ClamdTimeouts, ScanError, Verdict};
use cura_tests::clamd::{EICAR_SIGNATURE, eicar};
use cura_tests::{Clamd, Cura};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::samples::{DOCX, JPEG, PDF, PNG, docx_with, encrypted_zip, png_followed_by, png_with_chunk, zip};
use super::{SHORT, at, infected, is_unavailable, scan};

/// Long enough for a busy machine.
const PATIENT: ClamdTimeouts = ClamdTimeouts {
    connect: Duration::from_secs(10),
    idle: Duration::from_secs(30),
    scan: Duration::from_secs(60),
    call: Duration::from_secs(30),
};

#[tokio::test]
async fn a_test_virus_is_found_wherever_it_is() {
    let clamd = Clamd::start(&[]).await;
    let asked = at(&clamd.address(), PATIENT);
    let eicar = eicar();
    for (place, file) in [
        ("plain", eicar.clone()),
        ("in a Word document", docx_with(&eicar)),
        ("in a chunk of a picture", png_with_chunk(&eicar)),
        ("behind the end of a picture", png_followed_by(&eicar)),
        (
            "across two pieces",
            [&vec![b'a'; 65_500][..], &eicar, &[b'a'; 100_000]].concat(),
        ),
    ] {
        assert_eq!(scan(&asked, &file).await.unwrap(), infected(EICAR_SIGNATURE), "{place}");
    }
    for (name, file) in [
        ("empty", Vec::new()),
        ("picture", PNG.to_vec()),
        ("photo", JPEG.to_vec()),
        ("PDF", PDF.to_vec()),
        ("DOCX", DOCX.to_vec()),
        ("half of it", eicar[..40].to_vec()),
        ("another document", docx_with(b"nothing that anybody knows")),
        ("another chunk", png_with_chunk(b"nothing")),
        ("another end", png_followed_by(b"nothing")),
    ] {
        assert_eq!(scan(&asked, &file).await.unwrap(), Verdict::Clean, "{name}");
    }
}

#[tokio::test]
async fn the_largest_file_is_scanned_to_its_last_byte_and_what_is_too_large_is_for_an_operator() {
    let clamd = Clamd::start(&["StreamMaxLength 10M"]).await;
    let asked = at(&clamd.address(), PATIENT);
    let mut file = vec![b'a'; usize::try_from(MAX_FILE_BYTES).unwrap()];
    assert_eq!(scan(&asked, &file).await.unwrap(), Verdict::Clean);
    let eicar = eicar();
    let at_end = file.len() - eicar.len();
    file[at_end..].copy_from_slice(&eicar);
    assert_eq!(scan(&asked, &file).await.unwrap(), infected(EICAR_SIGNATURE));
    for more in [1, 20 * 1024 * 1024] {
        let size = MAX_FILE_BYTES + more;
        let said = asked.scan(tokio::io::repeat(7).take(size), size).await;
        assert!(matches!(said, Err(ScanError::TooLarge)), "{more}: {said:?}");
    }
}

#[tokio::test]
async fn what_clamd_has_not_looked_at_is_told_if_it_is_asked_to() {
    let entries: Vec<(String, Vec<u8>)> = (0..30_u8).map(|n| (format!("{n}.txt"), vec![n; 100])).collect();
    let entries: Vec<(&str, &[u8])> = entries
        .iter()
        .map(|(name, bytes)| (name.as_str(), &bytes[..]))
        .collect();
    let many = zip(&entries);
    for (settings, of_many, of_encrypted) in [
        (
            &["MaxFiles 10", "AlertExceedsMax yes", "AlertEncrypted yes"][..],
            Verdict::LimitsExceeded,
            Verdict::Encrypted,
        ),
        (&["MaxFiles 10"], Verdict::Clean, Verdict::Clean),
    ] {
        let clamd = Clamd::start(settings).await;
        let asked = at(&clamd.address(), PATIENT);
        assert_eq!(scan(&asked, &many).await.unwrap(), of_many, "{settings:?}");
        assert_eq!(
            scan(&asked, &encrypted_zip()).await.unwrap(),
            of_encrypted,
            "{settings:?}"
        );
    }
}

#[tokio::test]
async fn a_frozen_clamd_is_left_in_time_and_asked_again_when_it_is_back() {
    let clamd = Clamd::start(&[]).await;
    let asked = at(&clamd.address(), SHORT);
    clamd.signal("STOP");
    let begun = Instant::now();
    // One that fits into the buffers of the socket, and one that does not.
    for size in [6, 20 * 1024 * 1024] {
        let said = asked.scan(tokio::io::repeat(7).take(size), size).await;
        assert!(is_unavailable(&said, "timed_out"), "{size}: {said:?}");
    }
    let said = asked.ping().await;
    assert!(matches!(said, Err(ScanError::Unavailable("timed_out"))), "{said:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    clamd.signal("CONT");
    let asked = at(&clamd.address(), PATIENT);
    assert_eq!(scan(&asked, b"letter").await.unwrap(), Verdict::Clean);
}

#[tokio::test]
async fn a_clamd_that_is_killed_in_the_middle_leaves_the_file_unjudged() {
    let mut clamd = Clamd::start(&[]).await;
    let asked = at(&clamd.address(), PATIENT);
    let (source, mut file) = tokio::io::duplex(64 * 1024);
    let killing = async {
        // The source takes it only as it is sent.
        file.write_all(&vec![b'a'; 1024 * 1024]).await.unwrap();
        clamd.kill();
        // Nobody may read it any more.
        let _ = file.write_all(&vec![b'a'; 1024 * 1024]).await;
        drop(file);
    };
    let (said, ()) = tokio::join!(asked.scan(source, 2 * 1024 * 1024), killing);
    assert!(is_unavailable(&said, "connection_lost"), "{said:?}");
    assert!(is_unavailable(&scan(&asked, b"letter").await, "unreachable"));
}

#[tokio::test]
async fn it_tells_its_version_also_while_it_scans() {
    let clamd = Clamd::start(&[]).await;
    let asked = at(&clamd.address(), PATIENT);
    let (source, _file) = tokio::io::duplex(10);
    let scanning = asked.scan(source, 10);
    tokio::pin!(scanning);
    tokio::select! {
        said = &mut scanning => panic!("{said:?}"),
        version = asked.version() => assert!(version.unwrap().unwrap().starts_with("ClamAV ")),
    }
    asked.ping().await.unwrap();
}

#[tokio::test]
async fn a_worker_says_at_its_start_what_files_are_scanned_with() {
    let without = Cura::start().await;
    let off = "files go through our own checks only: CLAMD_ADDRESS is not set";
    without.workers[0].wait_for_log(off).await;
    let clamd = Clamd::start(&[]).await;
    let with = Cura::builder().with("CLAMD_ADDRESS", clamd.address()).start().await;
    with.workers[0].wait_for_log("the scanner is ready").await;
    let narrow = Clamd::start(&["StreamMaxLength 1M"]).await;
    let narrow = Cura::builder().with("CLAMD_ADDRESS", narrow.address()).start().await;
    let said = "large files cannot be scanned: raise StreamMaxLength of the scanner";
    narrow.workers[0].wait_for_log(said).await;
    let away = Cura::builder().with("CLAMD_ADDRESS", "127.0.0.1:1").start().await;
    away.workers[0]
        .wait_for_log("no files can be scanned at the moment")
        .await;
}
