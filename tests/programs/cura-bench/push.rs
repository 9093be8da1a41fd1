//! Pushes: how soon they go out, what they cost answers that are read, and how many go out at once.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cura_queue::SendPush;
use cura_tests::{Cura, CuraBuilder, FcmServer};
use futures_util::{StreamExt, stream};
use serde_json::json;
use sqlx::PgPool;

use crate::answers::{TOKEN_EVERY, provider};
use crate::light_client::Kind;
use crate::many_connections::{self, ANSWERS, Person, TOKENS, ask, people, read_answers};
use crate::measure::{at, forget_peak, memory, ms, row};
use crate::processor_time::{Used, postmaster};

/// How far apart the questions are whose pushes are timed.
const APART: Duration = Duration::from_millis(100);
/// Whose devices are pushed to as fast as it goes, and how many each has.
const OWNERS: usize = 500;
const DEVICES_EACH: usize = 20;
/// What is done at a time to prepare a measurement.
const AT_A_TIME: usize = 32;
/// How long is waited for what should have come long before.
const TOO_LONG: Duration = Duration::from_secs(180);
/// After the last send.
const SETTLED: Duration = Duration::from_secs(10);

fn pushing(fcm: &FcmServer) -> CuraBuilder {
    Cura::builder()
        .with_fcm(fcm)
        .with("LOG_LEVEL", "warn,cura_bin=info")
        .with("MAX_CONNECTIONS_PER_ADDRESS", "0")
        .with("WORKER_CONCURRENCY_GENERATE_ANSWER", "600")
        .with("DATABASE_POOL_SIZE", "10")
}

/// Registers a phone for each.
async fn register_phones(people: &[Person]) {
    let registered = people.iter().enumerate().map(|(n, Person(client, _))| async move {
        let phone = json!({ "fcm_token": format!("phone-{n}"), "platform": "android" });
        let made = client.post("/devices/register", &phone).await;
        assert_eq!(made.status, 201, "{}", made.body);
    });
    stream::iter(registered)
        .buffer_unordered(AT_A_TIME)
        .collect::<Vec<()>>()
        .await;
}

