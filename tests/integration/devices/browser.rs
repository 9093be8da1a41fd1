//! A real browser subscribes, is pushed to, and reads what it got.

use cura_tests::{Client, Firefox, FirefoxPushServer, HttpAnswer, HttpServer};
use serde_json::{Value, json};

use super::{Pushing, devices};

/// A person whose page is open in Firefox, and subscribed.
struct Browsing {
    firefox: Firefox,
    service: FirefoxPushServer,
    pushing: Pushing,
    user: Client,
    device: Value,
}

impl Browsing {
    /// `None`, with a word, where there is no Firefox.
    async fn start() -> Option<Self> {
        let Some(installed) = Firefox::installed() else {
            println!("skipped: no Firefox");
            return None;
        };
        let service = FirefoxPushServer::start().await;
        let site = HttpServer::start(|request| match request.line().1 {
            "/" => page("text/html", include_str!("browser/page.html")),
            "/worker.js" => page("text/javascript", include_str!("browser/worker.js")),
            _ => HttpAnswer::reply(404, ""),
        })
        .await;
        let pushing = Pushing::start_with(|cura| {
            cura.with_firefox_push_server(&service)
                .with("ALLOWED_ORIGINS", json!([site.url()]).to_string())
                .with("APP_LINK", "https://app.example/c/{conversation_id}")
        })
        .await;
        pushing.latch.open();
        let user = pushing.cura.user().await;
        let mut firefox = Firefox::start(&installed, &service).await;
        firefox.open(&format!("{}/", site.url())).await;
        let subscribe = format!("subscribe({}, {})", json!(user.base()), json!(user.token));
        let device = firefox.evaluate(&subscribe).await;
        Some(Self {
            firefox,
            service,
            pushing,
            user,
            device,
        })
    }
}

fn page(kind: &str, body: &str) -> HttpAnswer {
    HttpAnswer::reply(200, body).with("Content-Type", kind)
}

#[tokio::test]
async fn the_service_worker_of_a_real_browser_reads_what_was_pushed() {
    let Some(mut browsing) = Browsing::start().await else {
        return;
    };
    assert_eq!(
        (&browsing.device["kind"], &browsing.device["device_name"]),
        (&json!("webpush"), &json!("Firefox"))
    );
    let answer = browsing.pushing.ask(&browsing.user).await;
    let acknowledged = browsing.service.wait_for_acknowledgements(1).await;
    assert_eq!(acknowledged, [100], "decrypted and delivered");
    let read = browsing.firefox.evaluate("nextPush()").await;
    let conversation = answer["conversation_id"].to_string();
    let data = &read["data"];
    assert!(data["push_id"].is_string(), "{read}");
    assert_eq!(
        read,
        json!({
            "body": "Your answer is there.",
            "tag": format!("c{conversation}"),
            "link": format!("https://app.example/c/{conversation}"),
            "data": {
                "type": "answer",
                "push_id": data["push_id"],
                "badge": "1",
                "conversation_id": conversation,
                "message_id": answer["id"].to_string(),
            },
        })
    );
    browsing.pushing.until_done().await;
    assert_eq!(browsing.pushing.decision(&answer).await, "pushed");
    assert_eq!(browsing.service.pushes().len(), 1, "pushed once");
}

#[tokio::test]
async fn a_real_browser_that_unsubscribes_is_no_device_any_more() {
    let Some(mut browsing) = Browsing::start().await else {
        return;
    };
    assert_eq!(devices(&browsing.user).await.len(), 1);
    assert_eq!(browsing.firefox.evaluate("unsubscribe()").await, true);
    browsing.service.wait_for_end_of_subscriptions().await;
    browsing.pushing.ask(&browsing.user).await;
    browsing.pushing.until_done().await;
    assert_eq!(devices(&browsing.user).await, Vec::<Value>::new());
    assert!(browsing.service.pushes().is_empty());
}
