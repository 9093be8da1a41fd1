//! Query plans: with a million messages in the database, every page of every list reads a page's worth of an index. The tests
//! read plans, not the clock.

mod answers;
mod files;
mod users;

use cura_tests::TestDatabase;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgExecutor};

/// 1,000,000 messages: 100,000 in conversation 1, the rest over 9,000 conversations of 1,000 users; user 1 has 2,000.
async fn a_million_messages() -> TestDatabase {
    let database = TestDatabase::create().await;
    for fill in [
        "INSERT INTO users (email, password_hash, created_at, updated_at)
         SELECT n || '@example.com', 'x', now(), now() FROM generate_series(1, 1000) n",
        "INSERT INTO conversations (user_id, message_count, last_message_at, created_at, updated_at, deleted_at)
         SELECT CASE WHEN n <= 2000 THEN 1 ELSE 1 + n % 1000 END, 100, now() - n * interval '1 minute', now(), now(),
                CASE WHEN n % 50 = 0 THEN now() END
         FROM generate_series(1, 9001) n",
        "INSERT INTO messages (conversation_id, user_id, role, content, status, created_at, updated_at)
         SELECT CASE WHEN n % 10 = 0 THEN 1 ELSE 2 + n % 9000 END, 1, CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
                'some words that user said ' || n, 'sent', now(), now()
         FROM generate_series(1, 1000000) n",
        "UPDATE messages SET parent_id = id - 10 WHERE conversation_id = 1 AND id BETWEEN 490000 AND 510000",
        "VACUUM ANALYZE messages, conversations, users",
    ] {
        sqlx::query(fill).execute(database.pool()).await.unwrap();
    }
    database
}

/// The longest page, and one more to see whether there is more.
const PAGE: i64 = 101;

struct Node {
    /// What it does, and by which index.
    name: String,
    rows: i64,
}

struct Plan {
    nodes: Vec<Node>,
    buffers: i64,
    text: String,
}

/// How Postgres runs a statement, with these values in it.
async fn plan(on: impl PgExecutor<'_>, statement: &str) -> Plan {
    let explain = AssertSqlSafe(format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"));
    let explained: Value = sqlx::query_scalar(explain).fetch_one(on).await.unwrap();
    let root = &explained[0]["Plan"];
    let mut nodes = Vec::new();
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        let index = node["Index Name"].as_str().unwrap_or_default();
        nodes.push(Node {
            name: format!("{} {index}", node["Node Type"].as_str().unwrap()),
            rows: node["Actual Rows"].as_f64().unwrap() as i64,
        });
        open.extend(node["Plans"].as_array().into_iter().flatten());
    }
    let buffers = ["Shared Hit Blocks", "Shared Read Blocks"].map(|name| root[name].as_i64().unwrap());
    Plan {
        nodes,
        buffers: buffers.iter().sum(),
        text: format!("{root:#}"),
    }
}

/// It finds its rows by this index and reads little: in the index's order, or, at a list's end, what is left of it.
fn assert_reads_a_page(plan: &Plan, index: &str, most: i64) {
    assert!(
        plan.nodes.iter().any(|node| node.name.ends_with(index)),
        "{}",
        plan.text
    );
    for node in &plan.nodes {
        assert!(!node.name.starts_with("Seq"), "{}", plan.text);
        let walks = ["Sort", "Hash", "Bitmap"]
            .iter()
            .all(|other| !node.name.starts_with(other));
        assert!(walks || node.rows <= PAGE, "{}: {}", node.name, plan.text);
    }
    assert!(plan.buffers <= most, "{} buffers: {}", plan.buffers, plan.text);
}

/// The committed statement whose text begins like this, with `$n` replaced.
fn statement(beginning: &str, values: &[&str]) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../.sqlx");
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = std::fs::read_dir(folder).unwrap().find_map(|entry| {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let query: Value = serde_json::from_str(&text).unwrap();
        let query = query["query"].as_str().unwrap().to_owned();
        squeeze(&query).contains(beginning).then_some(query)
    });
    let mut query = found.unwrap_or_else(|| panic!("no statement has {beginning}"));
    for (number, value) in values.iter().enumerate().rev() {
        query = query.replace(&format!("${}", number + 1), value);
    }
    query
}