/// Waits until Firebase got this many messages; gives how long that took.
async fn until_sent(fcm: &FcmServer, messages: usize) -> Duration {
    let begun = Instant::now();
    while fcm.count() < messages {
        assert!(
            begun.elapsed() < TOO_LONG,
            "only {} of {messages} were sent",
            fcm.count()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

/// From the end of an answer to the request at Firebase, the two seconds until the second look included.
pub async fn end_to_request() {
    let fcm = FcmServer::start().await;
    let provider = provider(3, TOKEN_EVERY).await;
    let cura = pushing(&fcm).with_provider(&provider).start().await;
    // The first one opens connections, and fetches the access token.
    let people = people(&cura, ANSWERS + 1).await;
    register_phones(&people).await;
    let (first, others) = people.split_first().unwrap();
    ask(first).await;
    until_sent(&fcm, 1).await;
    for person in others {
        ask(person).await;
        tokio::time::sleep(APART).await;
    }
    until_sent(&fcm, 1 + ANSWERS).await;
    let mut waits = Vec::with_capacity(ANSWERS);
    for send in fcm.sends().split_off(1) {
        assert_eq!(send.status, 200);
        let id: i64 = send.message["data"]["message_id"].as_str().unwrap().parse().unwrap();
        let arrived = send.at.duration_since(UNIX_EPOCH).unwrap();
        waits.push(arrived.saturating_sub(ended_at(cura.database.pool(), id).await));
    }
    waits.sort();
    let measured = format!("p50 {}, p99 {}", ms(at(&waits, 50)), ms(at(&waits, 99)));
    let what = format!("end of an answer → request at FCM, the 2 s of the second look included, {ANSWERS} answers");
    row(&what, "p50 ≤ 2,300 ms, p99 ≤ 3,000 ms", &measured);
}

/// When an answer ended, by the worker's clock, since 1970.
async fn ended_at(pool: &PgPool, message: i64) -> Duration {
    let micros: i64 =
        sqlx::query_scalar("SELECT (EXTRACT(EPOCH FROM updated_at) * 1000000)::bigint FROM messages WHERE id = $1")
            .bind(message)
            .fetch_one(pool)
            .await
            .unwrap();
    Duration::from_micros(micros.try_into().unwrap())
}

/// What rounds of one kind cost.
#[derive(Default)]
struct Rounds {
    wrong: usize,
    late: Vec<Duration>,
    /// Of all processes, until the answers have ended.
    used: Duration,
    /// Of all processes, for the last looks.
    used_to_look: Duration,
    /// The share of the processors that others used, at most.
    by_others: f64,
}

/// 200 streams of people with a device each, and of people without: rounds in turn, so that a machine that gets slower
/// or faster does so for both. Pushes are on for both.
pub async fn streams() {
    let fcm = FcmServer::start().await;
    let provider = provider(TOKENS, many_connections::TOKEN_EVERY).await;
    let cura = pushing(&fcm).with_provider(&provider).start().await;
    let mut without = people(&cura, 2 * ANSWERS).await;
    let with = without.split_off(ANSWERS);
    register_phones(&with).await;
    let pool = cura.database.pool();
    let processes = [
        cura.servers[0].program.pid(),
        cura.workers[0].pid(),
        postmaster(pool).await,
        cura.redis.pid(),
    ];
    // The first answers open connections to Postgres and to the provider.
    for people in [&without, &with] {
        one_round(people, pool, &processes).await;
    }
    let mut rounds = [Rounds::default(), Rounds::default()];
    for side in [0, 1, 1, 0] {
        let round = one_round([&without, &with][side], pool, &processes).await;
        let all = &mut rounds[side];
        all.wrong += round.wrong;
        all.late.extend(round.late);
        all.used += round.used;
        all.used_to_look += round.used_to_look;
        all.by_others = all.by_others.max(round.by_others);
    }
    assert_eq!(fcm.count(), 0, "everybody watches");
    let [without, with] = &mut rounds;
    without.late.sort();
    with.late.sort();
    let times = |rounds: &Rounds| [50, 95, 99].map(|percent| ms(at(&rounds.late, percent))).join(" / ");
    let tokens = (2 * ANSWERS * TOKENS) as f64 / 1000.0;
    let per_thousand = |used: Duration| used.as_secs_f64() * 1000.0 / tokens;
    let looks = with.used_to_look.saturating_sub(without.used_to_look);
    let measured = format!(
        "{} and {} wrong; p50 / p95 / p99 {} without, {} with; processor time of all processes for 1,000 tokens \
         {:.1} ms without, {:.1} ms with ({:+.1} %), and {:.1} ms for the last looks 90 s later ({:+.1} %); share of others {:.0} %",
        without.wrong,
        with.wrong,
        times(without),
        times(with),
        per_thousand(without.used),
        per_thousand(with.used),
        100.0 * (per_thousand(with.used) / per_thousand(without.used) - 1.0),
        per_thousand(looks),
        100.0 * looks.as_secs_f64() / without.used.as_secs_f64(),
        100.0 * without.by_others.max(with.by_others),
    );
    let what =
        format!("{ANSWERS} streams of people without a device, and with one each, added latency and processor time");
    row(&what, "0 wrong, within 3 %", &measured);
}

/// Everybody's answer, read on an event stream, and the last look at each 90 s after its end, which is made to come at
/// once.
async fn one_round(people: &[Person], pool: &PgPool, processes: &[u32; 4]) -> Rounds {
    let before = Used::by(processes);
    let (wrong, late, open) = read_answers(Kind::Events, people).await;
    let during = Used::by(processes).since(&before);
    for moved in [
        "UPDATE messages SET updated_at = updated_at - interval '90 s' WHERE id IN (
             SELECT idempotency_key::bigint FROM apalis.jobs WHERE job_type = 'send-push' AND status = 'Pending')",
        "UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'send-push' AND status = 'Pending'",
    ] {
        sqlx::query(moved).execute(pool).await.unwrap();
    }
    let before = Used::by(processes);
    sqlx::query("SELECT pg_notify('cura_queue_wake', '')")
        .execute(pool)
        .await
        .unwrap();
    let begun = Instant::now();
    while unfinished(pool).await > 0 {
        assert!(begun.elapsed() < TOO_LONG, "jobs are left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // As long for people without a device, who have no jobs.
    tokio::time::sleep_until((begun + Duration::from_secs(5)).into()).await;
    let looks = Used::by(processes).since(&before);
    drop(open);
    Rounds {
        wrong,
        late,
        used: during.processes.iter().sum(),
        used_to_look: looks.processes.iter().sum(),
        by_others: during.by_others(),
    }
}

async fn unfinished(pool: &PgPool) -> i64 {
    let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'send-push' AND status IN ('Pending', 'Running')";
    sqlx::query_scalar(jobs).fetch_one(pool).await.unwrap()
}

/// 10,000 sends that are due at the same moment.
pub async fn burst() {
    const SENDS: usize = OWNERS * DEVICES_EACH;
    let fcm = FcmServer::start().await;
    let provider = provider(1, TOKEN_EVERY).await;
    let cura = pushing(&fcm).with_provider(&provider).start().await;
    let pool = cura.database.pool();
    let people = people(&cura, OWNERS).await;
    // Nobody has a device when the answers end: no push yet.
    for person in &people {
        ask(person).await;
    }
    let begun = Instant::now();
    let running = "SELECT count(*) FROM messages WHERE status = 'sending'";
    while cura.database.count(running).await > 0 {
        assert!(begun.elapsed() < TOO_LONG, "answers do not end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let devices =
        "INSERT INTO devices (user_id, session_id, platform, kind, address_hash, address, last_active, created_at)
                   SELECT s.user_id, s.id, 'android', 'fcm', sha256(convert_to('phone-' || s.id || '-' || n, 'UTF8')),
                          'phone-' || s.id || '-' || n, now(), now()
                   FROM sessions s CROSS JOIN generate_series(1, $1) n";
    let made = sqlx::query(devices)
        .bind(i32::try_from(DEVICES_EACH).unwrap())
        .execute(pool)
        .await
        .unwrap();
    assert_eq!(made.rows_affected(), SENDS as u64);
    sqlx::query("ANALYZE devices").execute(pool).await.unwrap();
    let pid = cura.workers[0].pid();
    tokio::time::sleep(SETTLED).await;
    forget_peak(pid);
    let (before, tokens) = (memory(pid, "VmRSS"), fcm.token_requests());
    let mut transaction = pool.begin().await.unwrap();
    let ended = "UPDATE messages SET updated_at = now() WHERE role = 'assistant' RETURNING id";
    let ended: Vec<i64> = sqlx::query_scalar(ended).fetch_all(&mut *transaction).await.unwrap();
    assert_eq!(ended.len(), OWNERS);
    for message_id in ended {
        cura_queue::enqueue(&mut transaction, &SendPush { message_id })
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    let begun = SystemTime::now();
    until_sent(&fcm, SENDS).await;
    let sends = fcm.sends();
    let refused = sends.iter().filter(|send| send.status != 200).count();
    let took = sends.last().unwrap().at.duration_since(begun).unwrap();
    let peak = memory(pid, "VmHWM");
    tokio::time::sleep(SETTLED).await;
    let after = memory(pid, "VmRSS");
    let (all, recorded) = (
        fcm.count(),
        "SELECT count(*) FROM push_sends WHERE outcome = 'sent' AND attempts = 1",
    );
    let recorded = cura.database.count(recorded).await;
    let measured = format!(
        "{:.0} a second ({:.1} s), {} too many, {refused} refused, {} not recorded; worker {} → {} MiB at most, {} MiB after \
         {} s; {} requests for an access token",
        SENDS as f64 / took.as_secs_f64(),
        took.as_secs_f64(),
        all - SENDS,
        SENDS as i64 - recorded,
        before / 1024,
        peak / 1024,
        after / 1024,
        SETTLED.as_secs(),
        fcm.token_requests() - tokens,
    );
    let what = format!("{SENDS} sends due at once, of {OWNERS} people with {DEVICES_EACH} devices each");
    row(
        &what,
        "≥ 1,000 a second, ≤ 20 MiB more, ≤ 2 requests for an access token",
        &measured,
    );
}
