//! What operators tell everybody: on every open stream and socket of every server, and to who connects until its end.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use cura_tests::client::{Event, Events};
use cura_tests::{Client, Cura, Socket, TestDatabase, eventually};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::admin_devices::assert_fails;
use super::admin_users::{alone, json_of, recorded, run, run_beside, run_with, sql, text_of, three_users};

/// The two seconds of the contract, and what a busy machine needs.
const AT_ONCE: Duration = Duration::from_secs(5);
/// How long it is listened for what must not come.
const SILENCE: Duration = Duration::from_secs(2);

fn announce(cura: &Cura, title: &str, until: &str) -> Value {
    let run = |arguments: &[&str]| run_beside(cura, arguments);
    let text = "We move to new machines.\nAnswers go on.";
    json_of(run, &["announce", "--title", title, "--text", text, "--until", until])
}

/// What a connection is told, without what else happens.
async fn told(stream: &mut Events) -> Event {
    let seen = tokio::time::timeout(AT_ONCE, stream.until("announcement")).await;
    seen.expect("in time").pop().unwrap()
}

async fn told_on(socket: &mut Socket) -> Value {
    let seen = tokio::time::timeout(AT_ONCE, socket.until("announcement")).await;
    seen.expect("in time").pop().unwrap()
}

async fn is_told_nothing(stream: &mut Events) {
    let next = tokio::time::timeout(SILENCE, stream.next()).await;
    assert!(next.is_err(), "{next:?}");
}

async fn conversation(user: &Client) -> Value {
    user.post("/conversations", &json!({})).await.body["id"].clone()
}

