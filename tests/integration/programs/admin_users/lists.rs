//! Lists of users: newest first, by the beginning of an address, and page by page.

use cura_tests::TestDatabase;
use serde_json::Value;

use super::super::admin_devices::{assert_fails, ids};
use super::{json_of, run, sql, text_of, three_users};

#[tokio::test]
async fn users_are_listed_newest_first_and_filtered() {
    let database = three_users().await;
    let run_on = |arguments: &[&str]| run(&database, arguments);
    sql(&database, "UPDATE users SET suspended_at = now() WHERE id IN (1, 2)").await;
    sql(&database, "UPDATE users SET is_admin = true WHERE id IN (2, 3)").await;
    for (filter, found) in [
        (&[][..], &[3, 2, 1][..]),
        (&["--search", "ad"], &[1]),
        (&["--search", " ADA@Example.com "], &[1]),
        (&["--search", ""], &[3, 2, 1]),
        (&["--search", "example"], &[]),
        (&["--search", "%"], &[]),
        (&["--search", "_da"], &[]),
        (&["--suspended"], &[2, 1]),
        (&["--admin"], &[3, 2]),
        (&["--admin", "--suspended"], &[2]),
        (&["--admin", "--search", "e"], &[3]),
        (&["--suspended", "--search", "a"], &[1]),
        (&["--admin", "--suspended", "--search", "a"], &[]),
    ] {
        let listed = json_of(run_on, &[&["users", "list"], filter].concat());
        assert_eq!(ids(&listed), found, "{filter:?}");
    }
    let read = text_of(run_on, &["users", "list"]);
    assert!(
        read.contains("ada@example.com") && read.contains("admin, suspended since"),
        "{read}"
    );
    sql(
        &database,
        "UPDATE users SET email = 'erased:3', erased_at = now() WHERE id = 3",
    )
    .await;
    let listed = json_of(run_on, &["users", "list", "--limit", "1"]);
    assert_eq!(listed["items"][0]["email"], Value::Null, "that is no address");
    assert!(listed["items"][0]["erasing_since"].is_string());
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps_whatever_is_searched_for() {
    let database = TestDatabase::create().await;
    // More begin with `many` than are put into order by themselves.
    sql(
        &database,
        "INSERT INTO users (email, password_hash, created_at, updated_at, suspended_at, is_admin)
         SELECT CASE WHEN n % 50 = 0 THEN 'few' ELSE 'many' END || n || '@example.com', 'x', now(), now(),
                CASE WHEN n % 100 = 0 THEN now() END, n % 200 = 0
         FROM generate_series(1, 25000) n",
    )
    .await;
    sql(&database, "ANALYZE users").await;
    let run_on = |arguments: &[&str]| run(&database, arguments);
    for filter in [
        &[][..],
        &["--search", "few"],
        &["--search", "many"],
        &["--suspended"],
        &["--admin"],
        &["--suspended", "--search", "few1"],
    ] {
        let mut seen: Vec<i64> = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..3 {
            let mut arguments = [&["users", "list", "--limit", "40"], filter].concat();
            if let Some(cursor) = &cursor {
                arguments.extend(["--cursor", cursor]);
            }
            let page = json_of(run_on, &arguments);
            seen.extend(ids(&page));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        let condition = match filter {
            [] => "true",
            ["--search", "few"] => "email LIKE 'few%'",
            ["--search", "many"] => "email LIKE 'many%'",
            ["--suspended"] => "suspended_at IS NOT NULL",
            ["--admin"] => "is_admin",
            _ => "suspended_at IS NOT NULL AND email LIKE 'few1%'",
        };
        let expected = sqlx::AssertSqlSafe(format!(
            "SELECT id FROM users WHERE {condition} ORDER BY id DESC LIMIT 120"
        ));
        let expected: Vec<i64> = sqlx::query_scalar(expected).fetch_all(database.pool()).await.unwrap();
        assert_eq!(seen, expected, "{filter:?}");
    }
    assert_fails(run_on, &["users", "list", "--cursor", "x"], 2, "usage");
}
