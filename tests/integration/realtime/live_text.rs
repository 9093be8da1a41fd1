//! Live texts: one suite for memory, Redis and a Redis Cluster, and the loss of Redis.

use std::time::{Duration, Instant};

use cura_domain::MessageId;
use cura_domain::answer::{AttemptOffsets, Fence, Position};
use cura_live::{AppendError, Follower, Live, LiveConfig, Progress};
use cura_tests::{TestRedis, TestRedisCluster, eventually};

const ID: MessageId = MessageId(7);
const FIRST: Fence = Fence(1);
const SECOND: Fence = Fence(2);

/// A tested `live`, and its Redis if it has one.
struct Tested {
    live: Live,
    /// The same answers, seen by another process.
    peer: Live,
    _redis: Option<Box<dyn std::any::Any>>,
}

fn in_process(config: LiveConfig) -> Tested {
    let live = Live::in_process(config);
    Tested {
        peer: live.clone(),
        live,
        _redis: None,
    }
}

fn redis(config: LiveConfig) -> Tested {
    let redis = TestRedis::start();
    let connect = || Live::redis(&redis.url(), config).unwrap();
    Tested {
        live: connect(),
        peer: connect(),
        _redis: Some(Box::new(redis)),
    }
}

fn redis_cluster(config: LiveConfig) -> Tested {
    let cluster = TestRedisCluster::start();
    let connect = || Live::redis(&cluster.url(), config).unwrap();
    Tested {
        live: connect(),
        peer: connect(),
        _redis: Some(Box::new(cluster)),
    }
}

/// The only node of a cluster, which looks like a server to who does not know.
fn redis_node(config: LiveConfig) -> Tested {
    let cluster = TestRedisCluster::start_of_one();
    let connect = || Live::redis(&cluster.nodes[0].url(), config).unwrap();
    Tested {
        live: connect(),
        peer: connect(),
        _redis: Some(Box::new(cluster)),
    }
}

/// Whose Redis lives has patience: on a busy machine a call may take longer than one in production should.
fn patient() -> LiveConfig {
    LiveConfig {
        timeout: Duration::from_secs(10),
        ..LiveConfig::default()
    }
}

/// The start of an attempt as a reader at `offset` of the attempt `at` sees it.
fn started(attempt: Fence, at: Fence, offset: u64) -> Progress {
    let position = Position { attempt: at, offset };
    Progress::Started { attempt, position }
}