#[tokio::test]
async fn everybody_is_told_once_on_every_stream_and_socket_also_with_redis_away() {
    let mut cura = Cura::builder().servers(2).workers(0).start().await;
    let ann = cura.client().register("ann@example.com").await;
    let bob = cura
        .client()
        .register("bob@example.com")
        .await
        .at(&cura.servers[1].base);
    let (of_ann, of_bob) = (conversation(&ann).await, conversation(&bob).await);
    cura.redis.kill();
    let mut streams = [ann.watch(None).await, bob.watch(None).await];
    let mut sockets = [
        Socket::of(&ann, &of_ann, None).await,
        Socket::of(&bob, &of_bob, None).await,
    ];
    // The stream of one answer, which nobody writes.
    let mut answer = bob.stream("magnesium").await;
    let made = announce(&cura, "Maintenance", "1h");
    let expected = json!({
        "type": "announcement", "id": made["id"], "title": "Maintenance",
        "text": "We move to new machines.\nAnswers go on.", "until": as_events_write(&made["until"]),
    });
    for stream in streams.iter_mut().chain([&mut answer]) {
        let event = told(stream).await;
        assert_eq!(
            (event.data, event.id.as_str()),
            (expected.clone(), ""),
            "it moves no cursor"
        );
    }
    for socket in &mut sockets {
        assert_eq!(told_on(socket).await, expected);
    }
    // Who connects later is told at once, wherever, and who continues from a cursor is told again.
    let cursor = streams[0].cursor.clone();
    let mut late = ann.at(&cura.servers[1].base).watch(cursor.as_deref()).await;
    assert_eq!(told(&mut late).await.data, expected);
    let mut late = Socket::of(&bob.at(&cura.servers[0].base), &of_bob, None).await;
    assert_eq!(told_on(&mut late).await, expected);
    // A second one comes alone.
    let second = announce(&cura, "Done", "1h");
    assert!(second["id"].as_i64() > made["id"].as_i64());
    for stream in &mut streams {
        assert_eq!(told(stream).await.data["id"], second["id"]);
    }
    // Words of operators are in no log and no record.
    assert!(!cura.logs().contains("new machines"));
    let arguments: Vec<Value> = sqlx::query_scalar("SELECT arguments FROM operator_actions ORDER BY id")
        .fetch_all(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(
        arguments[0],
        json!({ "until": made["until"], "title_chars": 11, "text_chars": 39 })
    );
    let created = |made: &Value| ("announcements.create".to_owned(), Some(made["id"].to_string()), None);
    assert_eq!(recorded(&cura.database).await, [created(&made), created(&second)]);
}

#[tokio::test]
async fn who_connects_after_its_end_is_told_nothing() {
    let mut cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let until = in_seconds(4);
    let short = announce(&cura, "Short", &until);
    let ended = announce(&cura, "Ended", "1h");
    let mut stream = ann.watch(None).await;
    assert_eq!(told(&mut stream).await.data["id"], short["id"]);
    assert_eq!(told(&mut stream).await.data["id"], ended["id"]);
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    let id = ended["id"].to_string();
    let over = json_of(run, &["announce", "end", &id]);
    assert!(over["until"].as_str() < ended["until"].as_str(), "{over}");
    // Ended twice is ended once.
    assert_eq!(json_of(run, &["announce", "end", &id]), over);
    eventually("it is told to nobody any more", async || {
        let mut stream = ann.watch(None).await;
        let next = tokio::time::timeout(Duration::from_millis(500), stream.next()).await;
        next.is_err().then_some(())
    })
    .await;
    // A server that starts now, too, and who was told before hears nothing more.
    cura.add_server().await;
    is_told_nothing(&mut ann.at(&cura.servers[1].base).watch(None).await).await;
    is_told_nothing(&mut stream).await;
    let listed = text_of(|arguments: &[&str]| run_beside(&cura, arguments), &["announce", "list"]);
    assert!(
        listed.contains("over") && listed.contains("Short") && !listed.contains("told"),
        "{listed}"
    );
}

#[tokio::test]
async fn an_announcement_is_told_although_its_notification_was_missed_and_until_its_end_while_postgres_is_away() {
    let (cura, proxy) = Cura::builder().workers(0).start_behind_proxy().await;
    let ann = cura.client().register("ann@example.com").await;
    let mut stream = ann.watch(None).await;
    sql(
        &cura.database,
        "ALTER TABLE announcements DISABLE TRIGGER announcements_changed",
    )
    .await;
    let until = in_seconds(12);
    let made = announce(&cura, "Maintenance", &until);
    assert_eq!(told(&mut stream).await.data["id"], made["id"]);
    // One of a connection that was not lost tells it while nothing can be read.
    proxy.cut();
    is_told_nothing(&mut stream).await;
    proxy.restore();
    let mut late = ann.watch(None).await;
    assert_eq!(told(&mut late).await.data["id"], made["id"]);
}

#[tokio::test]
async fn at_most_five_are_told_at_a_time_however_many_try_at_once() {
    let database = three_users().await;
    let variables = alone(database.url());
    let tries: Vec<_> = (0..8)
        .map(|n| {
            let variables = variables.clone();
            tokio::task::spawn_blocking(move || {
                let title = format!("Announcement {n}");
                let output = run_with(
                    &variables,
                    &["announce", "--title", &title, "--text", "x", "--until", "1h"],
                );
                output.status.code().unwrap()
            })
        })
        .collect();
    let mut codes = Vec::new();
    for one in tries {
        codes.push(one.await.unwrap());
    }
    codes.sort_unstable();
    assert_eq!(codes, [0, 0, 0, 0, 0, 3, 3, 3]);
    let run_on = |arguments: &[&str]| run(&database, arguments);
    let more = ["announce", "--title", "x", "--text", "x", "--until", "1h"];
    assert_fails(run_on, &more, 3, "too_many_announcements");
    let listed = json_of(run_on, &["announce", "list", "--limit", "2"]);
    let next = listed["next_cursor"].as_str().unwrap();
    let rest = json_of(run_on, &["announce", "list", "--cursor", next]);
    assert_eq!(
        (
            listed["items"].as_array().unwrap().len(),
            rest["items"].as_array().unwrap().len()
        ),
        (2, 3)
    );
    json_of(run_on, &["announce", "end", &listed["items"][0]["id"].to_string()]);
    json_of(run_on, &more);
    assert_eq!(
        database
            .count("SELECT count(*) FROM announcements WHERE until > now()")
            .await,
        5
    );
}

#[tokio::test]
async fn what_cannot_be_announced_is_refused_with_a_code_and_nothing_of_it_is_kept() {
    let database = three_users().await;
    let run_on = |arguments: &[&str]| run(&database, arguments);
    let long = "x".repeat(2001);
    let of = |title: &'static str, text: &'static str, until: &'static str| {
        ["announce", "--title", title, "--text", text, "--until", until]
    };
    for wrong in [
        &of("", "x", "1h")[..],
        &of(" ", "x", "1h"),
        &of("two\nlines", "x", "1h"),
        &of("x", "\u{1b}[31m", "1h"),
        &of("x", "", "1h"),
        &of("x", "x", "tomorrow"),
        &["announce", "--title", "x", "--text", &long, "--until", "1h"],
        &["announce", "--title", &long[..121], "--text", "x", "--until", "1h"],
        &["announce", "--title", "x", "--until", "1h"],
        &["announce"],
        &["announce", "end"],
        &["announce", "end", "x"],
        &["announce", "list", "--title", "x"],
    ] {
        assert_fails(run_on, wrong, 2, "usage");
    }
    for until in ["2020-01-01", "0s", "2099-01-01T00:00:00Z"] {
        assert_fails(run_on, &of("x", "x", until), 2, "invalid_until");
    }
    assert_fails(run_on, &["announce", "end", "77"], 4, "announcement_not_found");
    assert_eq!(database.count("SELECT count(*) FROM announcements").await, 0);
    assert!(
        recorded(&database)
            .await
            .iter()
            .all(|(_, _, failure)| failure.is_some())
    );
    old_ones_go(&database).await;
}

