//! Refresh tokens: one of them works, a repeated refresh gets the same successor until that is used, and a dead one ends the session.

use std::collections::HashSet;

use cura_tests::{Cura, PoolMode, Socket};
use serde_json::{Value, json};
use sqlx::Executor;

use super::sessions::{PASSWORD, refresh, sign_in};

#[tokio::test]
async fn twenty_refreshes_at_once_are_one_branch() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let (_, token) = sign_in(&cura.client(), "ann@example.com", "phone").await;
    let client = cura.client();
    let all = futures_util::future::join_all((0..20).map(|_| refresh(&client, &token))).await;
    let given: HashSet<String> = all
        .iter()
        .map(|reply| {
            assert_eq!(reply.status, 200, "{}", reply.body);
            reply.body["refresh_token"].to_string()
        })
        .collect();
    assert_eq!(given.len(), 1, "everybody has the same successor");
    // It works, and what comes after it is again one.
    let next = refresh(&client, &all[0].body["refresh_token"]).await;
    assert_eq!(next.status, 200);
    assert_eq!(
        refresh(&client, &token).await.status,
        401,
        "two generations old: no lost answer explains that"
    );
    assert_eq!(
        refresh(&client, &next.body["refresh_token"]).await.status,
        401,
        "the session has ended"
    );
}

/// Lets the ten seconds pass in which a replaced token is forgiven in any case.
async fn let_the_grace_pass(cura: &Cura) {
    sqlx::query("UPDATE sessions SET rotated_at = rotated_at - interval '11 seconds'")
        .execute(cura.database.pool())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_answer_that_was_lost_can_be_fetched_however_late() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let (ann, first) = sign_in(&cura.client(), "ann@example.com", "phone").await;
    let lost = refresh(&ann, &first).await;
    for _ in 0..3 {
        let_the_grace_pass(&cura).await;
        let again = refresh(&ann, &first).await;
        assert_eq!(again.status, 200);
        assert_eq!(again.body["refresh_token"], lost.body["refresh_token"]);
    }
    assert_eq!(
        ann.get("/users/me").await.status,
        200,
        "the old access token says nothing about the new pair"
    );
    let_the_grace_pass(&cura).await;
    assert_eq!(refresh(&ann, &first).await.status, 200);
}

#[tokio::test]
async fn a_replaced_token_that_comes_back_after_its_successor_was_used_ends_the_session() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let by_access_token = async |pair: &Value| {
        let used = cura.client().with_token(&pair["access_token"]);
        assert_eq!(used.get("/users/me").await.status, 200);
    };
    let by_refresh_token = async |pair: &Value| {
        assert_eq!(refresh(&cura.client(), &pair["refresh_token"]).await.status, 200);
    };
    for with_access_token in [true, false] {
        let (ann, first) = sign_in(&cura.client(), "ann@example.com", "phone").await;
        let pair = refresh(&ann, &first).await.body;
        if with_access_token {
            by_access_token(&pair).await;
            assert_eq!(
                refresh(&ann, &first).await.status,
                200,
                "within ten seconds: another tab"
            );
        } else {
            by_refresh_token(&pair).await;
        }
        let_the_grace_pass(&cura).await;
        let reused = refresh(&ann, &first).await;
        assert_eq!((reused.status.as_u16(), reused.code()), (401, "invalid_refresh_token"));
        assert_eq!(ann.get("/users/me").await.status, 401, "the session has ended");
    }
}

/// A way to present an access token.
#[derive(Debug, Clone, Copy)]
enum Use {
    Stream,
    Socket,
    SocketQuery,
    SocketFrame,
    Ticket,
}