/// Makes a test of each case for each implementation.
macro_rules! each {
    ($($case:ident),+ $(,)?) => {
        mod in_process_answers {
            $(#[tokio::test] async fn $case() { super::$case(super::in_process).await; })+
        }
        mod redis_answers {
            $(#[tokio::test] async fn $case() { super::$case(super::redis).await; })+
        }
        mod redis_cluster_answers {
            $(#[tokio::test] async fn $case() { super::$case(super::redis_cluster).await; })+
        }
    };
}

each!(
    a_reader_can_begin_at_every_byte,
    a_reader_may_come_before_during_and_after,
    readers_of_another_process_see_the_same,
    a_slow_reader_gets_it_all_in_fewer_pieces,
    an_older_attempt_cannot_write,
    a_piece_fits_only_where_the_text_ends,
    what_a_newer_attempt_keeps_is_not_sent_again,
    a_text_has_its_limit,
    a_lost_text_is_written_back_unnoticed,
    many_answers_do_not_mix,
    what_is_appended_without_waiting_arrives_whole,
    who_appends_without_waiting_learns_of_a_newer_attempt,
    what_is_over_is_forgotten,
);

async fn begin(live: &Live, fence: Fence, bases: &[u64], text: &str) {
    // Redis may still be connecting.
    eventually("live takes the text", async || {
        live.begin(ID, fence, &AttemptOffsets(bases.to_vec()), text).await.ok()
    })
    .await;
}

async fn append(live: &Live, offset: u64, text: &str) {
    // One that was taken although the answer was late may be sent again.
    let appended = eventually("live answers", async || {
        let appended = live.append(ID, FIRST, offset, text).await;
        (appended != Err(AppendError::Unavailable)).then_some(appended)
    });
    appended.await.unwrap();
}

async fn end(live: &Live, fence: Fence) {
    let ended = eventually("live answers", async || {
        let ended = live.end(ID, fence).await;
        (ended != Err(AppendError::Unavailable)).then_some(ended)
    });
    ended.await.unwrap();
}

/// Reads to the end; what a client would have then, having the first `position.offset` bytes of `before`.
async fn read(mut follower: Follower, before: &str, position: Position) -> String {
    let mut text = before[..usize::try_from(position.offset).unwrap()].to_owned();
    loop {
        match follower.next().await {
            Progress::Started { .. } => {}
            Progress::Reset { offset, .. } => text.truncate(usize::try_from(offset).unwrap()),
            Progress::Text { offset, content, .. } => {
                assert_eq!(offset, text.len() as u64, "a gap or a repetition");
                text.push_str(&content);
            }
            Progress::Ended => return text,
            Progress::Deleted => panic!("it was not deleted"),
        }
    }
}

async fn a_reader_can_begin_at_every_byte(start: fn(LiveConfig) -> Tested) {
    let Tested { live, peer, _redis } = start(patient());
    let text = "añb👋c";
    begin(&live, FIRST, &[0], "").await;
    append(&live, 0, text).await;
    end(&live, FIRST).await;
    for offset in 0..=text.len() {
        let from = Position {
            attempt: FIRST,
            offset: offset as u64,
        };
        if text.is_char_boundary(offset) {
            assert_eq!(read(peer.follow(ID, from), text, from).await, text, "from {offset}");
        } else {
            // No place of ours: cut back to the character's begin.
            let mut follower = peer.follow(ID, from);
            let Progress::Reset { offset: kept, .. } = follower.next().await else {
                panic!("no reset at {offset}")
            };
            let kept = Position {
                attempt: FIRST,
                offset: kept,
            };
            assert_eq!(read(follower, text, kept).await, text);
        }
    }
}

async fn a_reader_may_come_before_during_and_after(start: fn(LiveConfig) -> Tested) {
    let Tested { live, peer, _redis } = start(patient());
    let before = tokio::time::timeout(
        Duration::from_secs(60),
        read(peer.follow(ID, Position::START), "", Position::START),
    );
    let write = async {
        begin(&live, FIRST, &[0], "").await;
        append(&live, 0, "one ").await;
        let during = peer.follow(ID, Position::START);
        append(&live, 4, "two ").await;
        append(&live, 8, "three").await;
        end(&live, FIRST).await;
        (during, peer.follow(ID, Position::START))
    };
    let (before, (during, after)) = tokio::join!(before, write);
    for text in [
        before.unwrap(),
        read(during, "", Position::START).await,
        read(after, "", Position::START).await,
    ] {
        assert_eq!(text, "one two three");
    }
}

async fn readers_of_another_process_see_the_same(start: fn(LiveConfig) -> Tested) {
    let Tested { live, peer, _redis } = start(patient());
    begin(&live, FIRST, &[0], "").await;
    let readers = [
        live.follow(ID, Position::START),
        peer.follow(ID, Position::START),
        peer.follow(ID, Position::START),
    ];
    let reading = futures_util::future::join_all(readers.map(|follower| read(follower, "", Position::START)));
    let writing = async {
        for n in 0..200_u64 {
            append(&live, n * 5, &format!("{n:04} ")).await;
        }
        end(&live, FIRST).await;
    };
    let (texts, ()) = tokio::join!(reading, writing);
    let whole: String = (0..200).map(|n| format!("{n:04} ")).collect();
    assert!(texts.iter().all(|text| *text == whole));
}

async fn a_slow_reader_gets_it_all_in_fewer_pieces(start: fn(LiveConfig) -> Tested) {
    let Tested { live, peer, _redis } = start(patient());
    begin(&live, FIRST, &[0], "").await;
    let mut slow = peer.follow(ID, Position::START);
    assert_eq!(slow.next().await, started(FIRST, FIRST, 0));
    for n in 0..500_u64 {
        append(&live, n * 4, "abcd").await;
    }
    end(&live, FIRST).await;
    // Another reader has the end, so the slow one could have it too.
    read(peer.follow(ID, Position::START), "", Position::START).await;
    let (mut pieces, mut bytes) = (0, 0);
    while let Progress::Text { content, offset, .. } = slow.next().await {
        assert_eq!(offset, bytes);
        bytes += content.len() as u64;
        pieces += 1;
    }
    assert_eq!((pieces, bytes), (1, 2000));
}

async fn an_older_attempt_cannot_write(start: fn(LiveConfig) -> Tested) {
    let Tested { live, peer, _redis } = start(patient());
    begin(&live, FIRST, &[0], "").await;
    append(&live, 0, "old").await;
    begin(&peer, SECOND, &[0, 0], "").await;
    assert_eq!(live.append(ID, FIRST, 3, "er").await, Err(AppendError::Stale));
    assert_eq!(
        live.begin(ID, FIRST, &AttemptOffsets(vec![0]), "").await,
        Err(AppendError::Stale)
    );
    peer.append(ID, SECOND, 0, "new").await.unwrap();
    end(&live, SECOND).await;
    assert_eq!(read(live.follow(ID, Position::START), "", Position::START).await, "new");
}

async fn a_piece_fits_only_where_the_text_ends(start: fn(LiveConfig) -> Tested) {
    let Tested { live, _redis, .. } = start(patient());
    begin(&live, FIRST, &[0], "").await;
    append(&live, 0, "hello").await;
    assert_eq!(
        live.append(ID, FIRST, 7, "x").await,
        Err(AppendError::Offset { have: 5 })
    );
    // The answer to this write got lost, and it is sent again.
    append(&live, 0, "hello").await;
    append(&live, 5, "!").await;
    end(&live, FIRST).await;
    assert_eq!(
        read(live.follow(ID, Position::START), "", Position::START).await,
        "hello!"
    );
    assert_eq!(
        live.append(MessageId(99), FIRST, 0, "x").await,
        Err(AppendError::Missing)
    );
}

async fn what_a_newer_attempt_keeps_is_not_sent_again(start: fn(LiveConfig) -> Tested) {
    let Tested { live, peer, _redis } = start(patient());
    begin(&live, FIRST, &[0], "").await;
    append(&live, 0, "Hello wor").await;
    let mut reader = peer.follow(ID, Position::START);
    assert_eq!(reader.next().await, started(FIRST, FIRST, 0));
    loop {
        let Progress::Text { position, .. } = reader.next().await else {
            panic!("no text")
        };
        if position.offset == 9 {
            break;
        }
    }
    // Saved were six bytes: the next attempt goes on from there.
    begin(&live, SECOND, &[0, 6], "Hello ").await;
    // Until the reset is delivered, the reader's position is in the previous attempt.
    assert_eq!(reader.next().await, started(SECOND, FIRST, 9));
    assert_eq!(
        reader.next().await,
        Progress::Reset {
            attempt: SECOND,
            offset: 6
        }
    );
    live.append(ID, SECOND, 6, "there").await.unwrap();
    let Progress::Text { offset, content, .. } = reader.next().await else {
        panic!("no text")
    };
    assert_eq!((offset, content.as_str()), (6, "there"));
    let behind = Position {
        attempt: FIRST,
        offset: 5,
    };
    end(&live, SECOND).await;
    assert_eq!(read(peer.follow(ID, behind), "Hello wor", behind).await, "Hello there");
}

async fn a_text_has_its_limit(start: fn(LiveConfig) -> Tested) {
    let Tested { live, _redis, .. } = start(LiveConfig {
        max_text_bytes: 10,
        ..patient()
    });
    begin(&live, FIRST, &[0], "").await;
    append(&live, 0, "0123456789").await;
    assert_eq!(live.append(ID, FIRST, 10, "x").await, Err(AppendError::TooLong));
    assert_eq!(
        live.restore(ID, FIRST, &AttemptOffsets(vec![0]), "0123456789x").await,
        Err(AppendError::TooLong)
    );
}

async fn a_lost_text_is_written_back_unnoticed(start: fn(LiveConfig) -> Tested) {
    let Tested { live, peer, _redis } = start(patient());
    begin(&live, FIRST, &[0], "").await;
    append(&live, 0, "one ").await;
    let reading = read(peer.follow(ID, Position::START), "", Position::START);
    let writing = async {
        live.restore(ID, FIRST, &AttemptOffsets(vec![0]), "one two ")
            .await
            .unwrap();
        append(&live, 8, "three").await;
        end(&live, FIRST).await;
    };
    assert_eq!(tokio::join!(reading, writing).0, "one two three");
}

async fn many_answers_do_not_mix(start: fn(LiveConfig) -> Tested) {
    let Tested { live, peer, _redis } = start(patient());
    begin(&live, FIRST, &[0], "").await;
    let ids: Vec<MessageId> = (100..200).map(MessageId).collect();
    let reading = ids
        .iter()
        .map(|id| read(peer.follow(*id, Position::START), "", Position::START));
    let writing = ids.iter().map(|id| {
        let live = live.clone();
        async move {
            live.begin(*id, FIRST, &AttemptOffsets(vec![0]), "").await.unwrap();
            let mut offset = 0;
            for _ in 0..5 {
                let piece = format!("{id} ");
                live.append(*id, FIRST, offset, &piece).await.unwrap();
                offset += piece.len() as u64;
            }
            live.end(*id, FIRST).await.unwrap();
        }
    });
    let (texts, _) = tokio::join!(
        futures_util::future::join_all(reading),
        futures_util::future::join_all(writing)
    );
    for (id, text) in ids.iter().zip(texts) {
        assert_eq!(text, format!("{id} ").repeat(5));
    }
}

async fn what_is_appended_without_waiting_arrives_whole(start: fn(LiveConfig) -> Tested) {
    let Tested { live, peer, _redis } = start(patient());
    begin(&live, FIRST, &[0], "").await;
    let ids: Vec<MessageId> = (100..150).map(MessageId).collect();
    let reading = ids
        .iter()
        .map(|id| read(peer.follow(*id, Position::START), "", Position::START));
    let writing = ids.iter().map(|id| {
        let live = live.clone();
        async move {
            live.begin(*id, FIRST, &AttemptOffsets(vec![0]), "").await.unwrap();
            let mut appender = live.appender(*id, FIRST, 0);
            for n in 0..50 {
                appender.append(&format!("{id}.{n} ")).await.unwrap();
                if n % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            // More than may wait.
            appender.append(&"x".repeat(100_000)).await.unwrap();
            appender.append("!").await.unwrap();
            appender.flush().await.unwrap();
            live.end(*id, FIRST).await.unwrap();
        }
    });
    let (texts, _) = tokio::join!(
        futures_util::future::join_all(reading),
        futures_util::future::join_all(writing)
    );
    for (id, text) in ids.iter().zip(texts) {
        let pieces: String = (0..50).map(|n| format!("{id}.{n} ")).collect();
        assert_eq!(text, format!("{pieces}{}!", "x".repeat(100_000)));
    }
}

async fn who_appends_without_waiting_learns_of_a_newer_attempt(start: fn(LiveConfig) -> Tested) {
    let Tested { live, peer, _redis } = start(patient());
    begin(&live, FIRST, &[0], "").await;
    let mut appender = live.appender(ID, FIRST, 0);
    appender.append("old").await.unwrap();
    appender.flush().await.unwrap();
    begin(&peer, SECOND, &[0, 0], "").await;
    let refused = match appender.append("er").await {
        Ok(()) => {
            appender.failed().await;
            appender.failure()
        }
        Err(refused) => Some(refused),
    };
    assert_eq!(refused, Some(AppendError::Stale));
    assert_eq!(appender.append("still").await, Err(AppendError::Stale));
    end(&live, SECOND).await;
    assert_eq!(read(live.follow(ID, Position::START), "", Position::START).await, "");
}

#[tokio::test]
async fn answers_of_other_slots_do_not_fail_each_other() {
    many_answers_do_not_mix(redis_node).await;
}

async fn what_is_over_is_forgotten(start: fn(LiveConfig) -> Tested) {
    let brief = LiveConfig {
        ended_ttl: Duration::from_secs(1),
        ..patient()
    };
    let Tested { live, _redis, .. } = start(brief);
    begin(&live, FIRST, &[0], "").await;
    append(&live, 0, "text").await;
    end(&live, FIRST).await;
    let forgotten = eventually("it is forgotten", async || {
        // Looking at it keeps it: leave it alone for longer than it lingers, while others come and go.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let _ = live.begin(MessageId(8), FIRST, &AttemptOffsets(vec![0]), "").await;
        match live.append(ID, FIRST, 4, "x").await.unwrap_err() {
            // Until then it is final and is not written.
            AppendError::Stale | AppendError::Unavailable => None,
            refused => Some(refused),
        }
    })
    .await;
    assert_eq!(forgotten, AppendError::Missing);
}

#[tokio::test]
async fn redis_killed_and_restarted_during_a_stream_loses_nothing() {
    let mut server = TestRedis::start();
    let (live, peer) = (
        Live::redis(&server.url(), LiveConfig::default()).unwrap(),
        Live::redis(&server.url(), LiveConfig::default()).unwrap(),
    );
    begin(&live, FIRST, &[0], "").await;
    let reading = tokio::time::timeout(
        Duration::from_secs(60),
        read(peer.follow(ID, Position::START), "", Position::START),
    );
    let writing = async {
        let mut text = String::new();
        for n in 0..60 {
            let piece = format!("{n} ");
            let offset = text.len() as u64;
            text.push_str(&piece);
            if n == 20 {
                server.kill();
                let begun = Instant::now();
                assert!(live.append(ID, FIRST, offset, &piece).await.is_err());
                assert!(
                    begun.elapsed() < Duration::from_secs(20),
                    "a dead Redis delays no caller"
                );
                server.restart();
            } else if live.append(ID, FIRST, offset, &piece).await.is_err() {
                // As the writer does: it has it all, and writes it back.
                let _ = live.restore(ID, FIRST, &AttemptOffsets(vec![0]), &text).await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        eventually("the text is whole again", async || {
            live.restore(ID, FIRST, &AttemptOffsets(vec![0]), &text).await.ok()
        })
        .await;
        end(&live, FIRST).await;
        text
    };
    let (seen, written) = tokio::join!(reading, writing);
    assert_eq!(seen.unwrap(), written);
}

#[tokio::test]
async fn a_redis_that_is_away_at_the_start_is_used_when_it_comes() {
    let mut server = TestRedis::start();
    server.kill();
    let live = Live::redis(&server.url(), LiveConfig::default()).unwrap();
    assert!(live.check().await.is_err());
    let begun = Instant::now();
    assert_eq!(
        live.begin(ID, FIRST, &AttemptOffsets(vec![0]), "").await,
        Err(AppendError::Unavailable)
    );
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let reader = live.follow(ID, Position::START);
    server.restart();
    begin(&live, FIRST, &[0], "").await;
    append(&live, 0, "here").await;
    end(&live, FIRST).await;
    assert_eq!(read(reader, "", Position::START).await, "here");
    assert!(Live::redis("http://not-redis", LiveConfig::default()).is_err());
}
