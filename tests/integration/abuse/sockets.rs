//! Sockets: frames are within the budgets of their person, and so are the sockets themselves.

use std::time::{Duration, Instant};

use cura_tests::raw_socket::{self, RawSocket};
use cura_tests::{Client, Cura, Socket, eventually};
use serde_json::{Value, json};

async fn conversation(client: &Client) -> Value {
    client.post("/conversations", &json!({})).await.body["id"].clone()
}

/// Whatever is answered to these frames, up to the answer to the ping after them.
async fn answers_to(socket: &mut Socket, frames: &[Value]) -> Vec<Value> {
    for frame in frames {
        socket.send(frame).await;
    }
    socket.send(&json!({ "type": "ping" })).await;
    let mut answers = socket.until("pong").await;
    answers.pop();
    answers
}

#[tokio::test]
async fn a_person_has_so_many_sockets_and_the_next_is_told_to_come_later() {
    let cura = Cura::builder().workers(0).with("USER_CONNECTIONS", "2").start().await;
    let ann = cura.user().await;
    let bob = cura.client().register("bob@example.com").await;
    let (hers, his) = (conversation(&ann).await, conversation(&bob).await);
    let first = Socket::of(&ann, &hers, None).await;
    let _second = Socket::of(&ann, &hers, None).await;
    assert_eq!(Socket::of(&ann, &hers, None).await.closed().await, 1013);
    let _stream = ann.watch(None).await;
    answers_to(&mut Socket::of(&bob, &his, None).await, &[]).await;
    drop(first);
    eventually("there is room", async || {
        let mut socket = Socket::of(&ann, &hers, None).await;
        socket.send(&json!({ "type": "ping" })).await;
        socket.next().await.ok()
    })
    .await;
}

#[tokio::test]
async fn every_frame_that_costs_something_is_charged_to_its_person() {
    let budget = 6;
    let cura = Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_DEFAULT", budget.to_string())
        .start()
        .await;
    let frames = [
        json!({ "type": "auth", "token": "a.b.c" }),
        json!({ "type": "read", "message_id": 1 }),
        json!({ "type": "cancel", "message_id": 1 }),
        json!({ "type": "nonsense" }),
        json!({ "type": "message" }),
    ];
    for (n, frame) in frames.iter().enumerate() {
        let ann = cura.client().register(&format!("ann{n}@example.com")).await;
        let hers = conversation(&ann).await;
        let begun = Instant::now();
        // Two sockets share what one has.
        let mut sockets = [Socket::of(&ann, &hers, None).await, Socket::of(&ann, &hers, None).await];
        let mut served = 0;
        for socket in &mut sockets {
            let errors = answers_to(socket, &vec![frame.clone(); 30]).await;
            served += errors.iter().filter(|error| error["code"] != "rate_limited").count();
        }
        let back = usize::try_from(begun.elapsed().as_secs()).unwrap() * budget / 60 + 1;
        assert!(served <= budget + back, "{frame}: {served}");
    }
}

#[tokio::test]
async fn messages_and_their_repetitions_are_charged_on_sockets_as_by_http() {
    let cura = Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_CHAT", "2")
        .with("RATE_LIMIT_DEFAULT", "6")
        .start()
        .await;
    let ann = cura.user().await;
    let mut socket = Socket::of(&ann, &conversation(&ann).await, None).await;
    let frame = json!({ "type": "message", "content": "Hi", "client_message_id": "one" });
    let begun = Instant::now();
    let answers = answers_to(&mut socket, &vec![frame; 40]).await;
    let acks = answers.iter().filter(|answer| answer["type"] == "ack").count();
    let back = usize::try_from(begun.elapsed().as_secs()).unwrap() * 8 / 60 + 2;
    // The conversation and the socket were charged, too.
    assert!((4..=7 + back).contains(&acks), "{acks}");
    assert!(answers.iter().any(|answer| answer["code"] == "rate_limited"));
}

#[tokio::test]
async fn pings_are_answered_without_the_database() {
    let (cura, proxy) = Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_DEFAULT", "10")
        .start_behind_proxy()
        .await;
    let ann = cura.user().await;
    let mut socket = Socket::of(&ann, &conversation(&ann).await, None).await;
    answers_to(&mut socket, &[]).await;
    proxy.cut();
    let pongs = answers_to(&mut socket, &vec![json!({ "type": "ping" }); 30]).await;
    assert!(pongs.is_empty(), "the first answer is a pong: {pongs:?}");
    for _ in 0..30 {
        assert_eq!(socket.next().await.unwrap()["type"], "pong");
    }
}

