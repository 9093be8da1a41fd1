//! A question says how it is to be answered, so one AI service serves all profiles and needs to know nothing of who relays it.

use std::time::Duration;

use cura_tests::provider::{answer, finish};
use cura_tests::{ScriptedProvider, Step};

/// How an answer comes.
#[derive(Clone, Copy)]
pub struct Rhythm {
    /// How many tokens it has.
    pub tokens: usize,
    /// The time from the request to the first.
    pub first: Duration,
    /// The time between two.
    pub every: Duration,
}

impl Rhythm {
    /// The question for an answer in this rhythm, each of whose tokens carries `label`, a word.
    pub fn question(self, label: &str) -> String {
        let Self { tokens, first, every } = self;
        format!("{tokens} {} {} {label}", first.as_millis(), every.as_millis())
    }
}

/// A service that answers such questions. A token is `label:number:sent`, the time as in [`cura_tests::provider::now`].
pub async fn provider() -> ScriptedProvider {
    ScriptedProvider::start(|_, request| {
        let question = request.body["messages"].as_array().and_then(|messages| messages.last());
        let question = question.and_then(|question| question["content"].as_str());
        // Cura asks on its own behalf, too, whether the service is there.
        question
            .and_then(steps)
            .unwrap_or_else(|| answer(&["Yes."], Duration::ZERO))
    })
    .await
}

fn steps(question: &str) -> Option<Vec<Step>> {
    let parts: Vec<&str> = question.split(' ').collect();
    let [tokens, first, every, label] = parts[..] else {
        return None;
    };
    let milliseconds = |text: &str| text.parse().ok().map(Duration::from_millis);
    let (tokens, first, every) = (tokens.parse().ok()?, milliseconds(first)?, milliseconds(every)?);
    let mut steps = vec![Step::Head, Step::Pause(first)];
    for number in 0..tokens {
        steps.push(Step::Stamp(format!("{label}:{number}:")));
        steps.push(Step::Pause(every));
    }
    // After the last token comes the end.
    steps.pop();
    steps.extend(finish(tokens));
    Some(steps)
}