#[tokio::test]
async fn however_the_new_access_token_is_presented_its_pair_is_used() {
    let cura = Cura::without_workers().await;
    let owner = cura.client().register("ann@example.com").await;
    let conversation = owner.post("/conversations", &json!({})).await.body["id"].clone();
    for way in [
        Use::Stream,
        Use::Socket,
        Use::SocketQuery,
        Use::SocketFrame,
        Use::Ticket,
    ] {
        let (old, first) = sign_in(&cura.client(), "ann@example.com", "phone").await;
        let pair = refresh(&old, &first).await.body;
        let new = cura.client().with_token(&pair["access_token"]);
        match way {
            Use::Stream => drop(new.watch(None).await),
            Use::Socket => drop(Socket::of(&new, &conversation, None).await),
            Use::SocketQuery => {
                let path = format!(
                    "/chat/ws/{conversation}?token={}",
                    pair["access_token"].as_str().unwrap()
                );
                drop(Socket::open(&cura.client(), &path).await.unwrap());
            }
            Use::SocketFrame => {
                let mut socket = Socket::of(&old, &conversation, None).await;
                socket
                    .send(&json!({ "type": "auth", "token": pair["access_token"] }))
                    .await;
                socket.until("auth").await;
            }
            Use::Ticket => assert_eq!(new.post("/auth/ticket", &Value::Null).await.status, 200),
        }
        assert_eq!(
            refresh(&old, &first).await.status,
            200,
            "{way:?}: another tab, at the same time"
        );
        let_the_grace_pass(&cura).await;
        assert_eq!(refresh(&old, &first).await.status, 401, "{way:?}");
        assert_eq!(new.get("/users/me").await.status, 401, "{way:?}: the session has ended");
    }
}

#[tokio::test]
async fn a_replaced_token_raced_by_the_use_of_its_successor_is_forgiven_or_ends_the_session_but_never_branches() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    for _ in 0..10 {
        let (ann, first) = sign_in(&cura.client(), "ann@example.com", "phone").await;
        let pair = refresh(&ann, &first).await.body;
        let_the_grace_pass(&cura).await;
        let new = cura.client().with_token(&pair["access_token"]);
        let late = futures_util::future::join_all((0..4).map(|_| refresh(&ann, &first)));
        let uses = futures_util::future::join_all((0..4).map(|_| new.get("/users/me")));
        let (late, uses) = futures_util::future::join(late, uses).await;
        for reply in &late {
            let is_same = reply.body["refresh_token"] == pair["refresh_token"];
            assert!(
                reply.status == 401 || (reply.status == 200 && is_same),
                "{}",
                reply.body
            );
        }
        // Once the use is recorded, the replaced token is dead, and whoever presented it then has ended the session for all.
        let is_over = new.get("/users/me").await.status == 401;
        assert_eq!(is_over, late.iter().any(|reply| reply.status == 401));
        assert!(is_over || uses.iter().all(|reply| reply.status == 200));
    }
}

#[tokio::test]
async fn nothing_of_a_session_lives_after_a_sign_out_that_raced_with_refreshes() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    for _ in 0..10 {
        let (ann, first) = sign_in(&cura.client(), "ann@example.com", "phone").await;
        let pair = refresh(&ann, &first).await.body;
        let refreshes =
            futures_util::future::join_all([&first, &pair["refresh_token"]].map(|token| refresh(&ann, token)));
        let body = json!({ "refresh_token": pair["refresh_token"] });
        let (given, ended) = futures_util::future::join(refreshes, ann.post("/auth/logout", &body)).await;
        assert_eq!(ended.status, 204);
        let given = given.iter().map(|reply| &reply.body["refresh_token"]);
        for token in given
            .filter(|token| token.is_string())
            .chain([&first, &pair["refresh_token"]])
        {
            assert_eq!(refresh(&ann, token).await.status, 401);
        }
    }
}

#[tokio::test]
async fn the_use_of_a_pair_is_recorded_once() {
    let cura = Cura::without_workers().await;
    let (ann, first) = {
        cura.client().register("ann@example.com").await;
        sign_in(&cura.client(), "ann@example.com", "phone").await
    };
    let pair = refresh(&ann, &first).await.body;
    let ann = ann.with_token(&pair["access_token"]);
    let version = "SELECT max(xmin::text::bigint) FROM sessions";
    let version = async || {
        sqlx::query_scalar::<_, i64>(version)
            .fetch_one(cura.database.pool())
            .await
            .unwrap()
    };
    let before = version().await;
    assert_eq!(ann.get("/users/me").await.status, 200);
    let recorded = version().await;
    assert!(recorded > before);
    for _ in 0..5 {
        assert_eq!(ann.get("/users/me").await.status, 200);
    }
    assert_eq!(version().await, recorded, "further requests write nothing");
}

/// The next step of a client that has some of the tokens of a session.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// Presents the token that was given out this many refreshes ago.
    Present(usize),
    /// Lets the grace pass.
    Wait,
    /// Calls with the newest access token.
    Call,
}

