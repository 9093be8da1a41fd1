//! Query plans of what operators ask about users.

use cura_tests::TestDatabase;

use super::{assert_reads_a_page, plan, statement};

/// With a hundred thousand users, every page of every list of theirs is a walk along an index.
#[tokio::test]
async fn operators_find_users_by_an_index() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    for fill in [
        // A hundred addresses begin with `few`, all others with `many`; a hundred are admins, a thousand are suspended.
        "INSERT INTO users (email, password_hash, created_at, updated_at, suspended_at, is_admin)
         SELECT CASE WHEN n % 1000 = 0 THEN 'few' ELSE 'many' END || n || '@example.com', 'x', now(), now(),
                CASE WHEN n % 100 = 0 THEN now() END, n % 1000 = 0
         FROM generate_series(1, 100000) n",
        "INSERT INTO conversations (user_id, message_count, last_message_at, created_at, updated_at)
         SELECT n, 10, now(), now(), now() FROM generate_series(1, 20000) n",
        "INSERT INTO messages (conversation_id, user_id, role, content, status, created_at, updated_at)
         SELECT 1 + n % 20000, 1 + n % 20000, CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END, 'some words',
                CASE WHEN n % 10001 = 1 THEN 'sending' ELSE 'sent' END, now(), now()
         FROM generate_series(1, 100000) n",
        "CHECKPOINT",
        "VACUUM ANALYZE users",
        "VACUUM ANALYZE conversations",
        "VACUUM ANALYZE messages",
    ] {
        sqlx::query(fill).execute(pool).await.unwrap();
    }
    for before in ["9223372036854775807", "50000"] {
        let all = statement("FROM users WHERE id < $1 ORDER BY id DESC LIMIT $2", &[before, "101"]);
        assert_reads_a_page(&plan(pool, &all).await, "users_pkey", 120);
        for (only_suspended, prefix) in [("false", "NULL"), ("true", "NULL"), ("false", "'few'")] {
            let admins = statement(
                "FROM users WHERE is_admin AND id + 0 < $1",
                &[before, only_suspended, prefix, "101"],
            );
            assert_reads_a_page(&plan(pool, &admins).await, "users_admin_idx", 120);
        }
        for (prefix, most) in [("NULL", 120), ("'many'", 140), ("'few'", 1100)] {
            let suspended = statement(
                "FROM users WHERE suspended_at IS NOT NULL AND id + 0 < $1",
                &[before, prefix, "101"],
            );
            assert_reads_a_page(&plan(pool, &suspended).await, "users_suspended_idx", most);
        }
        // What says whether few or many begin like this stops early.
        let counted =
            "SELECT FROM users WHERE email ~>=~ $1 AND email ~<~ $2 AND id < $3 ORDER BY email USING ~<~ LIMIT $4";
        // Where few users are left, their own index reads less.
        for (prefix, end, most) in [
            ("'few'", "E'few\\U0010ffff'", 20),
            ("'many'", "E'many\\U0010ffff'", 6000),
        ] {
            let counted = plan(pool, &statement(counted, &[prefix, end, before, "5001"])).await;
            let reads_table = |node: &super::Node| node.name.starts_with("Seq");
            assert!(!counted.nodes.iter().any(reads_table), "{}", counted.text);
            assert!(counted.buffers <= most, "{} buffers: {}", counted.buffers, counted.text);
        }
        let few = ["'few'", "E'few\\U0010ffff'", before, "101", "5000"];
        let sorted = statement("FROM (SELECT id FROM (SELECT id FROM users WHERE email ~>=~ $1", &few);
        assert_reads_a_page(&plan(pool, &sorted).await, "users_email_prefix_idx", 450);
        let walked = statement(
            "FROM (SELECT * FROM users WHERE id < $2 ORDER BY id DESC LIMIT $4) newest",
            &["'many'", before, "101", "30000"],
        );
        assert_reads_a_page(&plan(pool, &walked).await, "users_pkey", 120);
    }
    let locked = statement("FROM users WHERE is_admin ORDER BY id + 0 FOR NO KEY UPDATE", &[]);
    assert_reads_a_page(&plan(pool, &locked).await, "users_admin_idx", 350);
    let counts = statement(
        "SELECT (SELECT count(*) FROM (SELECT FROM conversations WHERE user_id",
        &["77", "100000"],
    );
    assert_reads_a_page(&plan(pool, &counts).await, "messages_user_id_idx", 40);
    let answers = statement(
        "SELECT m.id, m.conversation_id, m.attempt, m.created_at FROM messages m",
        &["3", "100"],
    );
    assert_reads_a_page(&plan(pool, &answers).await, "messages_running_idx", 20);
    let missing = statement(
        "SELECT count(*) AS \"count!\" FROM unnest($1::bigint[]) AS asked (id)",
        &["ARRAY[1, 2, 1000000]::bigint[]"],
    );
    assert_reads_a_page(&plan(pool, &missing).await, "messages_pkey", 20);
}
