//! Lists of users, as operators ask for them, with a million users.

use std::time::{Duration, Instant};

use cura_store::users::{KnownUsers, list_known};
use cura_tests::TestDatabase;

use crate::measure::{at, ms, row};

/// How often each list is asked for.
const TIMES: usize = 40;

pub async fn lists() {
    let database = TestDatabase::create().await;
    for fill in [
        // Half of them begin with `user`, one in ten with a letter and a digit, some are rare; every thousandth is suspended.
        "INSERT INTO users (email, password_hash, created_at, updated_at, suspended_at, is_admin)
         SELECT CASE WHEN n % 2 = 0 THEN 'user' ELSE substr(md5(n::text), 1, 8) END || n || '@example.com', 'x', now(), now(),
                CASE WHEN n % 1000 = 0 THEN now() END, n % 100000 = 0
         FROM generate_series(1, 1000000) n",
        "VACUUM ANALYZE users",
        // People are seen: their rows are not known as visible to all any more.
        "UPDATE users SET last_seen = now() WHERE id % 7 = 0",
    ] {
        sqlx::query(fill).execute(database.pool()).await.unwrap();
    }
    let of = |prefix: Option<&str>| KnownUsers {
        prefix: prefix.map(str::to_owned),
        ..KnownUsers::default()
    };
    for (what, which) in [
        ("all", of(None)),
        ("one address", of(Some("user77@example.com"))),
        ("address begins with `user123` (1,000 do)", of(Some("user123"))),
        ("begins with `ab` (2,000 do)", of(Some("ab"))),
        ("begins with `a` (30,000 do)", of(Some("a"))),
        ("begins with `user` (half of them)", of(Some("user"))),
        ("nobody", of(Some("zzz"))),
        (
            "suspended",
            KnownUsers {
                only_suspended: true,
                ..of(None)
            },
        ),
        (
            "suspended, begins with `user9`",
            KnownUsers {
                only_suspended: true,
                ..of(Some("user9"))
            },
        ),
        (
            "admins",
            KnownUsers {
                only_admins: true,
                ..of(None)
            },
        ),
    ] {
        let mut connection = database.pool().acquire().await.unwrap();
        let mut all: Vec<Duration> = Vec::new();
        for _ in 0..TIMES {
            let begun = Instant::now();
            list_known(&mut connection, &which, 51).await.unwrap();
            all.push(begun.elapsed());
        }
        all.sort();
        let measured = format!("p50 {}, most {}", ms(at(&all, 50)), ms(at(&all, 100)));
        row(&format!("50 of 1,000,000 users: {what}"), "≤ 50 ms", &measured);
    }
}