#[tokio::test]
async fn any_page_of_any_list_reads_a_page_of_an_index() {
    let database = a_million_messages().await;
    let pool = database.pool();
    let newest = "FROM messages WHERE conversation_id = $1 AND id + 0 < $2 ORDER BY id + 0 DESC LIMIT $3";
    let oldest = "FROM messages WHERE conversation_id = $1 AND id + 0 > $2 ORDER BY id + 0 LIMIT $3";
    for after in ["9223372036854775807", "999000", "500000", "1000"] {
        let page = plan(pool, &statement(newest, &["1", after, "101"])).await;
        assert_reads_a_page(&page, "messages_conversation_idx", 120);
        // A short one among a million others.
        let page = plan(pool, &statement(newest, &["77", after, "101"])).await;
        assert_reads_a_page(&page, "messages_conversation_idx", 120);
    }
    for after in ["0", "1000", "500000", "999000"] {
        let page = plan(pool, &statement(oldest, &["1", after, "101"])).await;
        assert_reads_a_page(&page, "messages_conversation_idx", 120);
    }
    // With the check whose they are.
    for (beginning, after) in [
        (
            "EXISTS (SELECT FROM owned) AND id + 0 < $2 ORDER BY id + 0 DESC LIMIT $3",
            "500000",
        ),
        (
            "EXISTS (SELECT FROM owned) AND id + 0 > $2 ORDER BY id + 0 LIMIT $3",
            "500000",
        ),
    ] {
        for conversation in ["1", "77"] {
            let owner = format!("(SELECT user_id FROM conversations WHERE id = {conversation})");
            let page = plan(
                pool,
                &statement(beginning, &[conversation, after, "101", &owner, "40000"]),
            )
            .await;
            assert_reads_a_page(&page, "messages_conversation_idx", 130);
        }
    }
    let last = plan(pool, "SELECT max(id + 0) FROM messages WHERE conversation_id = 77").await;
    assert_reads_a_page(&last, "messages_conversation_idx", 10);
    // A past is a walk from message to message, as far as a prompt needs it.
    let past = plan(
        pool,
        &statement("WITH RECURSIVE past AS", &["500000", "1", "500", "100000", "1"]),
    )
    .await;
    assert!(
        past.nodes.iter().any(|node| node.name.ends_with("messages_pkey")),
        "{}",
        past.text
    );
    for node in &past.nodes {
        assert!(
            !node.name.starts_with("Seq") && node.rows <= 500,
            "{}: {}",
            node.name,
            past.text
        );
    }
    assert!(past.buffers <= 5000, "{} buffers: {}", past.buffers, past.text);
    let list = "FROM conversations c WHERE user_id = $1 AND status = $2 AND deleted_at IS NULL -- No cursor";
    for (at, id) in [
        ("NULL::timestamptz", "9223372036854775807"),
        ("now() - interval '1000 minutes'", "1000"),
        ("now() - interval '1990 minutes'", "1990"),
    ] {
        let page = plan(pool, &statement(list, &["1", "'active'", at, id, "101"])).await;
        // Each row's `busy` is one more look into a small index.
        assert_reads_a_page(&page, "conversations_page_idx", 450);
    }
    let count = "SELECT count(*) AS \"count!\" FROM conversations WHERE user_id = $1";
    let counted = plan(pool, &statement(count, &["1", "'active'"])).await;
    assert!(counted.buffers <= 60, "{}", counted.text);
    assert!(
        counted.nodes.iter().all(|node| !node.name.starts_with("Seq")),
        "{}",
        counted.text
    );
}

