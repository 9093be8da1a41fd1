//! Refresh tokens: one of them works, a repeated refresh gets the same successor for a while, and a reused one ends the session.

use std::collections::HashSet;

use cura_tests::Cura;
use serde_json::{Value, json};

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

#[tokio::test]
async fn a_replaced_token_that_comes_back_late_ends_the_session() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let (ann, first) = sign_in(&cura.client(), "ann@example.com", "phone").await;
    assert_eq!(refresh(&ann, &first).await.status, 200);
    sqlx::query("UPDATE sessions SET rotated_at = rotated_at - interval '11 seconds'")
        .execute(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(refresh(&ann, &first).await.status, 401);
    assert_eq!(ann.get("/users/me").await.status, 401);
}

/// The next step of a client that has some of the tokens of a session.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// Presents the token that was given out this many refreshes ago.
    Present(usize),
    /// Lets the grace pass.
    Wait,
}

/// What the contract says a session is.
#[derive(Default)]
struct Model {
    /// Every token in the order in which they were given out; the last one works.
    tokens: Vec<Value>,
    /// Whether the last rotation is so recent that the token before is forgiven.
    recent: bool,
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
        prop_oneof![6 => (0..4_usize).prop_map(Move::Present), 1 => Just(Move::Wait)],
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
                            model.recent = true;
                        }
                        1 if model.recent => {
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
