//! Failover: the next backend answers when one fails, and a circuit breaker pauses one that keeps failing.

use std::time::Duration;

use cura_domain::message::FinishReason;
use cura_domain::{ModelRef, UserId};
use cura_providers::ai::{Ai, Call, Continuation, DemoConfig, OpenAiConfig, Timeouts};
use cura_tests::completion::{
    IMPATIENT, TIMEOUTS, anthropic, complete, complete_for, continuing, new_request_key, openai, permitted, prompt,
};
use cura_tests::provider::anthropic::answer as anthropic_answer;
use cura_tests::provider::{Latch, Request, answer, chunk, refusal};
use cura_tests::{Cura, ScriptedProvider, Step, eventually};
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::json;

const BY_FALLBACK: (&str, &str) = ("anthropic", "some-claude");

/// A first backend that does this, and a fallback that says "Here I am".
async fn pair(steps: Vec<Step>) -> (ScriptedProvider, ScriptedProvider, Ai) {
    pair_with(steps, TIMEOUTS).await
}

/// The same with short timeouts for the first backend.
async fn impatient_pair(steps: Vec<Step>) -> (ScriptedProvider, ScriptedProvider, Ai) {
    let hangs = matches!(steps.last(), Some(Step::Hang));
    pair_with(steps, if hangs { IMPATIENT } else { TIMEOUTS }).await
}

async fn pair_with(steps: Vec<Step>, timeouts: Timeouts) -> (ScriptedProvider, ScriptedProvider, Ai) {
    let first = ScriptedProvider::start(move |_, _: &Request| steps.clone()).await;
    let fallback = ScriptedProvider::start(|_, _: &Request| anthropic_answer(&["Here", " I am"], Duration::ZERO)).await;
    let config = OpenAiConfig {
        timeouts,
        ..openai(&first.url())
    };
    let ai = Ai::openai(config)
        .unwrap()
        .with_fallback(Ai::anthropic(anthropic(&fallback.url())).unwrap());
    (first, fallback, ai)
}

fn down() -> Vec<Step> {
    refusal("500 Internal Server Error", "", &json!({}))
}

#[tokio::test]
async fn whatever_fails_before_the_first_word_is_not_noticed() {
    for steps in [
        down(),
        refusal("401 Unauthorized", "", &json!({})),
        refusal("429 Too Many Requests", "Retry-After: 9\r\n", &json!({})),
        refusal("404 Not Found", "", &json!({})),
        vec![Step::Cut],
        vec![Step::Head, Step::Cut],
        vec![Step::Head, Step::End],
        vec![Step::Head, Step::Hang],
        vec![Step::Head, Step::Write("data: junk\n\n".to_owned()), Step::Hang],
        vec![Step::Hang],
    ] {
        let (first, fallback, ai) = impatient_pair(steps.clone()).await;
        assert_eq!(ai.primary_model(), &ModelRef::new("custom", "some-model"));
        let completed = complete(&ai, prompt()).await;
        completed.end.unwrap();
        assert_eq!(completed.text, "Here I am", "{steps:?}");
        let ModelRef { provider, model } = completed.model.unwrap();
        assert_eq!((&*provider, &*model), BY_FALLBACK);
        assert_eq!((first.requests().len(), fallback.requests().len()), (1, 1), "{steps:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_is_not_noticed() {
    let fallback = ScriptedProvider::answering(&["Here", " I am"], Duration::ZERO).await;
    let unreachable = format!("http://127.0.0.1:{}", cura_tests::redis::free_port());
    let ai = Ai::anthropic(anthropic(&unreachable))
        .unwrap()
        .with_fallback(Ai::openai(openai(&fallback.url())).unwrap());
    let completed = complete(&ai, prompt()).await;
    assert_eq!(
        (completed.text.as_str(), &*completed.model.unwrap().provider),
        ("Here I am", "custom")
    );
    ai.probe().await.unwrap();
}

#[tokio::test]
async fn a_server_without_a_list_of_models_is_there() {
    for (status, is_there) in [
        ("404 Not Found", true),
        ("405 Method Not Allowed", true),
        ("501 Not Implemented", true),
        ("502 Bad Gateway", false),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ai = Ai::openai(openai(&format!("http://{}", listener.local_addr().unwrap()))).unwrap();
        let answer = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            tokio::io::AsyncReadExt::read(&mut socket, &mut [0; 4096])
                .await
                .unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut socket, head.as_bytes())
                .await
                .unwrap();
        };
        let ((), probed) = tokio::join!(answer, ai.probe());
        assert_eq!(probed.is_ok(), is_there, "{status}");
    }
}