#[tokio::test]
async fn what_is_typed_is_said_once_a_second_and_the_last_of_it_always() {
    let cura = Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_DEFAULT", "20")
        .start()
        .await;
    let ann = cura.user().await;
    let hers = conversation(&ann).await;
    let mut watching = Socket::of(&ann, &hers, None).await;
    let (mut one, mut two) = (Socket::of(&ann, &hers, None).await, Socket::of(&ann, &hers, None).await);
    let typing = |is_typing: bool| json!({ "type": "typing", "is_typing": is_typing });
    let begun = Instant::now();
    let burst: Vec<Value> = (0..60).map(|n| typing(n % 2 == 0)).collect();
    for socket in [&mut one, &mut two] {
        let errors = answers_to(socket, &burst).await;
        assert!(errors.iter().all(|answer| answer["type"] == "typing"), "{errors:?}");
    }
    one.send(&typing(true)).await;
    answers_to(&mut one, &[]).await;
    let took = usize::try_from(begun.elapsed().as_secs()).unwrap();
    let mut said = Vec::new();
    loop {
        let waits = Instant::now();
        let event = watching.next().await.unwrap();
        assert_eq!((&event["type"], &event["role"]), (&json!("typing"), &json!("user")));
        // Six seconds after the last state, its end is assumed.
        if waits.elapsed() > Duration::from_secs(4) && event["is_typing"] == false {
            break;
        }
        said.push(event["is_typing"] == true);
    }
    assert_eq!(said.last(), Some(&true), "{said:?}");
    assert!(said.len() <= took + 3, "{said:?} in {took} s");
}

#[tokio::test]
async fn the_frames_of_all_sockets_of_a_person_are_counted_together() {
    let cura = Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_DEFAULT", "1000")
        .start()
        .await;
    let ann = cura.user().await;
    let hers = conversation(&ann).await;
    let bob = cura.client().register("bob@example.com").await;
    let his = conversation(&bob).await;
    let mut closed = 0;
    // Each socket by itself may send a hundred at once.
    for _ in 0..20 {
        let mut socket = Socket::of(&ann, &hers, None).await;
        for _ in 0..90 {
            socket.send(&json!({ "type": "ping" })).await;
        }
        for _ in 0..90 {
            match socket.next().await {
                Ok(_) => {}
                Err(code) => {
                    assert!(code == 1008 || code == 1006, "{code}");
                    closed += 1;
                    break;
                }
            }
        }
    }
    assert!((1..=7).contains(&closed), "{closed} of 20 were closed");
    answers_to(&mut Socket::of(&bob, &his, None).await, &[]).await;
}

#[tokio::test]
async fn halves_of_messages_fill_no_more_than_the_budget_of_their_address() {
    let cura = Cura::builder().workers(0).with("USER_CONNECTIONS", "200").start().await;
    let ann = cura.user().await;
    let conversation = conversation(&ann).await;
    // 8 MiB are 64 times the longest frame.
    let half = raw_socket::frame(raw_socket::TEXT, &[b'x'; 120 * 1024]);
    let mut sockets = Vec::new();
    for _ in 0..90 {
        let mut socket = RawSocket::of(&ann, &conversation).await;
        socket.send(&half).await;
        sockets.push(socket);
    }
    let mut refused = 0;
    for socket in &mut sockets {
        // Who was let go has been told why; who was not, goes on.
        socket
            .send(&raw_socket::frame(raw_socket::FIN | raw_socket::PING, b""))
            .await;
        match socket.next().await {
            Some((raw_socket::PONG, _)) => {}
            Some((raw_socket::CLOSE, why)) => {
                assert_eq!(why[..2], 1013_u16.to_be_bytes());
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!((20..90).contains(&refused), "{refused} of 90");
    // Another address is not concerned, and neither is who sends a whole message.
    drop(sockets);
    eventually("there is room again", async || {
        let mut socket = RawSocket::of(&ann, &conversation).await;
        socket
            .send(&raw_socket::text(&format!(
                "{{\"type\":\"ping\"}}{}",
                " ".repeat(120_000)
            )))
            .await;
        (socket.next().await?.0 == raw_socket::TEXT).then_some(())
    })
    .await;
}