#[tokio::test]
async fn a_running_answer_is_found_without_looking_at_all_that_run() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    for fill in [
        "INSERT INTO users (email, password_hash, created_at, updated_at)
         SELECT n || '@example.com', 'x', now(), now() FROM generate_series(1, 1000) n",
        "INSERT INTO conversations (user_id, message_count, last_message_at, created_at, updated_at)
         SELECT n, 20, now(), now(), now() FROM generate_series(1, 1000) n",
        "INSERT INTO messages (conversation_id, user_id, role, content, status, created_at, updated_at)
         SELECT 1 + n % 1000, 1 + n % 1000, 'assistant', 'some words', 'sent', now(), now()
         FROM generate_series(1, 20000) n",
        // What is known of the tables is from a quiet moment.
        "VACUUM ANALYZE messages, conversations, users",
        "INSERT INTO messages (conversation_id, user_id, parent_id, role, content, status, created_at, updated_at)
         SELECT n, n, n, 'assistant', '', 'sending', now(), now() FROM generate_series(1, 1000) n",
    ] {
        sqlx::query(fill).execute(pool).await.unwrap();
    }
    let now = "now()::timestamptz";
    let (take, save, end) = (
        statement(
            "UPDATE messages m SET attempt = attempt + 1",
            &["20500", now, "3", "true", "'worker'"],
        ),
        statement(
            "set_config('synchronous_commit', 'off', true) = 'off'",
            &[
                "20500",
                "1",
                "'words'",
                now,
                "'openai'::text",
                "'m'::text",
                "5::bigint",
                "NULL::bigint",
            ],
        ),
        statement(
            "UPDATE messages m SET status = $3, finish_reason",
            &[
                "20500",
                "1",
                "'sent'",
                "'stop'",
                "NULL::text",
                "'all'::text",
                "'openai'::text",
                "'m'::text",
                "1::bigint",
                "1::bigint",
                "false",
                "5::bigint",
                now,
                "7::bigint",
            ],
        ),
    );
    let first = statement(
        "WITH RECURSIVE started AS",
        &["20502", now, "3", "500", "100000", now, "'worker'"],
    );
    let waits = statement("SELECT id FROM messages WHERE running AND user_id = (", &["20501"]);
    let turn = statement("SELECT m.created_at AS asked_at", &["20501", "3"]);
    let startable = statement("WITH started AS MATERIALIZED", &["501", "3", "60"]);
    let busy = statement("FROM conversations c WHERE id = $1 AND user_id = $2", &["501", "501"]);
    let to_retry = statement(
        "SELECT m.status, m.cancel_requested_at IS NOT NULL AS",
        &["20501", "501", "501"],
    );
    let held = statement(
        "WHERE id = (SELECT conversation_id FROM messages WHERE id = $1)",
        &["20501"],
    );
    let retried = statement("WITH retried AS ( UPDATE messages", &["20501", "0", now]);
    let taken = plan(pool, &first).await;
    assert!(taken.buffers <= 100, "{} buffers: {}", taken.buffers, taken.text);
    for statement in [take, waits, turn, startable, save, end, busy, to_retry, held, retried] {
        let found = plan(pool, &statement).await;
        assert!(found.buffers <= 60, "{} buffers: {}", found.buffers, found.text);
    }
    // All that follows from an end: eight rows, and the indexes of their tables. The first time, its statements are planned.
    let mut whole = ["NULL"; 38];
    for (at, value) in [
        (3, "1"),
        (4, "'sent'"),
        (5, "'stop'"),
        (7, "'all'"),
        (9, "'completed'"),
        (10, "1"),
        (11, "'openai'"),
        (12, "'m'"),
        (13, "1"),
        (14, "1"),
        (15, "false"),
        (36, now),
        (37, "now()::date"),
    ] {
        whole[at] = value;
    }
    let mut connection = pool.acquire().await.unwrap();
    let take = "UPDATE messages SET attempt = 1 WHERE id BETWEEN 20502 AND 20510";
    sqlx::query(take).execute(&mut *connection).await.unwrap();
    let mut buffers = 0;
    for n in 502..=509 {
        let (user, message) = (n.to_string(), (20_000 + n).to_string());
        let mut values: [&str; 38] = whole;
        (values[0], values[1], values[2]) = (&user, &user, &message);
        let ended = plan(&mut *connection, &statement("FROM finish_answer(", &values)).await;
        buffers = ended.buffers;
    }
    let ended = "SELECT count(*) FROM messages WHERE id BETWEEN 20502 AND 20509 AND end_seq = 2";
    assert_eq!(database.count(ended).await, 8);
    assert!(buffers <= 200, "{buffers} buffers");
}

