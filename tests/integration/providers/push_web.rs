//! Browsers: what a push service gets, what its answers mean, and endpoints that nobody connects to.

use std::time::Duration;

use cura_bin::wiring;
use cura_domain::app_link::AppLink;
use cura_domain::device::{DeviceAddress, DeviceKind, Subscription};
use cura_domain::push_endpoint::PushHosts;
use cura_domain::{Clock, ConversationId, MessageId, UserId};
use cura_providers::push::{Banner, Dismissal, Meaning, Push, PushProviders, VapidSubject, Verdict, WEB_PUSH, WebPush};
use cura_tests::provider::Latch;
use cura_tests::push_service::Browser;
use cura_tests::{HttpAnswer, HttpServer, LogCapture, ManualClock, PushService};
use futures_util::future::join_all;
use serde_json::json;

const ABOUT: (ConversationId, MessageId) = (ConversationId(7), MessageId(9));
const BANNER: Banner<'static> = Banner {
    kind: "answer",
    push_id: 3,
    about: Some(ABOUT),
    title: Some("Sleep"),
    body: "Breathe 👨‍👩‍👧‍👦.",
    badge: 1,
};

fn allowing(service: &PushService, hosts: PushHosts) -> PushProviders {
    allowing_by(service, hosts, wiring::clock())
}

fn allowing_by(service: &PushService, hosts: PushHosts, clock: Clock) -> PushProviders {
    let subject = VapidSubject::parse("mailto:push@example.org").unwrap();
    let link = AppLink::parse("https://app.example/c/{conversation_id}").unwrap();
    let web = WebPush::new(service.key().clone(), subject, hosts, Some(link), clock).unwrap();
    assert_eq!(web.public_key(), service.key().public_key());
    PushProviders::new(None, Some(web))
}

fn providers(service: &PushService) -> PushProviders {
    allowing(service, service.hosts())
}

async fn send_to(providers: &PushProviders, to: Subscription, is_of_old_key: bool, push: &Push<'_>) -> Verdict {
    let permit = providers.permits(DeviceKind::WebPush, 1).await.remove(0);
    let address = DeviceAddress::WebPush(to);
    providers.send(permit, UserId(1), &address, is_of_old_key, push).await
}

async fn send_as(person: i64, service: &PushService, providers: &PushProviders, browser: &Browser) -> Verdict {
    let permit = providers.permits(DeviceKind::WebPush, 1).await.remove(0);
    let address = DeviceAddress::WebPush(browser.subscription(&service.hosts()));
    let push = Push::Banner(BANNER);
    providers.send(permit, UserId(person), &address, false, &push).await
}

async fn send(service: &PushService, providers: &PushProviders, browser: &Browser) -> Verdict {
    let subscription = browser.subscription(&service.hosts());
    send_to(providers, subscription, false, &Push::Banner(BANNER)).await
}

#[tokio::test]
async fn only_the_browser_reads_a_push_and_its_service_takes_it() {
    let service = PushService::start().await;
    let providers = providers(&service);
    assert!(providers.is_ready(DeviceKind::WebPush).await && !providers.is_ready(DeviceKind::Fid).await);
    assert!(providers.permits(DeviceKind::Fcm, 1).await.is_empty());
    let (browser, other) = (service.subscribe(), service.subscribe());
    assert_eq!(send(&service, &providers, &browser).await.meaning, Meaning::Sent);
    let push = service.pushes_of(&browser).remove(0);
    assert_eq!(push.status, 201, "{push:?}");
    let data = json!({ "type": "answer", "push_id": "3", "badge": "1", "conversation_id": "7", "message_id": "9" });
    let expected = json!({
        "title": "Sleep",
        "body": "Breathe 👨‍👩‍👧‍👦.",
        "tag": "c7",
        "link": "https://app.example/c/7",
        "data": data,
    });
    assert_eq!(push.plaintext, Some(expected));
    assert_eq!(other.decrypt(&push.request.body), None);
    for (name, value) in [
        ("TTL", "86400"),
        ("Urgency", "high"),
        ("Topic", "c7"),
        ("Content-Encoding", "aes128gcm"),
        ("Content-Type", "application/octet-stream"),
    ] {
        assert_eq!(push.request.header(name), Some(value), "{name}");
    }
    let claims = push.claims.unwrap();
    assert_eq!(
        (&claims["aud"], &claims["sub"]),
        (&json!(service.server().url()), &json!("mailto:push@example.org"))
    );

    let test = Banner {
        kind: "test",
        about: None,
        ..BANNER
    };
    let to = other.subscription(&service.hosts());
    assert_eq!(
        send_to(&providers, to, false, &Push::Banner(test)).await.meaning,
        Meaning::Sent
    );
    let push = service.pushes_of(&other).remove(0);
    assert_eq!(
        (push.request.header("Urgency"), push.request.header("Topic")),
        (Some("normal"), None)
    );
    let signatures = service
        .pushes()
        .iter()
        .map(|push| push.request.header("Authorization").unwrap().to_owned())
        .collect::<Vec<_>>();
    assert_eq!(signatures[0], signatures[1], "signed once for a service");
}

