//! Answers that wait for others of their person: a limited number, which cost nothing while they wait.

use cura_answers::{Answers, BeginOptions};
use cura_bin::settings::Settings;
use cura_bin::wiring;
use cura_domain::{MessageId, UserId};
use cura_live::{Live, LiveConfig};
use cura_providers::ai::Ai;
use cura_store::Database;
use cura_store::answers::{self, AttemptStart};
use cura_tests::{Client, Cura, Reply, Socket};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// The least that a person may have unfinished, however few may run.
const MOST: usize = 20;

/// A question in a conversation of its own.
async fn ask(person: &Client) -> Reply {
    person.try_send_without_waiting(&json!({ "content": "Hi" })).await
}

/// A person, without workers, who has asked this many questions.
async fn with_unfinished(count: usize) -> (Cura, Client, Vec<Value>) {
    let cura = Cura::builder()
        .servers(2)
        .workers(0)
        .with("USER_RUNNING_ANSWERS", "1")
        .start()
        .await;
    let person = cura.user().await;
    let mut asked = Vec::new();
    for _ in 0..count {
        asked.push(person.ask("Hi").await);
    }
    (cura, person, asked)
}

#[tokio::test]
async fn whoever_has_too_many_unfinished_answers_is_refused_until_one_has_ended() {
    let (cura, person, asked) = with_unfinished(MOST).await;
    let refused = ask(&person).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "too_many_generations"));
    assert_eq!(refused.header("retry-after"), Some("5"));
    let path = format!("/chat/messages/{}/regenerate", asked[0]);
    let again = person.post(&path, &json!({ "on_busy": "queue" })).await;
    assert_eq!(again.code(), "too_many_generations", "{}", again.body);
    let other = cura.client().register("other@example.com").await;
    assert_eq!(ask(&other).await.status, 202, "it is nobody else's limit");
    person.cancel(&asked[0]).await;
    assert_eq!(ask(&person).await.status, 202);
    assert_eq!(ask(&person).await.code(), "too_many_generations");
}

#[tokio::test]
async fn asking_at_once_at_several_servers_does_not_get_around_the_limit() {
    let (cura, person, _) = with_unfinished(MOST - 1).await;
    let there = person.at(&cura.servers[1].base);
    let replies = join_all((0..12).map(|n| ask([&person, &there][n % 2]))).await;
    let taken = replies.iter().filter(|reply| reply.status == 202).count();
    assert_eq!(
        taken,
        1,
        "{:?}",
        replies.iter().map(|reply| reply.status).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_socket_is_refused_as_a_request_is_and_stays_open() {
    let (cura, person, asked) = with_unfinished(MOST).await;
    let message = person.get(&format!("/chat/messages/{}", asked[0])).await.body;
    let mut socket = Socket::of(&person, &message["conversation_id"], None).await;
    let send = json!({ "type": "message", "content": "Hi", "on_busy": "queue" });
    socket.send(&send).await;
    let seen = socket.until("error").await;
    assert_eq!(seen.last().unwrap()["code"], "too_many_generations", "{seen:?}");
    let unfinished = "SELECT count(*) FROM messages WHERE status = 'sending'";
    assert_eq!(cura.database.count(unfinished).await, MOST as i64);
}

#[tokio::test]
async fn an_answer_whose_turn_has_not_come_finds_that_out_without_a_lock() {
    let (cura, _, asked) = with_unfinished(3).await;
    let now = chrono::DateTime::from(std::time::SystemTime::now());
    let id = |n: usize| MessageId(asked[n].as_i64().unwrap());
    let mut transaction = cura.database.pool().begin().await.unwrap();
    let first = answers::start_attempt(&mut transaction, id(0), 1, "test", now)
        .await
        .unwrap();
    assert!(matches!(first, AttemptStart::Started(_)), "{first:?}");
    transaction.commit().await.unwrap();
    for waiting in [id(1), id(2)] {
        let mut transaction = cura.database.pool().begin().await.unwrap();
        let start = answers::start_attempt(&mut transaction, waiting, 1, "test", now)
            .await
            .unwrap();
        assert!(matches!(start, AttemptStart::Waiting { .. }), "{start:?}");
        // A lock on a row is a write: Postgres gives the transaction a number.
        let has_written: bool = sqlx::query_scalar("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        assert!(!has_written);
    }
}

/// The answers whose jobs are ready.
async fn ready(database: &Database) -> Vec<i64> {
    let keys = database.connection(async |connection| {
        let ready = "SELECT idempotency_key::bigint FROM apalis.jobs
                     WHERE status = 'Pending' AND run_at <= now() ORDER BY 1";
        Ok::<_, cura_store::StoreError>(sqlx::query_scalar(ready).fetch_all(connection).await?)
    });
    keys.await.unwrap()
}

async fn begin(answers: &Answers, id: i64) -> bool {
    let options = BeginOptions {
        max_running: 3,
        can_continue: true,
        worker: "test",
    };
    let begun = answers
        .database()
        .transaction(async |connection| answers.begin(connection, MessageId(id), options).await);
    matches!(begun.await.unwrap(), AttemptStart::Started(_))
}

/// Two that end at once see no more than their own end, and make the same answer ready.
#[tokio::test]
async fn as_many_answers_are_made_ready_as_may_start_and_each_makes_the_next_ready() {
    let (cura, person, asked) = with_unfinished(5).await;
    let me = person.get("/users/me").await.body["id"].clone();
    let me = UserId(me.as_i64().unwrap_or_else(|| me.as_str().unwrap().parse().unwrap()));
    let database = Database::connect_lazy(&cura.database.url(), "test", 4).unwrap();
    let settings = Settings::from_environment().unwrap();
    let live = Live::in_process(LiveConfig::default());
    let answers = wiring::answers(&settings, database.clone(), live, &Ai::demo());
    let id: Vec<i64> = asked.iter().map(|answer| answer.as_i64().unwrap()).collect();
    sqlx::query("UPDATE apalis.jobs SET run_at = now() + interval '1 hour'")
        .execute(cura.database.pool())
        .await
        .unwrap();
    let startable = async |max_running| {
        let startable = database
            .connection(async |connection| answers::list_startable(connection, me, max_running).await)
            .await
            .unwrap();
        startable.into_iter().map(|id| id.0).collect::<Vec<_>>()
    };
    assert_eq!(startable(3).await, id[..3]);
    assert_eq!(startable(0).await, id, "where any number may run");
    assert!(begin(&answers, id[0]).await);
    assert_eq!(ready(&database).await, id[1..3], "there is room for two more");
    assert!(begin(&answers, id[1]).await && begin(&answers, id[2]).await);
    assert_eq!(ready(&database).await, id[1..3], "there is no room for another");
    assert_eq!(startable(3).await, Vec::<i64>::new());
    assert!(!begin(&answers, id[3]).await);
}
