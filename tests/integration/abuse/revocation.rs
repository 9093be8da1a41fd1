//! A session that has ended is over everywhere within two seconds, whatever is open, and whatever the network swallows.

use std::time::{Duration, Instant};

use cura_tests::{Client, Cura, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::sessions::{PASSWORD, refresh, sign_in};

/// What the contract allows, and what a busy machine needs.
const AT_ONCE: Duration = Duration::from_secs(3);

async fn end_everywhere(client: &Client) {
    assert_eq!(client.post("/auth/logout-all", &Value::Null).await.status, 204);
}

#[tokio::test]
async fn a_silent_connection_that_listens_delays_no_revocation() {
    let (cura, proxy) = Cura::builder().workers(0).start_behind_proxy().await;
    let ann = cura.user().await;
    proxy.silence_listeners();
    for _ in 0..3 {
        let (device, _) = sign_in(&cura.client(), "user@example.com", "phone").await;
        let mut stream = device.watch(None).await;
        device.post("/auth/logout-all", &Value::Null).await;
        let begun = Instant::now();
        assert_eq!(stream.rest().await.pop().unwrap().name, "session_ended");
        assert!(begun.elapsed() < AT_ONCE, "after {:?}", begun.elapsed());
    }
    assert_eq!(ann.get("/users/me").await.status, 401);
}

#[tokio::test]
async fn what_a_server_remembers_of_a_session_outlives_it_nowhere() {
    let (cura, proxy) = Cura::builder().workers(0).servers(2).start_behind_proxy().await;
    let change = json!({ "current_password": PASSWORD, "new_password": "a new password" });
    for (number, (silent, end, body)) in [
        (false, "/auth/logout-all", Value::Null),
        (false, "/auth/password", change),
        (true, "/auth/logout-all", Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let device = cura.client().register(&format!("user{number}@example.com")).await;
        let there = device.at(&cura.servers[1].base);
        for _ in 0..2 {
            assert_eq!(there.get("/users/me").await.status, 200, "while it stands");
        }
        if silent {
            proxy.silence_listeners();
        }
        assert!(device.post(end, &body).await.status.is_success());
        let begun = Instant::now();
        assert_eq!(device.get("/users/me").await.status, 401, "at once where it ended");
        eventually("it is over everywhere", async || {
            (there.get("/users/me").await.status == 401).then_some(())
        })
        .await;
        assert!(begun.elapsed() < AT_ONCE, "after {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_connection_that_listens_and_is_lost_is_not_believed_when_it_is_there_again() {
    let (cura, proxy) = Cura::builder().workers(0).servers(2).start_behind_proxy().await;
    let device = cura.user().await;
    let there = device.at(&cura.servers[1].base);
    for _ in 0..2 {
        assert_eq!(there.get("/users/me").await.status, 200, "while it stands");
    }
    proxy.cut_listeners();
    end_everywhere(&device).await;
    let ended = tokio::time::Instant::now();
    // It is still being replaced when it would have been asked.
    tokio::time::sleep(Duration::from_millis(1020)).await;
    proxy.restore_listeners();
    tokio::time::sleep_until(ended + AT_ONCE).await;
    assert_eq!(there.get("/users/me").await.status, 401, "what was not heard counts");
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                     AND query LIKE '%/* listening */' AND query_start > now() - interval '1 second'";
    eventually("both servers listen again", async || {
        (cura.database.count(listening).await == 2).then_some(())
    })
    .await;
}

/// Gives this user an archive of so many MiB.
async fn make_archive(cura: &Cura, mib: i32) {
    let key = "1/00010203-0405-4607-8809-0a0b0c0d0e0f.zip";
    let path = cura.data.path().join("files").join(key);
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    std::fs::write(path, vec![b'x'; (mib as usize) << 20]).unwrap();
    let make = "WITH made AS (INSERT INTO exports (user_id, state, created_at, expires_at)
                              VALUES (1, 'making', now(), now() + interval '1 hour') RETURNING id)
                INSERT INTO export_objects (export_id, object_key, size, sha256, is_stored)
                SELECT id, $2, $1::bigint << 20, sha256('x'), true FROM made";
    let made = sqlx::query(make).bind(mib).bind(key).execute(cura.database.pool());
    made.await.unwrap();
}

#[tokio::test]
async fn the_download_of_an_archive_ends_with_its_session() {
    const MIB: i32 = 64;
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    make_archive(&cura, MIB).await;
    let download = async || {
        let response = ann.request(Method::GET, "/users/me/export").send().await.unwrap();
        assert_eq!(response.status(), 200);
        response
    };
    let whole = download().await.bytes().await.unwrap();
    assert_eq!(whole.len(), 64 << 20, "while the session stands");
    let mut response = download().await;
    let mut got = response.chunk().await.unwrap().unwrap().len();
    end_everywhere(&ann).await;
    // What the server and the kernel hold already still comes.
    let end = loop {
        match response.chunk().await {
            Ok(Some(bytes)) => got += bytes.len(),
            end => break end,
        }
    };
    assert!(end.is_err() && got < 32 << 20, "{got} bytes, then {end:?}");
}

#[tokio::test]
async fn a_download_ends_when_its_archive_is_deleted() {
    const MIB: i32 = 64;
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    make_archive(&cura, MIB).await;
    let download = async || {
        let response = ann.request(Method::GET, "/users/me/export").send().await.unwrap();
        assert_eq!(response.status(), 200);
        response
    };
    let mut response = download().await;
    let mut got = response.chunk().await.unwrap().unwrap().len();
    let deleted = ann.send(ann.request(Method::DELETE, "/users/me/export")).await;
    assert_eq!(deleted.status, 204);
    // What the server and the kernel hold already still comes.
    let end = loop {
        match response.chunk().await {
            Ok(Some(bytes)) => got += bytes.len(),
            end => break end,
        }
    };
    assert!(end.is_err() && got < 32 << 20, "{got} bytes, then {end:?}");
}

#[tokio::test]
async fn changing_the_password_replaces_the_pair_of_this_session() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let (thief, stolen) = sign_in(&cura.client(), "ann@example.com", "phone").await;
    let ticket = thief.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    let body = json!({ "current_password": PASSWORD, "new_password": "a new password" });
    let changed = thief.post("/auth/password", &body).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.body["user"]["email"], "ann@example.com");
    let owner = thief.with_token(&changed.body["access_token"]);
    assert_eq!(owner.get("/users/me").await.status, 200);
    assert_eq!(thief.get("/users/me").await.status, 401, "the old access token");
    let path = format!("/chat/messages/1/stream?ticket={}", ticket.as_str().unwrap());
    assert_eq!(
        cura.client().get(&path).await.status,
        401,
        "a ticket that was got before"
    );
    let next = refresh(&owner, &changed.body["refresh_token"]).await;
    assert_eq!(next.status, 200, "the new refresh token");
    assert_eq!(
        refresh(&owner, &stolen).await.status,
        401,
        "the old one, though ten seconds are not over"
    );
    let renewed = owner.with_token(&next.body["access_token"]);
    assert_eq!(
        renewed.get("/users/me").await.status,
        200,
        "which ends nothing: a tab may not have noticed"
    );
}
