//! Refusals within an answer, which was paid for.

use cura_domain::UserId;
use cura_providers::ai::Ai;
use cura_tests::ScriptedProvider;
use cura_tests::completion::{complete, complete_for, prompt};
use cura_tests::provider::{self, Request, Step};
use serde_json::{Value, json};

use super::{custom, long_prompt, ok, refused, with_room_for};

/// How a refusal may come once a request was accepted: as the whole body, or as the first event.
fn refused_within(error: &Value) -> [Vec<Step>; 2] {
    let body = json!({ "error": error });
    let event = vec![Step::Head, Step::Write(provider::event(&body)), Step::End];
    [refused("200 OK", &body), event]
}

#[tokio::test]
async fn a_prompt_that_is_refused_within_an_answer_is_sent_once_more_with_less_of_it() {
    for error in [
        json!({"message": "Bad things", "code": 400}),
        json!({"message": "Bad things", "code": "422"}),
        json!({"code": "context_length_exceeded"}),
    ] {
        for steps in refused_within(&error) {
            let provider = with_room_for(3000, steps).await;
            let ai = Ai::openai(custom(&provider)).unwrap();
            for (person, requests) in [(1, 2), (1, 3)] {
                let completed = complete_for(UserId(person), &ai, long_prompt(20, 500)).await;
                assert_eq!(completed.text, "ok", "{error}: {:?}", completed.end);
                assert_eq!(provider.requests().len(), requests, "{error}");
            }
            assert_eq!(ai.max_prompt_tokens(Some(UserId(2))), None, "{error}");
        }
    }
}

#[tokio::test]
async fn a_refusal_that_was_paid_for_twice_shortens_the_next_prompt() {
    for steps in refused_within(&json!({"message": "Bad things", "code": 400})) {
        let provider = with_room_for(3000, steps).await;
        let ai = Ai::openai(custom(&provider)).unwrap();
        let completed = complete_for(UserId(1), &ai, long_prompt(80, 500)).await;
        assert_eq!(completed.end.unwrap_err().code(), "provider_refused");
        assert_eq!(provider.requests().len(), 2, "paid for once more, and no more");
        let next = complete_for(UserId(1), &ai, long_prompt(80, 500)).await;
        assert_eq!(next.text, "ok");
    }
}

#[tokio::test]
async fn a_parameter_that_is_refused_within_an_answer_is_left_out_of_all() {
    for steps in refused_within(&json!({"message": "x", "param": "stream_options", "code": 400})) {
        let provider = ScriptedProvider::start(move |_, asked: &Request| match asked.body.get("stream_options") {
            Some(_) => steps.clone(),
            None => ok(),
        })
        .await;
        let ai = Ai::openai(custom(&provider)).unwrap();
        for person in 0..3 {
            assert_eq!(complete_for(UserId(person), &ai, prompt()).await.text, "ok");
        }
        assert_eq!(provider.requests().len(), 4, "one refusal for all persons");
    }
}

#[tokio::test]
async fn words_within_an_answer_that_a_person_may_have_said_turn_off_nothing() {
    for steps in refused_within(&json!({"message": "Blocked: stream_options is not supported", "code": 400})) {
        let provider = ScriptedProvider::start(move |_, _: &Request| steps.clone()).await;
        let ai = Ai::openai(custom(&provider)).unwrap();
        let completed = complete(&ai, prompt()).await;
        assert_eq!(completed.end.unwrap_err().code(), "provider_refused");
        assert_eq!(provider.requests().len(), 1);
    }
}