/// With a million devices and pushes, everything that pushing asks for is a walk along an index.
#[tokio::test]
async fn what_pushing_asks_for_is_found_by_an_index() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    for fill in [
        "INSERT INTO users (email, password_hash, created_at, updated_at)
         SELECT n || '@example.com', 'x', now(), now() FROM generate_series(1, 10000) n",
        "INSERT INTO sessions (user_id, expires_at, created_at, last_used_at)
         SELECT n, now() + interval '1 day', now(), now() FROM generate_series(1, 10000) n",
        "INSERT INTO conversations (user_id, message_count, last_message_at, created_at, updated_at)
         SELECT n, 10, now(), now(), now() FROM generate_series(1, 10000) n",
        "INSERT INTO messages (conversation_id, user_id, parent_id, role, content, status, created_at, updated_at)
         SELECT 1 + n % 10000, 1 + n % 10000, CASE WHEN n > 10000 THEN n - 10000 END,
                CASE n / 10000 % 2 WHEN 0 THEN 'user' ELSE 'assistant' END, 'some words', 'sent', now(), now()
         FROM generate_series(1, 100000) n",
        "INSERT INTO devices (user_id, session_id, platform, kind, address_hash, address, is_active, inactive_since, removed_at,
                              last_active, created_at)
         SELECT 1 + n % 10000, 1 + n % 10000, 'ios', 'fcm', decode(md5(n::text) || md5('x'), 'hex'), 'x', n % 10 > 0,
                CASE WHEN n % 10 = 0 THEN now() - n * interval '1 minute' END,
                CASE WHEN n % 1000 = 1 THEN now() - n * interval '1 s' END, now() - n * interval '1 minute', now()
         FROM generate_series(1, 200000) n",
        "INSERT INTO pushes (user_id, conversation_id, message_id, kind, decision, decided_at, created_at)
         SELECT 1 + n % 10000, 1 + n % 10000, n, 'answer', 'pushed', now(), now() - n * interval '10 s'
         FROM generate_series(1, 100000) n",
        "INSERT INTO push_sends (push_id, device_id, outcome, code, claimed_at, ended_at)
         SELECT 1 + n % 100000, 1 + n % 100000 % 10000 + 10000 * (n / 100000), 'sent', 'sent', now() - n * interval '1 s', now()
         FROM generate_series(1, 400000) n",
        "VACUUM ANALYZE users, sessions, conversations, messages, devices, pushes, push_sends",
    ] {
        sqlx::query(fill).execute(pool).await.unwrap();
    }
    let (now, kinds) = ("now()::timestamptz", "ARRAY['fcm']");
    for (beginning, values, most) in [
        (
            "FROM devices WHERE user_id = $1 AND removed_at IS NULL ORDER BY",
            vec!["77"],
            60,
        ),
        (
            "SELECT EXISTS (SELECT FROM devices WHERE user_id = $1 AND is_active",
            vec!["77"],
            30,
        ),
        (
            "SELECT d.id, d.kind FROM devices d JOIN sessions s",
            vec!["77", kinds, now],
            120,
        ),
        (
            "WITH open AS MATERIALIZED ( SELECT 1 FROM conversations",
            vec!["500", "ARRAY[77::bigint, 10077]", "78", now, "78", "77"],
            300,
        ),
        (
            "SELECT EXISTS (SELECT FROM pushes p JOIN push_sends s ON s.push_id = p.id",
            vec!["77", "77", "90077", now],
            100,
        ),
        (
            "SELECT m.user_id, m.conversation_id, m.status, m.finish_reason, m.updated_at",
            vec!["90077", kinds, now],
            160,
        ),
        ("SELECT count(DISTINCT p.conversation_id)", vec!["77"], 200),
        (
            "SELECT d.id, d.kind FROM devices d WHERE d.user_id = $1",
            vec!["77", "77", "90077", now, "3", kinds],
            2500,
        ),
        ("SELECT EXISTS (SELECT FROM pushes", vec!["77", "77", "90077"], 40),
        (
            "UPDATE pushes SET dismissed_at = $4",
            vec!["77", "77", "90077", now],
            200,
        ),
        (
            "FROM (SELECT push_id, outcome, code FROM push_sends",
            vec!["now() - interval '10 minutes'", "2000", "7"],
            800,
        ),
        (
            "UPDATE devices SET removed_at = NULL WHERE id IN",
            vec!["now() - interval '10 minutes'"],
            60,
        ),
        (
            "WHERE NOT is_active AND inactive_reason = 'other_sender' AND inactive_since > $1",
            vec!["now() - interval '10 minutes'"],
            60,
        ),
        (
            "SELECT id FROM devices WHERE removed_at < $1 LIMIT $2)",
            vec!["now() - interval '10 minutes'", "10"],
            200,
        ),
        (
            "SELECT id FROM devices WHERE NOT is_active AND inactive_since < $1 LIMIT $2)",
            vec!["now() - interval '90 days'", "10"],
            200,
        ),
        (
            "SELECT id FROM devices WHERE is_active AND last_active < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
            vec!["now() - interval '130 days'", "10", now],
            300,
        ),
        (
            "SELECT id FROM pushes WHERE created_at < $1 LIMIT $2",
            vec!["now() - interval '11 days'", "100"],
            120,
        ),
        (
            "SELECT child.ctid FROM unnest($1::bigint[]) AS parent (id) CROSS JOIN LATERAL (SELECT ctid FROM push_sends",
            vec!["ARRAY[1, 2, 3]::bigint[]", "100"],
            300,
        ),
    ] {
        let mut connection = pool.begin().await.unwrap();
        let found = plan(&mut *connection, &statement(beginning, &values)).await;
        connection.rollback().await.unwrap();
        assert!(
            found.buffers <= most,
            "{beginning}: {} buffers: {}",
            found.buffers,
            found.text
        );
        let walks_a_table = found.nodes.iter().any(|node| node.name.starts_with("Seq Scan"));
        assert!(!walks_a_table, "{beginning}: {}", found.text);
    }
    // Whatever ends a session takes its devices along.
    let mut connection = pool.begin().await.unwrap();
    let ended = plan(&mut *connection, "UPDATE sessions SET ended_at = now() WHERE id = 77").await;
    assert!(ended.buffers <= 600, "{} buffers: {}", ended.buffers, ended.text);
}

