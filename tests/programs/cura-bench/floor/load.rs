//! People who ask and read, each on a connection of their own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::question::Rhythm;
use super::reader::Reader;
use super::tokens::Tokens;

/// When an answer that has not ended counts as failed.
const LIMIT: Duration = Duration::from_secs(60);

/// Somebody who asks.
pub struct Person {
    /// Where the questions go.
    pub path: String,
    /// The access token.
    pub token: String,
}

/// What people saw.
#[derive(Default)]
pub struct Seen {
    /// From each question to its first token, without the AI service's own time; sorted.
    pub first: Vec<Duration>,
    /// From the AI service to the reader, each token that was right; sorted.
    pub late: Vec<Duration>,
    /// Tokens that were lost, doubled, out of order or of another answer.
    pub wrong: usize,
    /// Why answers did not end as they should, and how many.
    pub failures: BTreeMap<String, usize>,
    /// From the first question to the last end.
    pub took: Duration,
}

/// Lets these people ask for `answers` answers each, and read them. Their first questions are spread over the length of an answer.
pub async fn ask(address: &str, people: &[Person], answers: usize, rhythm: Rhythm) -> Seen {
    let begun = Instant::now();
    let length = rhythm.first + rhythm.every * u32::try_from(rhythm.tokens).unwrap();
    let count = u32::try_from(people.len()).unwrap();
    let asked = people.iter().zip(0..).map(|(person, n)| async move {
        sleep(length * n / count).await;
        let (mut seen, mut reader) = (Seen::default(), Reader::of(address));
        for round in 0..answers {
            let mut tokens = Tokens::expect(format!("{n}.{round}"), rhythm.tokens);
            let question = rhythm.question(&format!("{n}.{round}"));
            let asked = Instant::now();
            let hear = |piece: &str| {
                if tokens.heard_nothing() {
                    seen.first.push(asked.elapsed());
                }
                tokens.hear(piece, &mut seen.late);
            };
            let failure = match timeout(LIMIT, reader.read(person, &question, hear)).await {
                Ok(Ok(whole)) if tokens.are(whole.as_deref()) => None,
                Ok(Ok(_)) => Some("the message is not what was streamed".to_owned()),
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("not ended after {} s", LIMIT.as_secs())),
            };
            if let Some(failure) = failure {
                *seen.failures.entry(failure).or_default() += 1;
            }
            seen.wrong += tokens.wrong();
        }
        seen
    });
    let mut all = Seen::default();
    for seen in futures_util::future::join_all(asked).await {
        all.first.extend(seen.first);
        all.late.extend(seen.late);
        all.wrong += seen.wrong;
        for (failure, count) in seen.failures {
            *all.failures.entry(failure).or_default() += count;
        }
    }
    all.took = begun.elapsed();
    for first in &mut all.first {
        *first = first.saturating_sub(rhythm.first);
    }
    all.first.sort();
    all.late.sort();
    all
}
