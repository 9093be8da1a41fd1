//! Query plans of files, what is made of them, and the messages they belong to.

use cura_tests::{TestDatabase, eventually};

use super::{Node, assert_reads_a_page, plan, statement};

/// With a hundred thousand files, everything that uploads ask for is a walk along an index.
#[tokio::test]
async fn what_uploads_ask_for_is_found_by_an_index() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    for fill in [
        "INSERT INTO users (email, password_hash, created_at, updated_at)
         SELECT n || '@example.com', 'x', now(), now() FROM generate_series(1, 1000) n",
        "INSERT INTO conversations (user_id, message_count, last_message_at, created_at, updated_at)
         SELECT n, 10, now(), now(), now() FROM generate_series(1, 1000) n",
        "INSERT INTO messages (conversation_id, user_id, role, content, status, created_at, updated_at)
         SELECT 1 + n % 1000, 1 + n % 1000, 'user', 'some words', 'sent', now(), now() FROM generate_series(1, 20000) n",
        // Every fiftieth is user 1's; a few are being stored.
        "INSERT INTO files (user_id, object_key, filename, file_type, size, sha256, status, reason_code, created_at, updated_at)
         SELECT CASE WHEN n % 50 = 0 THEN 1 ELSE 1 + n % 1000 END, '1/' || md5(n::text) || '-abc.png', 'a', 'png', 1000, 'x',
                CASE n % 1000 WHEN 7 THEN 'storing' WHEN 8 THEN 'scanning' WHEN 9 THEN 'failed' ELSE 'clean' END,
                CASE n % 1000 WHEN 9 THEN 'unreadable' END, now(), now() - n * interval '1 s'
         FROM generate_series(1, 100000) n",
        "INSERT INTO file_pictures (file_id, variant, object_key, media_type, width, height, size, is_stored)
         SELECT n, 'thumb', '1/' || md5(n::text) || '-abc.png', 'image/png', 1, 1, 1, true FROM generate_series(1, 50000) n",
        "INSERT INTO file_texts SELECT n, 'some words', 1, false FROM generate_series(1, 50000) n",
        "INSERT INTO avatar_pictures (public_key, side, user_id, object_key, media_type, size, is_shown, created_at)
         SELECT lpad((n / 2)::text, 22, '0'), CASE n % 2 WHEN 0 THEN 512 ELSE 128 END, 1 + n % 1000, '1/' || md5(n::text) || '-abc.png', 'image/png',
                1, n % 500 > 0, now() - n * interval '1 s'
         FROM generate_series(1, 20000) n",
        "INSERT INTO message_files SELECT n, n, 0 FROM generate_series(1, 20000) n",
        "INSERT INTO object_deletions (object_key, user_id, size, due_at, created_at)
         SELECT '1/' || md5(n::text) || '-abc.png', 1 + n % 1000, 1, now() + (n - 5000) * interval '1 s', now() FROM generate_series(1, 50000) n",
        "INSERT INTO idempotency_keys (user_id, key, request_hash, file_id, created_at)
         SELECT 1 + n % 1000, n::text, 'x', n, now() FROM generate_series(1, 20000) n",
        // Tests commit without waiting for the disk, and a page is known as visible to all only when its commits, and those just after,
        // are written.
        "CHECKPOINT",
        "VACUUM users, conversations, messages, files, message_files, file_pictures, file_texts, avatar_pictures, object_deletions, idempotency_keys",
        "ANALYZE users, conversations, messages, files, message_files, file_pictures, file_texts, avatar_pictures, object_deletions, idempotency_keys",
    ] {
        sqlx::query(fill).execute(pool).await.unwrap();
    }
    // A commit that was written a moment too late leaves its page unknown to the first VACUUM.
    eventually("all pages of files are known as visible", async || {
        sqlx::query("VACUUM files").execute(pool).await.unwrap();
        let unknown = "SELECT count(*) FROM pg_class WHERE relname = 'files' AND relallvisible < relpages";
        (database.count(unknown).await == 0).then_some(())
    })
    .await;
    let list = "FROM files f WHERE f.user_id = $1 AND f.id + 0 < $2 AND f.status <> 'storing'";
    for (user, before) in [("1", "9223372036854775807"), ("1", "50000"), ("77", "50000")] {
        let page = plan(pool, &statement(list, &[user, before, "101"])).await;
        // Each row's message is three more looks into indexes.
        assert_reads_a_page(&page, "files_list_idx", 1500);
    }
    // As operators list them.
    let (all, with_status) = (
        "FROM files WHERE id < $1 ORDER BY id DESC LIMIT $2",
        "FROM files WHERE status = $1 AND id + 0 < $2 ORDER BY id + 0 DESC LIMIT $3",
    );
    for before in ["9223372036854775807", "50000"] {
        let page = plan(pool, &statement(all, &[before, "101"])).await;
        assert_reads_a_page(&page, "files_pkey", 120);
        for (status, index) in [
            ("'clean'", "files_status_idx"),
            ("'failed'", "files_status_idx"),
            ("'infected'", "files_status_idx"),
            // The few that there are have an index of their own.
            ("'storing'", "files_storing_idx"),
        ] {
            let page = plan(pool, &statement(with_status, &[status, before, "101"])).await;
            assert_reads_a_page(&page, index, 120);
        }
        let of_user = "FROM files WHERE user_id = $1 AND ($2::text IS NULL OR status || '' = $2) AND id + 0 < $3";
        for (user, status) in [("77", "NULL"), ("77", "'failed'"), ("1", "NULL")] {
            let page = plan(pool, &statement(of_user, &[user, status, before, "101"])).await;
            assert_reads_a_page(&page, "files_list_idx", 220);
        }
        // At most all files of the one user, who has 2,000.
        let page = plan(pool, &statement(of_user, &["1", "'clean'", before, "101"])).await;
        assert!(
            page.nodes.iter().all(|node| !node.name.starts_with("Seq")),
            "{}",
            page.text
        );
        assert!(page.buffers <= 2200, "{} buffers: {}", page.buffers, page.text);
    }
    let failed = statement(
        "FROM files WHERE status = 'failed' AND id + 0 > $1 AND ($2::text IS NULL OR reason_code = $2)",
        &["50000", "'unreadable'", "now() - interval '9 days'", "200"],
    );
    assert_reads_a_page(&plan(pool, &failed).await, "files_status_idx", 120);
    for (beginning, values, index, most) in [
        (
            "FROM files f WHERE f.id = ANY($1) AND f.user_id = $2",
            vec!["ARRAY[7, 77]::bigint[]", "1"],
            "files_pkey",
            40,
        ),
        (
            "SELECT count(*) AS \"count!\" FROM files WHERE user_id = $1",
            vec!["77"],
            "files_list_idx",
            130,
        ),
        (
            "SELECT (COALESCE((SELECT sum(GREATEST(size, $2) + made_size) FROM files",
            vec!["1", "4096"],
            "files_kept_idx",
            60,
        ),
        (
            "SELECT EXISTS (SELECT FROM files WHERE status = 'storing' AND user_id",
            vec!["8", "'y'"],
            "files_storing_idx",
            120,
        ),
        (
            "SELECT id FROM files WHERE status = 'storing' AND updated_at < now() - make_interval(secs => $1) LIMIT $2",
            vec!["3600", "10"],
            "files_storing_idx",
            // A hundred are being stored, each on a page of its own.
            260,
        ),
        (
            "SELECT id FROM files WHERE status = 'scanning' AND id > $1 AND updated_at < now() - make_interval(secs => $2)",
            vec!["7", "3600", "10"],
            "files_scanning_idx",
            60,
        ),
        (
            "SELECT user_id, object_key, file_type, size FROM files WHERE id = $1",
            vec!["7"],
            // One of two that begin with it.
            "files_",
            10,
        ),
        (
            "SELECT p.object_key, p.media_type, p.size FROM avatar_pictures p JOIN users u",
            vec!["'0000000000000000000077'", "512"],
            "avatar_pictures_pkey",
            20,
        ),
        (
            "DELETE FROM avatar_pictures WHERE user_id = $1 AND is_shown",
            vec!["77", "'0000000000000000000077'"],
            "avatar_pictures_user_id_idx",
            100,
        ),
        (
            "DELETE FROM avatar_pictures WHERE NOT is_shown AND public_key IN",
            vec!["3600", "10"],
            "avatar_pictures_storing_idx",
            200,
        ),
        (
            "SELECT f.object_key, f.filename, f.file_type, f.size, f.sha256 FROM files f JOIN users u",
            vec!["7"],
            "files_pkey",
            20,
        ),
        (
            "SELECT p.object_key, f.filename, p.media_type, p.size",
            vec!["7"],
            "files_pkey",
            20,
        ),
        // What an archive is packed from.
        (
            "SELECT id FROM files WHERE user_id = $1 AND id + 0 > $2 AND status <> 'storing' ORDER BY id + 0 LIMIT $3",
            vec!["77", "0", "1000"],
            "files_list_idx",
            130,
        ),
        (
            "SELECT f.id, f.filename, f.file_type, f.status, f.reason_code, f.reason_signature, f.object_key, f.size",
            vec!["'{1,2,3}'", "7"],
            "files_",
            30,
        ),
        (
            "SELECT p.side, p.media_type, p.object_key, p.size FROM avatar_pictures p",
            vec!["77"],
            "avatar_pictures_user_id_idx",
            100,
        ),
        (
            "SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.id = $1 AND m.user_id = $2",
            vec!["77", "78"],
            "messages_pkey",
            20,
        ),
        (
            "SELECT count(*) AS \"count!\" FROM message_files WHERE message_id = $1",
            vec!["77"],
            // One of two that begin with it.
            "message_files_",
            10,
        ),
        (
            "FROM message_files a JOIN files f ON f.id = a.file_id WHERE a.message_id = ANY($1) AND f.user_id = $2 AND f.status",
            vec!["ARRAY(SELECT n FROM generate_series(77, 177) n)::bigint[]", "78"],
            "message_files_",
            900,
        ),
        (
            "SELECT id FROM files WHERE id = ANY($1) AND user_id = $2",
            vec!["ARRAY[77, 78]::bigint[]", "78"],
            "files_pkey",
            20,
        ),
        (
            "FROM files f LEFT JOIN file_pictures p ON p.file_id = f.id AND p.variant = 'model'",
            vec!["ARRAY[77, 78, 177]::bigint[]", "78", "1000"],
            "files_pkey",
            60,
        ),
        (
            "SELECT m.created_at FROM messages m WHERE m.id = $1 AND m.status = 'sending'",
            vec!["77"],
            "messages_pkey",
            20,
        ),
        (
            "m.parent_id = ANY(ARRAY(SELECT message_id FROM message_files WHERE file_id = $2))",
            vec!["78", "77"],
            "message_files_file_id_idx",
            20,
        ),
        (
            "DELETE FROM files WHERE user_id = $1 AND id = ANY(ARRAY( SELECT DISTINCT a.file_id FROM conversations k",
            vec!["78", "78", "500", "2000"],
            "message_files_",
            600,
        ),
        (
            "SELECT f.user_id FROM files f JOIN users u ON u.id = f.user_id WHERE f.unattached_since",
            vec!["2592000"],
            "files_unattached_idx",
            60,
        ),
        (
            "DELETE FROM files f WHERE f.id = ANY(ARRAY( SELECT o.id FROM files o WHERE o.user_id = $1 AND o.unattached_since",
            vec!["88", "2592000", "10"],
            "files_",
            600,
        ),
        (
            "FROM object_deletions WHERE due_at <= now() ORDER BY due_at",
            vec!["100"],
            "object_deletions_due_at_idx",
            110,
        ),
        (
            "FROM object_deletions WHERE user_id = $1 AND due_at <= now()",
            vec!["77", "100"],
            "object_deletions_user_id_idx",
            80,
        ),
        (
            "FROM idempotency_keys k LEFT JOIN files f ON f.id = k.file_id",
            vec!["78", "'77'", "now() - interval '1 day'"],
            "idempotency_keys_pkey",
            20,
        ),
    ] {
        let found = plan(pool, &statement(beginning, &values)).await;
        let uses = |node: &Node| node.name.contains(index);
        assert!(found.nodes.iter().any(uses), "{beginning}: {}", found.text);
        assert!(
            found.nodes.iter().all(|node| !node.name.starts_with("Seq")),
            "{}",
            found.text
        );
        assert!(found.buffers <= most, "{} buffers: {}", found.buffers, found.text);
    }
}