#[tokio::test]
async fn after_the_first_word_no_fallback_is_asked() {
    for end in [Step::Cut, Step::Hang] {
        let (_first, fallback, ai) = impatient_pair(vec![Step::Head, Step::Write(chunk("I am ")), end]).await;
        let completed = complete(&ai, prompt()).await;
        assert_eq!(
            (completed.text.as_str(), &*completed.model.unwrap().provider),
            ("I am ", "custom")
        );
        assert!(!completed.end.unwrap_err().before_first_byte());
        assert!(fallback.requests().is_empty());
    }
}

#[tokio::test]
async fn when_all_fail_the_failure_that_passes_soonest_is_returned() {
    let limited = |after: &str| {
        refusal(
            "429 Too Many Requests",
            &format!("Retry-After: {after}\r\n"),
            &json!({}),
        )
    };
    let unauthorized = refusal("401 Unauthorized", "", &json!({}));
    for (first, second, code, after) in [
        (limited("9"), limited("3"), "provider_rate_limited", Some(3)),
        (unauthorized.clone(), limited("3"), "provider_rate_limited", Some(3)),
        (
            unauthorized,
            refusal("404 Not Found", "", &json!({})),
            "provider_unauthorized",
            None,
        ),
    ] {
        let one = ScriptedProvider::start(move |_, _: &Request| first.clone()).await;
        let two = ScriptedProvider::start(move |_, _: &Request| second.clone()).await;
        let ai = Ai::openai(openai(&one.url()))
            .unwrap()
            .with_fallback(Ai::openai(openai(&two.url())).unwrap());
        let error = complete(&ai, prompt()).await.end.unwrap_err();
        assert_eq!(
            (error.code(), error.retry_after()),
            (code, after.map(Duration::from_secs))
        );
    }
}

#[tokio::test]
async fn failures_of_two_persons_and_of_a_trial_open_the_circuit_breaker_and_another_trial_closes_it() {
    let works = Latch::default();
    let provider = {
        let works = works.clone();
        ScriptedProvider::start(move |_, _: &Request| {
            if works.is_open() {
                answer(&["back"], Duration::ZERO)
            } else {
                down()
            }
        })
        .await
    };
    let ai = Ai::openai(openai(&provider.url())).unwrap();
    for _ in 0..2 {
        assert_eq!(ai.check(None), Ok(()));
        complete(&ai, prompt()).await.end.unwrap_err();
    }
    let wait = eventually("a trial fails", async || ai.check(None).err())
        .await
        .retry_after;
    assert!(wait <= Duration::from_secs(5), "{wait:?}");
    let error = complete(&ai, prompt()).await.end.unwrap_err();
    assert_eq!(error.code(), "provider_unavailable");
    assert!(error.retry_after().unwrap() <= wait);
    assert_eq!(
        (provider.requests().len(), provider.trials()),
        (2, 1),
        "it is left alone"
    );
    works.open();
    eventually("another trial is sent when somebody asks", async || ai.check(None).ok()).await;
    assert_eq!((provider.requests().len(), provider.trials()), (2, 2));
    assert_eq!(complete(&ai, prompt()).await.text, "back");
}

#[tokio::test]
async fn while_one_is_left_alone_the_other_answers_at_once() {
    let (first, fallback, ai) = pair(refusal("401 Unauthorized", "", &json!({}))).await;
    assert_eq!(complete(&ai, prompt()).await.text, "Here I am");
    eventually("a trial confirms it", async || ai.holds_anybody().then_some(())).await;
    for _ in 0..2 {
        assert_eq!(complete(&ai, prompt()).await.text, "Here I am");
    }
    assert_eq!((first.requests().len(), fallback.requests().len()), (1, 3));
    assert_eq!(ai.check(None), Ok(()), "the fallback may be asked");
}

#[tokio::test]
async fn a_backend_that_keeps_breaking_off_in_the_middle_is_not_asked_again_for_that_person() {
    let first = ScriptedProvider::start(|_, asked: &Request| {
        if asked.body.to_string().contains("Are you there?") {
            return answer(&["Yes"], Duration::ZERO);
        }
        vec![Step::Head, Step::Write(chunk("I am ")), Step::Cut]
    })
    .await;
    let fallback = ScriptedProvider::start(|_, _: &Request| anthropic_answer(&["Here", " I am"], Duration::ZERO)).await;
    let ai = Ai::openai(openai(&first.url()))
        .unwrap()
        .with_fallback(Ai::anthropic(anthropic(&fallback.url())).unwrap());
    let person = UserId(1);
    for _ in 0..5 {
        assert_eq!(complete_for(person, &ai, prompt()).await.text, "I am ");
    }
    assert_eq!(complete_for(person, &ai, prompt()).await.text, "Here I am");
    assert_eq!((first.requests().len(), fallback.requests().len()), (5, 1));
    assert_eq!(
        complete(&ai, prompt()).await.text,
        "I am ",
        "its trial is answered, so it is asked for others"
    );
}

