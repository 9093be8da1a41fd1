//! Firebase: a device is touched only for an answer that names it, and a push is never sent twice by us.

use std::time::{Duration, Instant};

use cura_bin::wiring;
use cura_domain::device::{DeviceAddress, DeviceKind};
use cura_domain::{Clock, ConversationId, MessageId, UserId};
use cura_providers::push::{Banner, Dismissal, FCM, Fcm, Meaning, Push, PushProviders, Verdict};
use cura_tests::fcm_server::{PROJECT, fcm_error, google_error, html, taken, unauthenticated, violation};
use cura_tests::provider::Latch;
use cura_tests::{FcmServer, HttpAnswer, HttpServer, LogCapture, ManualClock};
use futures_util::future::join_all;

const BANNER: Push<'static> = Push::Banner(Banner {
    kind: "answer",
    push_id: 3,
    about: Some((ConversationId(7), MessageId(9))),
    title: None,
    body: "Your answer is there.",
    badge: 1,
});
/// How long nothing is sent after an answer that is not Firebase's.
const FIVE_MINUTES: Meaning = Meaning::Again(Some(Duration::from_secs(300)));

fn providers(server: &FcmServer) -> PushProviders {
    providers_by(server, wiring::clock())
}

fn providers_by(server: &FcmServer, clock: Clock) -> PushProviders {
    let base = server.server().url().parse().unwrap();
    let fcm = Fcm::new(server.credentials().into(), &base, clock).unwrap();
    assert_eq!(fcm.project(), PROJECT);
    PushProviders::new(Some(fcm), None)
}

async fn send_to(providers: &PushProviders, address: DeviceAddress, push: &Push<'_>) -> Verdict {
    let permit = providers.permits(address.kind(), 1).await.remove(0);
    providers.send(permit, UserId(1), &address, false, push).await
}

async fn send(providers: &PushProviders, device: &str) -> Verdict {
    send_to(providers, DeviceAddress::fcm(device.to_owned()).unwrap(), &BANNER).await
}

#[tokio::test]
async fn a_push_reaches_phones_by_token_and_by_installation_id() {
    let server = FcmServer::start().await;
    let providers = providers(&server);
    assert!(providers.is_ready(DeviceKind::Fcm).await && !providers.is_ready(DeviceKind::WebPush).await);
    assert!(providers.permits(DeviceKind::WebPush, 1).await.is_empty());
    assert_eq!(send(&providers, "phone").await.meaning, Meaning::Sent);
    let by_id = DeviceAddress::fid("installation".to_owned()).unwrap();
    let dismissal = Push::Dismissal(Dismissal {
        push_id: 4,
        about: (ConversationId(7), MessageId(9)),
        badge: 0,
    });
    assert_eq!(send_to(&providers, by_id, &dismissal).await.meaning, Meaning::Sent);
    let sends = server.sends();
    assert_eq!(
        sends.iter().map(|send| send.status).collect::<Vec<_>>(),
        [200, 200],
        "Firebase takes both: {sends:?}"
    );
    assert_eq!(sends[0].message["notification"]["body"], "Your answer is there.");
    assert_eq!(sends[1].message["fid"], "installation");
    assert_eq!(sends[1].message["data"]["type"], "read");
    assert_eq!(server.token_requests(), 1, "one token for both");
}