/// With ten thousand uploads in parts, everything that they ask for is a walk along an index.
#[tokio::test]
async fn what_uploads_in_parts_ask_for_is_found_by_an_index() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    for fill in [
        "INSERT INTO users (email, password_hash, created_at, updated_at)
         SELECT n || '@example.com', 'x', now(), now() FROM generate_series(1, 1000) n",
        "INSERT INTO resumable_uploads (id, user_id, metadata, length, received, expires_at)
         SELECT n, 1 + n % 1000, '', 1000, 100, now() + (n - 1000) * interval '1 minute' FROM generate_series(1, 10000) n",
        "INSERT INTO resumable_parts (upload_id, start, bytes)
         SELECT n, k * 10, 'some bytes' FROM generate_series(1, 10000) n, generate_series(0, 9) k",
        "CHECKPOINT",
        "VACUUM users, resumable_uploads, resumable_parts",
        "ANALYZE users, resumable_uploads, resumable_parts",
    ] {
        sqlx::query(fill).execute(pool).await.unwrap();
    }
    for (beginning, values, index, most) in [
        (
            "FROM resumable_uploads WHERE user_id = $1 AND file_id IS NULL AND expires_at > now()",
            vec!["77"],
            "resumable_uploads_user_id_idx",
            30,
        ),
        (
            "FROM resumable_uploads WHERE id = $1 AND user_id = $2 AND expires_at > now()",
            vec!["7000", "1"],
            "resumable_uploads_pkey",
            10,
        ),
        (
            "SELECT id FROM resumable_uploads WHERE expires_at < now() AND (completing_until IS NULL",
            vec!["100"],
            "resumable_uploads_expires_at_idx",
            120,
        ),
        (
            "SELECT bytes FROM resumable_parts WHERE upload_id = $1 AND start = $2",
            vec!["7000", "50"],
            "resumable_parts_pkey",
            10,
        ),
        (
            "UPDATE resumable_parts SET bytes = bytes || $2",
            vec!["7000", "'more'", "16384"],
            "resumable_parts_pkey",
            40,
        ),
        (
            "DELETE FROM resumable_parts WHERE upload_id = $1",
            vec!["7000"],
            "resumable_parts_pkey",
            60,
        ),
    ] {
        let found = plan(pool, &statement(beginning, &values)).await;
        let uses = |node: &Node| node.name.contains(index);
        assert!(found.nodes.iter().any(uses), "{beginning}: {}", found.text);
        assert!(
            found.nodes.iter().all(|node| !node.name.starts_with("Seq")),
            "{}",
            found.text
        );
        assert!(found.buffers <= most, "{} buffers: {}", found.buffers, found.text);
    }
}
