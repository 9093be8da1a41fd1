//! A deploy during traffic: servers are replaced one by one, Redis dies once, and every device shows in the end what the
//! database holds, without an event twice and without one missing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cura_tests::{Client, Cura, ScriptedProvider, Socket, View, eventually};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

const ACCOUNTS: usize = 10;
/// What each account says while things break.
const QUESTIONS: usize = 4;

/// Where the servers are now.
type Servers = Arc<Mutex<Vec<String>>>;

fn pick(servers: &Servers, number: usize) -> String {
    let servers = servers.lock().unwrap();
    servers[number % servers.len()].clone()
}

/// How many devices have come so far.
type Counter = Arc<Mutex<usize>>;

/// What an account's devices should show in the end; nothing while there is traffic.
type Truth = watch::Receiver<Option<View>>;

/// A device that watches everything, until it shows the truth.
async fn watch_everything(client: Client, servers: Servers, number: usize, mut truth: Truth, ready: Counter) {
    let (mut view, mut cursor, mut counted) = (View::default(), None::<String>, false);
    for attempt in 0.. {
        let here = client.at(&pick(&servers, number + attempt));
        let mut request = here.request(Method::GET, "/events").timeout(Duration::from_secs(600));
        if let Some(cursor) = &cursor {
            request = request.header("Last-Event-ID", cursor);
        }
        let Some(Ok(mut stream)) = here.try_events(request).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if stream.wait_for_cursor().await && !std::mem::replace(&mut counted, true) {
            *ready.lock().unwrap() += 1;
        }
        loop {
            if truth.borrow_and_update().as_ref() == Some(&view) {
                return;
            }
            let next = tokio::select! {
                next = stream.next() => next,
                _ = truth.changed() => continue,
            };
            cursor.clone_from(&stream.cursor);
            let Some(event) = next else { break };
            view.apply(&event.data);
        }
    }
}

/// A device with a socket in the account's conversation, until it shows the truth.
async fn hold_a_socket(
    client: Client,
    servers: Servers,
    number: usize,
    conversation: Value,
    mut truth: Truth,
    (ready, listening): (Counter, Counter),
) {
    let (mut view, mut cursor, mut counted, mut answered) = (View::default(), None::<String>, false, false);
    for attempt in 0.. {
        let here = client.at(&pick(&servers, number + attempt));
        let after = cursor
            .as_ref()
            .map(|cursor| format!("?after={cursor}"))
            .unwrap_or_default();
        let Ok(mut socket) = Socket::open(&here, &format!("/chat/ws/{conversation}{after}")).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        socket.cursor.clone_from(&cursor);
        socket.send(&json!({ "type": "ping" })).await;
        loop {
            let same = truth
                .borrow_and_update()
                .as_ref()
                .is_some_and(|truth| truth.messages == view.messages);
            if same {
                return;
            }
            let next = tokio::select! {
                next = socket.next() => next,
                _ = truth.changed() => continue,
            };
            cursor.clone_from(&socket.cursor);
            let Ok(event) = next else { break };
            view.apply(&event);
            if event["type"] == "pong" && !std::mem::replace(&mut answered, true) {
                *listening.lock().unwrap() += 1;
            }
            // A socket has no cursor before the first event.
            if event["type"] == "complete" && !std::mem::replace(&mut counted, true) {
                *ready.lock().unwrap() += 1;
            }
        }
    }
}