#[tokio::test]
async fn a_device_is_touched_only_for_an_answer_that_names_it_and_its_twin_stays() {
    let server = FcmServer::start().await;
    let of_token = "The registration token is not a valid FCM registration token";
    let error = |status, code| fcm_error(status, code, "", &[]);
    let seconds = |seconds| Meaning::Again(Some(Duration::from_secs(seconds)));
    for (n, (answer, meaning)) in [
        (error(404, "UNREGISTERED"), Meaning::Gone),
        (fcm_error(400, "INVALID_ARGUMENT", of_token, &[]), Meaning::Gone),
        (
            fcm_error(400, "INVALID_ARGUMENT", "", &[violation("message.token")]),
            Meaning::Gone,
        ),
        (
            fcm_error(400, "INVALID_ARGUMENT", "", &[violation("message.data[0].value")]),
            Meaning::OurFault,
        ),
        (
            fcm_error(400, "INVALID_ARGUMENT", "Message too big", &[]),
            Meaning::OurFault,
        ),
        (
            google_error(
                "INVALID_ARGUMENT",
                "Invalid value at 'message.data[0].value' (TYPE_STRING), 12",
                &[violation("message.data[0].value")],
            ),
            Meaning::OurFault,
        ),
        (
            google_error("INVALID_ARGUMENT", "Request contains an invalid argument.", &[]),
            Meaning::OurFault,
        ),
        (
            google_error("INVALID_ARGUMENT", "", &[violation("message.token")]),
            Meaning::Gone,
        ),
        (error(403, "SENDER_ID_MISMATCH"), Meaning::OtherSender),
        (error(429, "QUOTA_EXCEEDED"), seconds(60)),
        (error(429, "QUOTA_EXCEEDED").with("Retry-After", "90"), seconds(90)),
        (error(503, "UNAVAILABLE").with("Retry-After", "10"), seconds(10)),
        (
            error(503, "UNAVAILABLE").with("Retry-After", "soon"),
            Meaning::Again(None),
        ),
        (
            error(503, "UNAVAILABLE").with("Retry-After", "Sat, 06 Nov 2094 08:49:37 GMT"),
            seconds(3600),
        ),
        (error(503, "UNAVAILABLE"), Meaning::Again(None)),
        (error(500, "INTERNAL"), Meaning::Again(None)),
        (error(401, "THIRD_PARTY_AUTH_ERROR"), Meaning::Misconfigured),
        (html(502), Meaning::Again(None)),
        (HttpAnswer::Cut, Meaning::Again(None)),
        (HttpAnswer::Torn { status: 200 }, Meaning::Again(None)),
        (HttpAnswer::Torn { status: 404 }, Meaning::Again(None)),
    ]
    .into_iter()
    .enumerate()
    {
        let providers = providers(&server);
        let (device, twin) = (format!("device-{n}"), format!("twin-{n}"));
        server.answer_always(&device, answer.clone());
        let verdict = send(&providers, &device).await;
        assert_eq!(verdict.meaning, meaning, "{answer:?}");
        assert_eq!(server.sends_to(&device).len(), 1, "sent once: {answer:?}");
        assert!(!verdict.code.contains("device"), "{verdict:?}");
        assert_eq!(send(&providers, &twin).await.meaning, Meaning::Sent, "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_firebases_costs_no_device_and_stops_sending_with_one_alert() {
    let server = FcmServer::start().await;
    let elsewhere = HttpServer::start(|_| HttpAnswer::reply(200, "{}")).await;
    let not_found = serde_json::json!({ "error": { "code": 404, "status": "NOT_FOUND" } });
    for (n, answer) in [
        html(403),
        html(404),
        html(400),
        html(200),
        google_error("FAILED_PRECONDITION", "no", &[]),
        HttpAnswer::json(404, &not_found),
        fcm_error(400, "SOMETHING_NEW", "", &[]),
        HttpAnswer::reply(307, "").with("Location", elsewhere.url()),
    ]
    .into_iter()
    .enumerate()
    {
        let alerts = LogCapture::of_errors();
        let providers = providers(&server);
        let device = format!("device-{n}");
        server.answer_always(&device, answer.clone());
        assert_eq!(send(&providers, &device).await.meaning, FIVE_MINUTES, "{answer:?}");
        assert!(!providers.is_ready(DeviceKind::Fcm).await, "{answer:?}");
        let twin = send(&providers, "twin").await;
        assert_eq!((twin.meaning, &*twin.code), (FIVE_MINUTES, "closed"), "{answer:?}");
        let lines = alerts.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains("FIREBASE_CREDENTIALS_PATH") && !lines[0].contains(&device),
            "{lines:?}"
        );
    }
    assert!(server.sends_to("twin").is_empty());
    assert_eq!(elsewhere.connections(), 0, "redirects are not followed");
}

#[tokio::test]
async fn a_refused_access_token_is_replaced_once() {
    let server = FcmServer::start().await;
    let providers = providers(&server);
    assert_eq!(send(&providers, "phone").await.meaning, Meaning::Sent);
    server.revoke_access_tokens();
    let sent = join_all((0..10).map(|_| send(&providers, "phone"))).await;
    assert!(sent.iter().all(|verdict| verdict.meaning == Meaning::Sent), "{sent:?}");
    assert_eq!(server.token_requests(), 2, "one more for all of them");
    let (refused, taken): (Vec<_>, Vec<_>) = server.sends().into_iter().partition(|send| send.status == 401);
    assert!((1..=10).contains(&refused.len()));
    assert_eq!(taken.len(), 11);
    assert!(taken[1..].iter().all(|send| send.access_token != taken[0].access_token));
}

#[tokio::test]
async fn credentials_that_are_refused_twice_stop_sending_and_fetch_no_more_tokens() {
    let server = FcmServer::start().await;
    let (alerts, providers) = (LogCapture::of_errors(), providers(&server));
    server.answer_always("phone", unauthenticated());
    let sent = join_all((0..10).map(|_| send(&providers, "phone"))).await;
    assert!(sent.iter().all(|verdict| verdict.meaning == FIVE_MINUTES), "{sent:?}");
    assert_eq!(send(&providers, "twin").await.code, "closed");
    assert_eq!(server.token_requests(), 2);
    assert!(server.sends_to("twin").is_empty());
    assert_eq!(alerts.lines().len(), 1, "{:?}", alerts.lines());
}

#[tokio::test]
async fn a_token_endpoint_that_hangs_keeps_nobody_for_longer_than_five_seconds() {
    let (server, clock) = (FcmServer::start().await, ManualClock::default());
    let providers = providers_by(&server, clock.clock());
    server.answer_token_requests(Some(HttpAnswer::Hang));
    let begun = Instant::now();
    let (ready, sent) = tokio::join!(
        providers.is_ready(DeviceKind::Fcm),
        join_all((0..5).map(|_| send(&providers, "phone")))
    );
    let took = begun.elapsed();
    assert!((4..8).contains(&took.as_secs()), "{took:?}");
    assert!(!ready);
    let again = |verdict: &Verdict| verdict.meaning == Meaning::Again(None) && verdict.code == "no_access_token";
    assert!(sent.iter().all(again), "{sent:?}");
    assert!(server.sends().is_empty());
    assert_eq!(server.token_requests(), 1, "nobody asks again at once");
    server.answer_token_requests(None);
    clock.advance(15);
    assert_eq!(
        send(&providers, "phone").await.meaning,
        Meaning::Sent,
        "as soon as it is back"
    );
}

#[tokio::test]
async fn a_token_endpoint_that_fails_costs_no_device_and_is_not_asked_again_for_fifteen_seconds() {
    let (server, clock) = (FcmServer::start().await, ManualClock::default());
    let providers = providers_by(&server, clock.clock());
    server.answer_token_requests(Some(HttpAnswer::json(
        400,
        &serde_json::json!({ "error": "invalid_grant" }),
    )));
    let sent = join_all((0..20).map(|_| send(&providers, "phone"))).await;
    let waits = |verdict: &Verdict| verdict.meaning == Meaning::Again(None) && verdict.code == "no_access_token";
    assert!(sent.iter().all(waits), "{sent:?}");
    let asked = server.token_requests();
    assert!(asked <= 5, "gcp_auth asks five times, for all of them: {asked}");
    server.answer_token_requests(None);
    clock.advance(10);
    assert!(!providers.is_ready(DeviceKind::Fcm).await);
    assert_eq!(server.token_requests(), asked);
    assert!(server.sends().is_empty());
    clock.advance(5);
    assert!(providers.is_ready(DeviceKind::Fcm).await);
    assert_eq!(send(&providers, "phone").await.meaning, Meaning::Sent);
    // One that is refused is replaced at once, however often none came before.
    server.revoke_access_tokens();
    assert_eq!(send(&providers, "phone").await.meaning, Meaning::Sent);
    assert_eq!(server.token_requests(), asked + 2);
}

/// Whether it fails is told to operators, and only as long as somebody knows.
#[tokio::test]
async fn firebase_fails_while_no_access_token_comes_until_one_does_or_there_is_no_news() {
    let (server, clock) = (FcmServer::start().await, ManualClock::default());
    let (alerts, providers) = (LogCapture::of_errors(), providers_by(&server, clock.clock()));
    assert!(providers.failing().is_empty());
    let refusal = HttpAnswer::json(400, &serde_json::json!({ "error": "invalid_grant" }));
    server.answer_token_requests(Some(refusal));
    for _ in 0..2 {
        assert!(!providers.is_ready(DeviceKind::Fcm).await);
        clock.advance(4 * 60);
        assert_eq!(providers.failing(), [FCM], "there was no token when it was asked last");
    }
    clock.advance(60);
    assert!(providers.failing().is_empty(), "nobody knows");
    assert!(!providers.is_ready(DeviceKind::Fcm).await);
    assert_eq!(providers.failing(), [FCM]);
    assert_eq!(alerts.lines().len(), 1, "told once: {:?}", alerts.lines());
    server.answer_token_requests(None);
    clock.advance(15);
    assert!(providers.is_ready(DeviceKind::Fcm).await);
    assert!(providers.failing().is_empty());
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_push_waiting() {
    let (server, clock) = (FcmServer::start().await, ManualClock::default());
    let providers = providers_by(&server, clock.clock());
    let refusal = serde_json::json!({ "error": "invalid_grant" });
    server.answer_token_requests(Some(HttpAnswer::json(400, &refusal)));
    assert!(!providers.is_ready(DeviceKind::Fcm).await);
    server.answer_token_requests(None);
    clock.advance(-3600);
    assert!(providers.is_ready(DeviceKind::Fcm).await);
}

#[tokio::test]
async fn everybody_who_waits_for_a_token_waits_for_the_same_one() {
    let server = FcmServer::start().await;
    let (providers, latch) = (providers(&server), Latch::default());
    server.answer_token_requests(Some(HttpAnswer::Hang.after(&latch)));
    let sending = join_all((0..40).map(|_| send(&providers, "phone")));
    let opening = async {
        server.server().wait_for_under_way(1).await;
        latch.open();
    };
    let (sent, ()) = tokio::join!(sending, opening);
    assert!(sent.iter().all(|verdict| verdict.meaning == Meaning::Sent), "{sent:?}");
    assert_eq!(server.token_requests(), 1);
}

#[tokio::test]
async fn no_more_than_fifty_are_sent_at_once() {
    let server = FcmServer::start().await;
    let (providers, latch) = (providers(&server), Latch::default());
    server.answer_always("phone", taken().after(&latch));
    let sending = join_all((0..120).map(|_| send(&providers, "phone")));
    let opening = async {
        server.server().wait_for_under_way(50).await;
        latch.open();
    };
    let (sent, ()) = tokio::join!(sending, opening);
    assert!(sent.iter().all(|verdict| verdict.meaning == Meaning::Sent), "{sent:?}");
    assert_eq!(server.server().most_under_way(), 50);
    assert_eq!(server.sends().len(), 120);
}

#[tokio::test]
async fn a_service_that_is_silent_is_left_after_ten_seconds_and_not_asked_again() {
    let server = FcmServer::start().await;
    let providers = providers(&server);
    server.answer_always("phone", HttpAnswer::Hang);
    let begun = Instant::now();
    let verdict = send(&providers, "phone").await;
    assert_eq!((verdict.meaning, &*verdict.code), (Meaning::Again(None), "timed_out"));
    assert!((9..15).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(server.sends().len(), 1);
}