#[tokio::test]
async fn giving_up_closes_the_connection_to_the_provider() {
    let (first, fallback, ai) = pair(vec![Step::Head, Step::Hang]).await;
    let gave_up = tokio::time::timeout(
        Duration::from_millis(200),
        ai.open_completion(&Call::new(new_request_key(), permitted()), prompt()),
    )
    .await;
    assert!(gave_up.is_err());
    first.wait_for_disconnect().await;
    assert!(fallback.requests().is_empty());
    let (first, _fallback, ai) = pair(vec![Step::Head, Step::Write(chunk("I am ")), Step::Hang]).await;
    let mut pieces = ai
        .open_completion(&Call::new(new_request_key(), permitted()), prompt())
        .await
        .unwrap()
        .events;
    pieces.next().await.unwrap().unwrap();
    assert_eq!(first.open_connections(), 1);
    drop(pieces);
    first.wait_for_disconnect().await;
}

#[tokio::test]
async fn an_answer_continues_with_another_backend_without_repeating_itself() {
    let first = ScriptedProvider::start(|_, _: &Request| down()).await;
    let fallback = ScriptedProvider::answering(&["Hello", " wor", "ld!"], Duration::ZERO).await;
    let ai = Ai::openai(openai(&first.url()))
        .unwrap()
        .with_fallback(Ai::openai(openai(&fallback.url())).unwrap());
    let completed = complete(&ai, continuing("Hello wo")).await;
    completed.end.unwrap();
    assert_eq!(completed.text, "rld!");
    let asked = fallback.requests();
    let messages = asked[0].body["messages"].as_array().unwrap();
    assert_eq!(messages[1], json!({ "role": "assistant", "content": "Hello wo" }));
    assert_eq!((messages.len(), &messages[2]["role"]), (3, &json!("user")));
}

#[tokio::test]
async fn a_backend_that_cannot_continue_is_skipped() {
    let off = |url: &str| {
        Ai::openai(OpenAiConfig {
            continuation: Continuation::Off,
            ..openai(url)
        })
        .unwrap()
    };
    let (first, fallback, _) = pair(answer(&["x"], Duration::ZERO)).await;
    let ai = off(&first.url()).with_fallback(Ai::anthropic(anthropic(&fallback.url())).unwrap());
    assert!(ai.can_continue());
    assert_eq!(
        complete(&ai, continuing("I say: ")).await.model.unwrap().provider,
        "anthropic"
    );
    assert!(first.requests().is_empty());
    assert!(!off(&first.url()).can_continue());
}

#[tokio::test]
async fn the_demo_provider_says_that_it_is_one() {
    let completed = complete(&Ai::demo(), prompt()).await;
    let text = completed.text;
    assert!(text.contains("demo") && text.contains("AI_MODEL_URL"), "{text}");
    assert_eq!(completed.end.unwrap().0, FinishReason::Stop);
    assert_eq!(Ai::demo().primary_model().provider, "demo");
    Ai::demo().probe().await.unwrap();
}

#[tokio::test]
async fn the_demo_provider_continues_its_own_words_only() {
    let ai = Ai::demo_with(DemoConfig {
        word_delay: Duration::ZERO,
    });
    let whole = complete(&ai, prompt()).await.text;
    let (written, rest) = whole.split_at(31);
    assert_eq!(complete(&ai, continuing(written)).await.text, rest);
    assert_eq!(complete(&ai, continuing(&whole)).await.text, "");
    assert_eq!(
        complete(&ai, continuing("Something else"))
            .await
            .end
            .unwrap_err()
            .code(),
        "provider_refused"
    );
    assert_eq!(ai.check(None), Ok(()));
}

#[tokio::test]
async fn a_message_says_which_service_answered_it_and_operators_hear_of_the_other_once() {
    let first = ScriptedProvider::start(|_, _: &Request| refusal("401 Unauthorized", "", &json!({}))).await;
    let fallback = ScriptedProvider::start(|_, _: &Request| anthropic_answer(&["Here", " I am"], Duration::ZERO)).await;
    let cura = Cura::builder()
        .with_provider(&first)
        .with("AI_FALLBACK_URL", fallback.url())
        .with("AI_FALLBACK_PROVIDER", "anthropic")
        .start()
        .await;
    let user = cura.user().await;
    for _ in 0..2 {
        let request = user.request(Method::POST, "/chat/send");
        let sent = user.send(request.json(&json!({ "content": "Hi" }))).await;
        let message = &sent.body["assistant_message"];
        assert_eq!(message["content"], "Here I am", "{}", sent.body);
        assert_eq!(message["metadata"]["provider"], "anthropic");
        assert_eq!(message["metadata"]["model"], "claude-scripted");
    }
    assert_eq!(fallback.requests()[0].body["model"], "claude-sonnet-4-5");
    cura.workers[0]
        .wait_for_log("rejects our key, account or settings")
        .await;
    let said = cura.logs();
    assert_eq!(
        said.matches("rejects our key, account or settings").count(),
        1,
        "{said}"
    );
}