/// Says something until a server has it: with one key, so that it is said once.
async fn say(client: &Client, servers: &Servers, conversation: &Value, content: &str) {
    let body = json!({ "conversation_id": conversation, "content": content, "on_busy": "queue" });
    for attempt in 0.. {
        let here = client.at(&pick(servers, attempt));
        let request = here
            .request(Method::POST, "/chat/send")
            .header("Idempotency-Key", content)
            .header("Prefer", "wait=0");
        if let Ok(sent) = request.json(&body).send().await {
            assert!(!sent.status().is_client_error(), "{}", sent.status());
            if sent.status().is_success() {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the account's devices should show.
async fn truth_of(cura: &Cura, user: i64) -> View {
    let mut truth = View::default();
    let messages: Vec<(i64, String, String)> =
        sqlx::query_as("SELECT id, content, status FROM messages WHERE user_id = $1")
            .bind(user)
            .fetch_all(cura.database.pool())
            .await
            .unwrap();
    for (id, text, status) in messages {
        truth.messages.insert(id, cura_tests::view::Shown { text, status });
    }
    let titles: Vec<(i64, Option<String>)> = sqlx::query_as("SELECT id, title FROM conversations WHERE user_id = $1")
        .bind(user)
        .fetch_all(cura.database.pool())
        .await
        .unwrap();
    truth.titles = titles.into_iter().collect();
    truth
}

/// `CURA_DEVICES` (20 unless said otherwise) sockets and as many streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_deploy_and_a_lost_redis_every_device_shows_the_same() {
    #[expect(clippy::disallowed_methods, reason = "`make chaos` says how many")]
    let devices: usize = std::env::var("CURA_DEVICES").map_or(20, |devices| devices.parse().unwrap());
    let provider = ScriptedProvider::answering(&cura_tests::provider::words(40), Duration::from_millis(15)).await;
    let mut cura = Cura::builder()
        .servers(2)
        .workers(2)
        .with_provider(&provider)
        .with("MAX_CONNECTIONS_PER_ADDRESS", "0")
        .start()
        .await;
    let servers: Servers = Arc::new(Mutex::new(
        cura.servers.iter().map(|server| server.base.clone()).collect(),
    ));
    let (ready, listening) = (Counter::default(), Counter::default());
    let (mut people, mut watching) = (Vec::new(), tokio::task::JoinSet::new());
    for account in 0..ACCOUNTS {
        let client = cura.client().register(&format!("person{account}@example.com")).await;
        let user = client.get("/users/me").await.body["id"].as_i64().unwrap();
        let conversation = json!({ "title": format!("talk {account}") });
        let (publish, truth) = watch::channel(None);
        let mine = (account..devices).step_by(ACCOUNTS);
        for device in mine.clone() {
            watching.spawn(watch_everything(
                client.clone(),
                Arc::clone(&servers),
                device,
                truth.clone(),
                Arc::clone(&ready),
            ));
        }
        people.push((client, user, conversation, publish, truth, mine));
    }
    // Everybody watches before anything happens.
    eventually("they watch", async || (*ready.lock().unwrap() == devices).then_some(())).await;
    for (client, _, conversation, _, truth, mine) in &mut people {
        let made = client.post("/conversations", conversation).await.body["id"].clone();
        *conversation = made;
        for device in mine.clone() {
            watching.spawn(hold_a_socket(
                client.clone(),
                Arc::clone(&servers),
                device,
                conversation.clone(),
                truth.clone(),
                (Arc::clone(&ready), Arc::clone(&listening)),
            ));
        }
    }
    eventually("they listen", async || {
        (*listening.lock().unwrap() == devices).then_some(())
    })
    .await;
    join_all(
        people
            .iter()
            .map(|(client, _, conversation, ..)| say(client, &servers, conversation, "warm-up")),
    )
    .await;
    eventually("every device has a cursor", async || {
        (*ready.lock().unwrap() == 2 * devices).then_some(())
    })
    .await;

    let talking = join_all(people.iter().map(|(client, _, conversation, ..)| async {
        for question in 0..QUESTIONS {
            say(client, &servers, conversation, &format!("question-{question}")).await;
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }));
    let breaking = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            cura.add_server().await;
            servers.lock().unwrap().push(cura.servers.last().unwrap().base.clone());
            servers.lock().unwrap().remove(0);
            let mut old = cura.servers.remove(0);
            old.program.signal("TERM");
            assert_eq!(old.program.ended().await, Some(0), "{}", old.program.logs());
        }
        cura.redis.restart();
    };
    tokio::join!(talking, breaking);
    eventually("all is answered", async || {
        let running = "SELECT count(*) FROM messages WHERE status = 'sending'";
        (cura.database.count(running).await == 0).then_some(())
    })
    .await;
    for (_, user, _, publish, ..) in &people {
        publish.send_replace(Some(truth_of(&cura, *user).await));
    }
    let all_show_it = async {
        while let Some(device) = watching.join_next().await {
            device.unwrap()
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all_show_it)
        .await
        .expect("every device shows what the database holds");
    cura.check_invariants().await;
}