#[tokio::test]
async fn a_browser_is_removed_only_when_its_subscription_is_gone_and_its_twin_stays() {
    let service = PushService::start().await;
    let providers = providers(&service);
    let twin = service.subscribe();
    let seconds = |seconds| Meaning::Again(Some(Duration::from_secs(seconds)));
    let reply = |status| HttpAnswer::reply(status, "");
    for (answer, is_of_old_key, meaning) in [
        (reply(201), false, Meaning::Sent),
        (reply(202), false, Meaning::Sent),
        (reply(404), false, Meaning::Gone),
        (reply(410), false, Meaning::Gone),
        (reply(401), true, Meaning::Gone),
        (reply(403), true, Meaning::Gone),
        (reply(401), false, Meaning::Misconfigured),
        (reply(403), false, Meaning::Misconfigured),
        (reply(400), false, Meaning::Misconfigured),
        (reply(400), true, Meaning::Misconfigured),
        (reply(413), false, Meaning::OurFault),
        (reply(429), false, seconds(60)),
        (reply(429).with("Retry-After", "90"), false, seconds(90)),
        (reply(429).with("Retry-After", "86400"), false, seconds(3600)),
        (
            reply(503).with("Retry-After", "Sat, 06 Nov 2094 08:49:37 GMT"),
            false,
            seconds(3600),
        ),
        (reply(500), false, Meaning::Again(None)),
        (reply(503), true, Meaning::Again(None)),
        (HttpAnswer::Cut, false, Meaning::Again(None)),
    ] {
        let browser = service.subscribe();
        service.answer_always(&browser, answer.clone());
        let to = browser.subscription(&service.hosts());
        let verdict = send_to(&providers, to, is_of_old_key, &Push::Banner(BANNER)).await;
        assert_eq!(verdict.meaning, meaning, "{answer:?}");
        assert!(!verdict.code.contains("secret"), "{verdict:?}");
        assert_eq!(service.pushes_of(&browser).len(), 1, "sent once: {answer:?}");
        assert_eq!(
            send(&service, &providers, &twin).await.meaning,
            Meaning::Sent,
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_service_that_refuses_our_signature_costs_no_device_and_alerts_once() {
    let service = PushService::start().await;
    let (alerts, providers) = (LogCapture::of_errors(), providers(&service));
    let browser = service.subscribe();
    service.answer_next(
        &browser,
        [HttpAnswer::reply(403, "BadJwtToken"), HttpAnswer::reply(401, "")],
    );
    for code in ["http_403", "http_401"] {
        let verdict = send(&service, &providers, &browser).await;
        assert_eq!((verdict.meaning, &*verdict.code), (Meaning::Misconfigured, code));
    }
    assert_eq!(send(&service, &providers, &browser).await.meaning, Meaning::Sent);
    let signatures: Vec<_> = service
        .pushes()
        .iter()
        .map(|push| push.request.header("Authorization").map(str::to_owned))
        .collect();
    assert_ne!(
        signatures[0], signatures[1],
        "a signature that was refused is not sent again"
    );
    let lines = alerts.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("VAPID_SUBJECT") && lines[0].contains("127.0.0.1"),
        "{lines:?}"
    );
    assert!(!lines[0].contains("secret"), "the endpoint is not logged: {lines:?}");
}

/// One person may register as many subscriptions for somebody else's key as they like.
#[tokio::test]
async fn a_service_fails_when_it_refuses_several_people_until_it_takes_one_or_there_is_no_news() {
    let (service, clock) = (PushService::start().await, ManualClock::default());
    let providers = allowing_by(&service, service.hosts(), clock.clock());
    let (strange, good) = (service.subscribe(), service.subscribe());
    service.answer_always(&strange, HttpAnswer::reply(403, ""));
    for _ in 0..100 {
        send_as(1, &service, &providers, &strange).await;
    }
    assert!(providers.failing().is_empty(), "one person is no outage");
    for person in [2, 3] {
        send_as(person, &service, &providers, &strange).await;
    }
    assert_eq!(providers.failing(), [WEB_PUSH]);
    clock.advance(5 * 60);
    assert!(providers.failing().is_empty(), "nobody knows");
    for person in 0..60 {
        send_as(person % 3, &service, &providers, &strange).await;
    }
    assert_eq!(providers.failing(), [WEB_PUSH]);
    assert_eq!(send_as(1, &service, &providers, &good).await.meaning, Meaning::Sent);
    assert!(providers.failing().is_empty());
}

#[tokio::test]
async fn a_redirect_leads_nowhere_and_stops_nobody_else() {
    let service = PushService::start().await;
    let (alerts, providers) = (LogCapture::of_errors(), providers(&service));
    let elsewhere = HttpServer::start(|_| HttpAnswer::reply(201, "")).await;
    for status in [301, 302, 307, 308] {
        let browser = service.subscribe();
        let redirect = HttpAnswer::reply(status, "").with("Location", format!("{}/x", elsewhere.url()));
        service.answer_always(&browser, redirect);
        let verdict = send(&service, &providers, &browser).await;
        assert_eq!(
            verdict.meaning,
            Meaning::Again(Some(Duration::from_secs(300))),
            "{status}"
        );
        assert_eq!(
            send(&service, &providers, &service.subscribe()).await.meaning,
            Meaning::Sent
        );
    }
    assert_eq!(elsewhere.connections(), 0);
    assert!(alerts.lines().is_empty(), "a client chose it: {:?}", alerts.lines());
}

#[tokio::test]
async fn nobody_connects_to_an_endpoint_that_is_not_allowed_any_more() {
    let service = PushService::start().await;
    let browser = service.subscribe();
    let without = allowing(&service, PushHosts::default());
    let verdict = send(&service, &without, &browser).await;
    assert_eq!(
        (verdict.meaning, &*verdict.code),
        (Meaning::Misconfigured, "endpoint_not_allowed")
    );
    let elsewhere = allowing(&service, PushHosts::parse("127.0.0.1:1,push.example.org").unwrap());
    assert_eq!(send(&service, &elsewhere, &browser).await.code, "endpoint_not_allowed");
    assert_eq!(service.server().connections(), 0);
    assert_eq!(
        send(&service, &providers(&service), &browser).await.meaning,
        Meaning::Sent
    );
}

#[tokio::test]
async fn nobody_connects_for_a_key_that_is_none_or_for_a_dismissal() {
    let service = PushService::start().await;
    let providers = providers(&service);
    let good = service.subscribe().subscription(&service.hosts());
    let mut point = good.p256dh.clone();
    *point.last_mut().unwrap() ^= 1;
    let bad = Subscription::new(good.endpoint.clone(), point, good.auth.clone()).unwrap();
    let verdict = send_to(&providers, bad, false, &Push::Banner(BANNER)).await;
    assert_eq!((verdict.meaning, &*verdict.code), (Meaning::Gone, "invalid_key"));
    let dismissal = Push::Dismissal(Dismissal {
        push_id: 4,
        about: ABOUT,
        badge: 0,
    });
    let verdict = send_to(&providers, good.clone(), false, &dismissal).await;
    assert_eq!(
        (verdict.meaning, &*verdict.code),
        (Meaning::OurFault, "not_for_browsers")
    );
    assert_eq!(service.server().connections(), 0);
    assert_eq!(
        send_to(&providers, good, false, &Push::Banner(BANNER)).await.meaning,
        Meaning::Sent
    );
}

#[tokio::test]
async fn no_more_than_fifty_are_sent_at_once() {
    let service = PushService::start().await;
    let (providers, latch, browser) = (providers(&service), Latch::default(), service.subscribe());
    service.answer_always(&browser, HttpAnswer::reply(201, "").after(&latch));
    let sending = join_all((0..120).map(|_| send(&service, &providers, &browser)));
    let opening = async {
        service.server().wait_for_under_way(50).await;
        latch.open();
    };
    let (sent, ()) = tokio::join!(sending, opening);
    assert!(sent.iter().all(|verdict| verdict.meaning == Meaning::Sent), "{sent:?}");
    assert_eq!(service.server().most_under_way(), 50);
    assert_eq!(service.pushes().len(), 120);
}

#[tokio::test]
async fn a_service_that_is_silent_is_left_after_ten_seconds_and_not_asked_again() {
    let service = PushService::start().await;
    let (providers, browser) = (providers(&service), service.subscribe());
    service.answer_always(&browser, HttpAnswer::Hang);
    let verdict = send(&service, &providers, &browser).await;
    assert_eq!((verdict.meaning, &*verdict.code), (Meaning::Again(None), "timed_out"));
    assert_eq!(service.pushes().len(), 1);
    // One that is not there at all.
    let gone = Browser::new("http://127.0.0.1:1/wpush/secret".to_owned());
    let hosts = PushHosts::parse("127.0.0.1:1").unwrap();
    let elsewhere = allowing(&service, hosts.clone());
    let verdict = send_to(&elsewhere, gone.subscription(&hosts), false, &Push::Banner(BANNER)).await;
    assert_eq!((verdict.meaning, &*verdict.code), (Meaning::Again(None), "unreachable"));
}