/// What the contract says a session is.
#[derive(Default)]
struct Model {
    /// Every token in the order in which they were given out; the last one works.
    tokens: Vec<Value>,
    /// Whether the last rotation is so recent that the token before is forgiven in any case.
    recent: bool,
    /// Whether the newest pair was presented.
    used: bool,
    /// The newest access token.
    access: Value,
    over: bool,
}

/// Whatever anybody presents in whatever order: one token works at most, a forgiven one leads to it, and any other ends
/// the session.
#[test]
fn a_session_has_one_living_branch_whatever_is_presented() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cura = runtime.block_on(Cura::without_workers());
    let client = cura.client();
    let moves = proptest::collection::vec(
        prop_oneof![6 => (0..4_usize).prop_map(Move::Present), 2 => Just(Move::Wait), 2 => Just(Move::Call)],
        1..25,
    );
    let mut runner = TestRunner::new(Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    });
    let number = std::sync::atomic::AtomicUsize::new(0);
    let play = async |moves: Vec<Move>| {
        let n = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let body = json!({ "email": format!("p{n}@example.com"), "password": PASSWORD });
        let made = client.post("/auth/register", &body).await.body;
        let mut model = Model {
            tokens: vec![made["refresh_token"].clone()],
            access: made["access_token"].clone(),
            ..Model::default()
        };
        for step in moves {
            match step {
                Move::Wait => {
                    model.recent = false;
                    let wait = "UPDATE sessions SET rotated_at = rotated_at - interval '11 seconds' WHERE user_id = $1";
                    let id = made["user"]["id"].as_i64().unwrap();
                    sqlx::query(wait).bind(id).execute(cura.database.pool()).await.unwrap();
                }
                Move::Call => {
                    let called = client.with_token(&model.access).get("/users/me").await;
                    assert_eq!(called.status, if model.over { 401 } else { 200 });
                    model.used = true;
                }
                Move::Present(ago) => {
                    let ago = ago.min(model.tokens.len() - 1);
                    let presented = model.tokens[model.tokens.len() - 1 - ago].clone();
                    let reply = refresh(&client, &presented).await;
                    match ago {
                        _ if model.over => assert_eq!(reply.status, 401, "the session is over"),
                        0 => {
                            assert_eq!(reply.status, 200);
                            assert_ne!(reply.body["refresh_token"], presented);
                            model.tokens.push(reply.body["refresh_token"].clone());
                            model.access = reply.body["access_token"].clone();
                            (model.recent, model.used) = (true, false);
                        }
                        1 if model.recent || !model.used => {
                            assert_eq!(reply.status, 200);
                            assert_eq!(Some(&reply.body["refresh_token"]), model.tokens.last());
                        }
                        _ => {
                            assert_eq!(reply.status, 401, "another client has the successor");
                            model.over = true;
                        }
                    }
                }
            }
        }
    };
    runner
        .run(&moves, |moves| {
            runtime.block_on(play(moves));
            Ok(())
        })
        .unwrap();
    // Its database goes with a runtime that still runs.
    runtime.block_on(async move { drop(cura) });
}

/// Behind a transaction pooler, what a request has written of its session can still be lost when its transaction ends.
#[tokio::test]
async fn a_first_use_that_was_not_committed_is_recorded_by_the_next_request() {
    let pooled = Cura::builder().workers(0).behind_pooler(PoolMode::Transaction);
    let cura = pooled.start().await;
    cura.client().register("ann@example.com").await;
    let (ann, first) = sign_in(&cura.client(), "ann@example.com", "phone").await;
    let next = refresh(&ann, &first).await;
    let ann = ann.with_token(&next.body["access_token"]);
    let refuse_commits = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'no room' USING ERRCODE = 'disk_full'; END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON sessions
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()";
    cura.database.pool().execute(refuse_commits).await.unwrap();
    assert_eq!(ann.get("/users/me").await.status, 503);
    let allow = "DROP TRIGGER refuse ON sessions";
    cura.database.pool().execute(allow).await.unwrap();
    assert_eq!(ann.get("/users/me").await.status, 200);
    let used = "SELECT count(*) FROM sessions WHERE generation_used";
    assert_eq!(cura.database.count(used).await, 1);
}