/// What was over long ago goes with the next announcement.
async fn old_ones_go(database: &TestDatabase) {
    sql(
        database,
        "INSERT INTO announcements (title, text, until, created_at)
         SELECT 'old', 'x', now() - interval '1 day' * days, now() - interval '200 days'
         FROM generate_series(80, 100, 10) AS days",
    )
    .await;
    let said = text_of(
        |arguments: &[&str]| run(database, arguments),
        &["announce", "--title", "New", "--text", "x", "--until", "1h"],
    );
    assert!(said.contains("is told until"), "{said}");
    assert_eq!(database.count("SELECT count(*) FROM announcements").await, 2);
}

/// A moment in so many seconds.
fn in_seconds(seconds: i64) -> String {
    let now = DateTime::<Utc>::from(std::time::SystemTime::now());
    (now + TimeDelta::seconds(seconds)).to_rfc3339()
}

/// A moment as events have it.
fn as_events_write(moment: &Value) -> String {
    let moment: DateTime<Utc> = moment.as_str().unwrap().parse().unwrap();
    moment.to_rfc3339()
}

#[tokio::test]
async fn a_thousand_streams_are_told_at_once_and_delay_nobody() {
    let cura = Cura::builder()
        .workers(0)
        .with("MAX_CONNECTIONS_PER_ADDRESS", "0")
        .start()
        .await;
    let ann = cura.client().register("ann@example.com").await;
    // Opening them is not what this is about: few at a time.
    let opened: Vec<Events> = stream::iter(0..1000)
        .map(|_| ann.watch(None))
        .buffer_unordered(8)
        .collect()
        .await;
    announce(&cura, "Maintenance", "1h");
    let begun = Instant::now();
    let told = opened
        .into_iter()
        .map(|mut stream| async move { told(&mut stream).await.name });
    let (told, answered) = futures_util::future::join(futures_util::future::join_all(told), async {
        let asked = Instant::now();
        assert_eq!(ann.get("/users/me").await.status, 200);
        asked.elapsed()
    })
    .await;
    assert_eq!(told.len(), 1000);
    println!(
        "1,000 streams were told within {:?}, a request took {answered:?}",
        begun.elapsed()
    );
    // This client reads all of them, too.
    assert!(answered < AT_ONCE, "{answered:?}");
}
