//! The prompt: who Cura is, who the user is, and as much of this conversation as the budget allows.

use std::time::Duration;

use cura_tests::provider::{answer, event, refusal};
use cura_tests::{Cura, Program, ScriptedProvider, Step, eventually};
use reqwest::Method;
use serde_json::{Value, json};

/// The messages of the request with this number: role and content.
fn prompt(provider: &ScriptedProvider, number: usize) -> Vec<(String, String)> {
    let asked = provider.requests();
    asked[number].body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            let text = |field: &str| message[field].as_str().unwrap().to_owned();
            (text("role"), text("content"))
        })
        .collect()
}

/// A file with this in it, which goes with the test.
fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

#[tokio::test]
async fn the_prompt_says_who_cura_is_and_who_the_user_is() {
    let provider = ScriptedProvider::answering(&["Servus"], Duration::ZERO).await;
    let persona = file("You are a lighthouse keeper.\n");
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_PERSONA_FILE", persona.path().to_str().unwrap())
        .start()
        .await;
    let user = cura.user().await;
    let profile = json!({ "name": "Ann", "language": "de-AT", "timezone": "Europe/Vienna" });
    let request = user.request(Method::PATCH, "/users/me").json(&profile);
    assert_eq!(user.send(request).await.status, 200);
    user.send_message(&Value::Null, "Hi").await;
    let prompt = prompt(&provider, 0);
    let (role, system) = &prompt[0];
    assert_eq!(role, "system");
    assert!(system.starts_with("You are a lighthouse keeper.\n\n"), "{system}");
    for known in ["\"Ann\"", "de-AT", "(Europe/Vienna)"] {
        assert!(system.contains(known), "{known} is not in {system}");
    }
    assert_eq!(prompt[1], ("user".to_owned(), "Hi".to_owned()));
    assert!(
        !system.contains("example.com"),
        "the email address is not in the prompt"
    );
}

