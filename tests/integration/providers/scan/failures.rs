//! A clamd that fails: never a clean file, never longer than is allowed.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use cura_providers::scan::{ClamdTimeouts, ScanError, Scanner, Verdict};
use cura_tests::{Break, ClamdScript, ClamdServer};
use tokio::io::AsyncReadExt;

use super::{SHORT, at, infected, is_unavailable, scan};

/// More than the buffers of two sockets hold.
const LARGE: u64 = 20 * 1024 * 1024;

#[tokio::test]
async fn a_file_arrives_as_it_is_and_the_answer_is_its_verdict() {
    let mut file: Vec<u8> = (0..200_001_u32).map(|n| n.to_le_bytes()[0]).collect();
    for (answer, verdict) in [
        (&b"stream: OK\0"[..], Verdict::Clean),
        (b"stream: Win.Test FOUND\0", infected("Win.Test")),
        (
            b"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\0",
            Verdict::LimitsExceeded,
        ),
        (b"stream: Heuristics.Encrypted.PDF FOUND\0", Verdict::Encrypted),
    ] {
        let server = ClamdServer::answering(answer).await;
        for address in server.addresses() {
            let clamd = at(&address, SHORT);
            for length in [0, 1, 65_536, 65_537, 200_001] {
                assert_eq!(scan(&clamd, &file[..length]).await.unwrap(), verdict);
                assert!(server.files().pop().unwrap() == file[..length], "{address} {length}");
            }
        }
        file.reverse();
    }
}