#[tokio::test]
async fn operators_read_a_page_of_an_index_of_devices_and_their_log() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    for fill in [
        "INSERT INTO users (email, password_hash, created_at, updated_at)
         SELECT n || '@example.com', 'x', now(), now() FROM generate_series(1, 10000) n",
        "INSERT INTO sessions (user_id, current_token, created_at, last_used_at, expires_at)
         SELECT n, int4send(n), now(), now(), now() + interval '7 days' FROM generate_series(1, 10000) n",
        // Some of the oldest are of a rare kind, and some are inactive.
        "INSERT INTO devices (user_id, session_id, platform, kind, address_hash, address, is_active, inactive_since,
                              inactive_reason, last_active, created_at)
         SELECT 1 + n % 10000, 1 + n % 10000, 'android', CASE WHEN n <= 50 THEN 'fid' ELSE 'fcm' END, int4send(n),
                'token' || n, n > 100, CASE WHEN n <= 100 THEN now() END,
                CASE WHEN n <= 100 THEN 'unseen' END, now(), now()
         FROM generate_series(1, 100000) n",
        "INSERT INTO pushes (user_id, conversation_id, message_id, kind, decision, decided_at, created_at)
         SELECT 1 + n % 10000, n, n, 'answer', 'pushed', now(), now() FROM generate_series(1, 100000) n",
        "INSERT INTO push_sends (push_id, device_id, outcome, claimed_at)
         SELECT n, CASE WHEN n % 10 = 0 THEN 1 ELSE n END, 'sent', now() + n * interval '1 second'
         FROM generate_series(1, 100000) n",
        "VACUUM ANALYZE users, sessions, devices, pushes, push_sends",
    ] {
        sqlx::query(fill).execute(pool).await.unwrap();
    }
    let (all, newest) = ("'{fcm,fid,webpush}'::text[]", "9223372036854775807");
    let inactive =
        "AND (NOT o.is_active OR o.removed_at IS NOT NULL) AND o.id + 0 < $2 ORDER BY o.id + 0 DESC LIMIT $3";
    let any = "WHERE o.kind = wanted.kind AND o.id + 0 < $2 ORDER BY o.id + 0 DESC LIMIT $3";
    for (kinds, before) in [(all, newest), (all, "200"), ("'{fid}'::text[]", newest)] {
        let page = plan(pool, &statement(any, &[kinds, before, "101"])).await;
        assert_reads_a_page(&page, "devices_kind_idx", 40);
        let page = plan(pool, &statement(inactive, &[kinds, before, "101"])).await;
        assert_reads_a_page(&page, "devices_inactive_kind_idx", 40);
    }
    let of_user = "WHERE user_id = $1 AND kind || '' = ANY($2)";
    let page = plan(pool, &statement(of_user, &["77", all, "true", newest, "101"])).await;
    assert_reads_a_page(&page, "devices_user_id_idx", 40);
    let device = statement(
        "FROM devices d JOIN sessions s ON s.id = d.session_id WHERE d.id = $1",
        &["77", "now()"],
    );
    assert_reads_a_page(&plan(pool, &device).await, "devices_pkey", 20);
    let sends = statement("WHERE s.device_id = $1 ORDER BY s.claimed_at DESC", &["1", "20"]);
    assert_reads_a_page(&plan(pool, &sends).await, "push_sends_device_idx", 150);
    let decided = statement(
        "WHERE message_id = $1 AND kind IN ('answer', 'answer_failed')",
        &["50000"],
    );
    assert_reads_a_page(&plan(pool, &decided).await, "pushes_message_key", 10);
    let sends = statement("WHERE s.push_id = $1 ORDER BY s.device_id", &["50000"]);
    assert_reads_a_page(&plan(pool, &sends).await, "push_sends_pkey", 20);
}