#[tokio::test]
async fn the_prompt_never_holds_another_conversation_or_a_failed_answer() {
    let provider = ScriptedProvider::start(|number, _| match number {
        1 => refusal(
            "400 Bad Request",
            "",
            &json!({ "error": { "message": "a secret of the provider" } }),
        ),
        _ => answer(&["fine"], Duration::ZERO),
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    user.send_message(&Value::Null, "elsewhere").await;
    let failed = user.send_message(&Value::Null, "first").await;
    assert_eq!(failed["assistant_message"]["status"], "error");
    assert!(!failed.to_string().contains("a secret of the provider"));
    user.send_message(&failed["conversation_id"], "second").await;
    let last = prompt(&provider, 2);
    assert_eq!(last.len(), 2);
    assert_eq!(
        last[1].1, "first\n\nsecond",
        "what was asked stays, what failed does not"
    );
}

#[tokio::test]
async fn a_past_that_grows_long_is_put_in_short_instead_of_cut() {
    let summary = "They are called Ann and sleep badly.";
    let provider = ScriptedProvider::start(move |_, asked| {
        if asked.body.to_string().contains("Summarise the conversation") {
            return answer(&[summary], Duration::ZERO);
        }
        answer(&[&"so it is. ".repeat(30)], Duration::ZERO)
    })
    .await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_MODEL_PROVIDER", "custom")
        .with("AI_CONTEXT_TOKENS", "1200")
        .start()
        .await;
    let user = cura.user().await;
    let first = user
        .send_message(&Value::Null, &format!("turn 0 {}", "I cannot sleep. ".repeat(30)))
        .await;
    let summaries = "SELECT count(*) FROM summaries";
    for turn in 1..12 {
        user.send_message(
            &first["conversation_id"],
            &format!("turn {turn} {}", "I cannot sleep. ".repeat(30)),
        )
        .await;
        if cura
            .database
            .count("SELECT count(*) FROM apalis.jobs WHERE job_type = 'summarize-conversation'")
            .await
            > 0
        {
            break;
        }
    }
    eventually("the past is put in short", async || {
        (cura.database.count(summaries).await > 0).then_some(())
    })
    .await;
    let asked = provider.requests().len();
    user.send_message(&first["conversation_id"], "and now?").await;
    let last = prompt(&provider, asked);
    assert!(last[0].1.ends_with(summary), "{}", last[0].1);
    let everything = last.iter().map(|(_, content)| content.as_str()).collect::<String>();
    assert!(
        !everything.contains("turn 0"),
        "summarized turns are not in the prompt twice"
    );
    assert!(last.len() > 2, "the last turns are in the prompt in full");
    assert_eq!(last.last().unwrap().1, "and now?");
    let (bytes, tokens) = (everything.len(), 1200);
    assert!(bytes / 4 <= tokens, "{bytes} bytes are no {tokens} tokens");
}

/// How servers say that a prompt is too long, and how one might whose words nobody knows.
fn refusals_of_length() -> Vec<Vec<Step>> {
    let in_stream = "Trying to keep the first 5000 tokens when context the overflows.";
    vec![
        refusal(
            "400 Bad Request",
            "",
            &json!({ "error": { "code": "context_length_exceeded" } }),
        ),
        refusal("400 Bad Request", "", &json!({ "error": "Zu lang!" })),
        refusal("413 Content Too Large", "", &json!({})),
        vec![
            Step::Head,
            Step::Write(event(&json!({ "error": { "message": in_stream } }))),
            Step::End,
        ],
    ]
}

#[tokio::test]
async fn a_conversation_that_has_outgrown_the_model_goes_on() {
    for steps in refusals_of_length() {
        let refused = steps.clone();
        let provider = ScriptedProvider::start(move |_, asked| {
            if asked.body["messages"].to_string().len() > 9_000 {
                return refused.clone();
            }
            answer(&["ok"], Duration::ZERO)
        })
        .await;
        let cura = Cura::builder()
            .with_provider(&provider)
            .with("AI_TITLES", "false")
            .start()
            .await;
        let user = cura.user().await;
        let mut conversation = Value::Null;
        for turn in 0..9 {
            let sent = user
                .send_message(&conversation, &format!("{turn} {}", "word ".repeat(700)))
                .await;
            assert_eq!(sent["assistant_message"]["content"], "ok", "turn {turn}: {steps:?}");
            conversation = sent["conversation_id"].clone();
        }
        for question in ["and now?", "and then?"] {
            let sent = user.send_message(&conversation, question).await;
            assert_eq!(sent["assistant_message"]["content"], "ok", "{question}: {steps:?}");
            assert_eq!(sent["assistant_message"]["status"], "sent");
        }
        cura.check_invariants().await;
    }
}

#[tokio::test]
async fn what_a_model_with_little_room_leaves_out_is_summarized_in_parts_that_fit() {
    let provider = ScriptedProvider::start(move |_, asked| {
        if asked.body["messages"].to_string().len() > 9_000 {
            return refusal("400 Bad Request", "", &json!({ "error": "Zu lang!" }));
        }
        if asked.body.to_string().contains("Summarise the conversation") {
            return answer(&["They sleep badly."], Duration::ZERO);
        }
        answer(&["so it is"], Duration::ZERO)
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut conversation = Value::Null;
    for turn in 0..6 {
        let sent = user
            .send_message(&conversation, &format!("{turn} {}", "I cannot sleep. ".repeat(150)))
            .await;
        assert_eq!(sent["assistant_message"]["content"], "so it is", "turn {turn}");
        conversation = sent["conversation_id"].clone();
    }
    eventually("the past is put in short", async || {
        (cura.database.count("SELECT count(*) FROM summaries").await > 0).then_some(())
    })
    .await;
    user.send_message(&conversation, "and now?").await;
    let last = provider
        .requests()
        .into_iter()
        .rev()
        .find(|asked| asked.body.to_string().contains("and now?"));
    assert!(last.unwrap().body.to_string().contains("They sleep badly."));
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_prompt_whose_last_message_alone_is_too_long_fails_with_that_name() {
    let provider = ScriptedProvider::start(|_, asked| {
        if asked.body.to_string().len() > 8_000 {
            let error = json!({ "error": { "code": "context_length_exceeded", "message": "too long" } });
            return refusal("400 Bad Request", "", &error);
        }
        answer(&["ok"], Duration::ZERO)
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut conversation = Value::Null;
    for turn in 0..4 {
        let sent = user
            .send_message(&conversation, &format!("{turn} {}", "word ".repeat(600)))
            .await;
        assert_eq!(sent["assistant_message"]["content"], "ok", "turn {turn}");
        conversation = sent["conversation_id"].clone();
    }
    let hopeless = user.send_message(&conversation, &"word ".repeat(1900)).await;
    assert_eq!(hopeless["assistant_message"]["status"], "error");
    assert_eq!(hopeless["assistant_message"]["metadata"]["error"], "context_too_long");
}

#[tokio::test]
async fn the_model_finds_a_title_and_never_replaces_a_persons() {
    let provider = ScriptedProvider::start(|_, asked| {
        if asked.body.to_string().contains("Give the conversation below a title") {
            answer(&["\"Trouble ", "sleeping.\"\n"], Duration::ZERO)
        } else {
            answer(&["That is hard."], Duration::ZERO)
        }
    })
    .await;
    let mut cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_TITLES", "true")
        .workers(0)
        .start()
        .await;
    let user = cura.user().await;
    let title =
        async |conversation: &Value| user.get(&format!("/conversations/{conversation}")).await.body["title"].clone();
    let said = json!({ "content": "I cannot sleep at all" });
    let first = user.send_without_waiting(&said).await.body["conversation_id"].clone();
    assert_eq!(title(&first).await, "I cannot sleep at all", "a cut until then");
    cura.add_worker().await;
    let mine = user.send_message(&Value::Null, "I cannot sleep at all").await["conversation_id"].clone();
    let request = user.request(Method::PATCH, &format!("/conversations/{mine}"));
    user.send(request.json(&json!({ "title": "My nights" }))).await;
    eventually("the model has found a title", async || {
        (title(&first).await == "Trouble sleeping").then_some(())
    })
    .await;
    eventually("both jobs are done", async || {
        let done = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'title-conversation' AND status = 'Done'";
        (cura.database.count(done).await == 2).then_some(())
    })
    .await;
    assert_eq!(title(&mine).await, "My nights");
    let answers = cura
        .database
        .count("SELECT sum(messages)::bigint FROM usage_days")
        .await;
    assert_eq!(answers, 2, "a title is no answer");
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_persona_that_cannot_be_read_stops_the_worker_with_its_name() {
    let cura = Cura::without_workers().await;
    let variables = [("AI_PERSONA_FILE", "/nowhere/persona.txt".to_owned())];
    let mut worker = Program::start("cura-worker", &["--wait", "20"], &cura.variables_with(&variables));
    assert_eq!(worker.ended().await, Some(1));
    let said = worker.logs();
    assert!(
        said.contains("AI_PERSONA_FILE names a file that cannot be read"),
        "{said}"
    );
}