#[tokio::test]
async fn what_is_no_verdict_leaves_a_file_unjudged() {
    let long = [&b"stream: "[..], &[b'x'; 5_000], b" FOUND\0"].concat();
    for (answer, why) in [
        (&b"stream: Can't create temporary file ERROR\0"[..], "error_answer"),
        (b"stream: ok\0", "unexpected_answer"),
        (b"OK\0", "unexpected_answer"),
        (b"\0", "unexpected_answer"),
        (b"stream: OK\0stream: OK\0", "unexpected_answer"),
        (b"stream: O", "answer_cut_short"),
        (b"stream: OK", "answer_cut_short"),
        (b"stream: Win.Test FOUND", "answer_cut_short"),
        (b"", "connection_lost"),
        (&long, "answer_too_long"),
    ] {
        let server = ClamdServer::answering(answer).await;
        for address in server.addresses() {
            let said = scan(&at(&address, SHORT), b"letter").await;
            assert!(is_unavailable(&said, why), "{why}: {said:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_whole_file_is_read_but_never_says_that_it_is_clean() {
    for then in [None, Some(Break::Hang)] {
        for (answer, is_as_expected) in [
            (
                &b"INSTREAM size limit exceeded. ERROR\0"[..],
                (|said| matches!(said, Err(ScanError::TooLarge))) as fn(&Result<Verdict, ScanError>) -> bool,
            ),
            (
                b"stream: Win.Test FOUND\0",
                |said| matches!(said, Ok(found) if *found == infected("Win.Test")),
            ),
            (b"stream: OK\0", |said| is_unavailable(said, "answer_too_early")),
            (b"ERROR\0", |said| is_unavailable(said, "error_answer")),
        ] {
            let server = ClamdServer::start(ClamdScript {
                pieces: Some(3),
                answer: answer.to_vec(),
                then,
                ..ClamdScript::default()
            })
            .await;
            for address in server.addresses() {
                let file = tokio::io::repeat(7).take(LARGE);
                let said = at(&address, SHORT).scan(file, LARGE).await;
                assert!(is_as_expected(&said), "{address} {then:?}: {said:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_clamd_that_closes_or_stops_reading_in_the_middle_is_unavailable() {
    for (then, why) in [(None, "connection_lost"), (Some(Break::Hang), "timed_out")] {
        let server = ClamdServer::start(ClamdScript {
            pieces: Some(3),
            then,
            ..ClamdScript::default()
        })
        .await;
        for address in server.addresses() {
            let begun = Instant::now();
            let file = tokio::io::repeat(7).take(LARGE);
            let said = at(&address, SHORT).scan(file, LARGE).await;
            assert!(is_unavailable(&said, why), "{address}: {said:?}");
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        }
    }
}

#[tokio::test]
async fn a_clamd_that_is_not_there_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    for address in [
        format!("127.0.0.1:{port}"),
        folder.path().join("clamd").display().to_string(),
    ] {
        let clamd = at(&address, SHORT);
        assert!(is_unavailable(&scan(&clamd, b"letter").await, "unreachable"));
        for said in [clamd.ping().await, clamd.version().await.map(drop)] {
            assert!(matches!(said, Err(ScanError::Unavailable("unreachable"))), "{said:?}");
            assert!(!format!("{said:?}").contains("127.0.0.1"));
        }
    }
}

#[tokio::test]
async fn one_that_takes_its_time_is_waited_for_while_it_answers_pings() {
    let server = ClamdServer::start(ClamdScript {
        pings: 3,
        answer: b"stream: OK\0".to_vec(),
        ..ClamdScript::default()
    })
    .await;
    let [address, _] = server.addresses();
    let patient = ClamdTimeouts {
        idle: Duration::from_millis(20),
        call: Duration::from_secs(10),
        ..SHORT
    };
    assert_eq!(scan(&at(&address, patient), b"letter").await.unwrap(), Verdict::Clean);
    assert!(server.pings() >= 3);
}

#[tokio::test]
async fn one_that_is_silent_or_never_ends_is_left_in_time() {
    let never = ClamdScript {
        then: Some(Break::Hang),
        ..ClamdScript::default()
    };
    let silent = ClamdServer::start_with(never.clone(), None).await;
    let endless = ClamdServer::start(never).await;
    let short = ClamdTimeouts {
        idle: Duration::from_millis(200),
        scan: Duration::from_secs(3),
        ..SHORT
    };
    for server in [&silent, &endless] {
        for address in server.addresses() {
            let begun = Instant::now();
            let said = scan(&at(&address, short), b"letter").await;
            assert!(is_unavailable(&said, "timed_out"), "{said:?}");
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        }
    }
    assert!(endless.pings() > 0);
    let [address, _] = silent.addresses();
    let said = at(&address, SHORT).ping().await;
    assert!(matches!(said, Err(ScanError::Unavailable("timed_out"))), "{said:?}");
}

#[tokio::test]
async fn a_file_that_breaks_off_or_is_longer_than_it_should_be_is_not_judged() {
    let server = ClamdServer::answering(b"stream: OK\0").await;
    let [address, _] = server.addresses();
    let clamd = at(&address, SHORT);
    for (bytes, size) in [(5, 6), (0, 1), (7, 6), (70_000, 65_536), (65_536, 70_000)] {
        let said = clamd.scan(&vec![7; bytes][..], size).await;
        assert!(matches!(said, Err(ScanError::Source(_))), "{bytes} of {size}: {said:?}");
    }
    let broken = failing();
    let said = clamd.scan(broken, 100).await;
    assert!(matches!(said, Err(ScanError::Source(_))), "{said:?}");
    // A store that says nothing more.
    let (source, _kept) = tokio::io::duplex(10);
    let said = clamd.scan(source, 100).await;
    assert!(matches!(said, Err(ScanError::Source(_))), "{said:?}");
}

/// A source that gives ten bytes, then fails.
fn failing() -> impl tokio::io::AsyncRead + Unpin + Send {
    struct Failing;
    impl tokio::io::AsyncRead for Failing {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Err(std::io::Error::other("the store is away")))
        }
    }
    (&[7; 10][..]).chain(Failing)
}

#[tokio::test]
async fn a_check_tells_the_version_if_clamd_does() {
    let script = ClamdScript::default;
    for (calls, expected) in [
        (
            (&b"PONG\0"[..], &b"ClamAV 1.4.6/27800/Sat\0"[..]),
            Ok(Some("ClamAV 1.4.6/27800/Sat")),
        ),
        ((b"PONG\0", b"COMMAND UNAVAILABLE\0"), Ok(None)),
        ((b"pong\0", b"ClamAV 1.4.6\0"), Err("unexpected_answer")),
        ((b"PONG", b"ClamAV 1.4.6\0"), Err("answer_cut_short")),
        ((b"PONG\0", b""), Err("connection_lost")),
    ] {
        let server = ClamdServer::start_with(script(), Some(calls)).await;
        for address in server.addresses() {
            let said = Scanner::clamd(at(&address, SHORT)).check().await;
            match expected {
                Ok(version) => assert_eq!(said.unwrap().as_deref(), version),
                Err(why) => assert!(
                    matches!(&said, Err(ScanError::Unavailable(code)) if *code == why),
                    "{said:?}"
                ),
            }
        }
    }
    assert_eq!(Scanner::OWN_CHECKS_ONLY.check().await.unwrap(), None);
    assert!(Scanner::OWN_CHECKS_ONLY.as_clamd().is_none());
}
