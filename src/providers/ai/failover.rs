//! Who is asked, and who instead: every voice behind its gate, in order, until one begins to answer.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use tokio::time::Instant;

use super::backend::Voice;
use super::circuit_breaker::{Gate, Pass};
use super::{AiError, AnswerStream, Asker, Call, Failure, Piece, Prompt, Speaking};

/// A voice and its gate; the demo voice has none.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) voice: Voice,
    gate: Option<Gate>,
}

impl Link {
    pub(crate) fn new(voice: Voice) -> Self {
        let gate = match &voice {
            Voice::Demo(_) => None,
            voice => Some(Gate::new(voice.provider())),
        };
        Self { voice, gate }
    }

    /// Whether `asker` may ask this voice, or how long it has to wait.
    pub(crate) fn admit(&self, asker: Asker) -> Result<(), Duration> {
        self.gate
            .as_ref()
            .map_or(Ok(()), |gate| gate.admit(asker, Instant::now()))
    }

    /// Whether waiting does not help, because somebody has to repair something.
    pub(crate) fn is_broken(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.broken().is_some())
    }

    /// Asks and waits for the first piece.
    async fn ask(&self, call: &Call, prompt: &Prompt) -> Result<Speaking, AiError> {
        let enter = |gate: &Gate| {
            gate.enter(call.asker(), Instant::now()).map_err(|wait| {
                gate.broken()
                    .map_or(closed(wait), |failure| AiError::new(failure, true))
            })
        };
        let pass = self.gate.as_ref().map(enter).transpose()?;
        let begun = match self.voice.ask(call, prompt).await {
            Ok(mut pieces) => {
                call.accept(self.voice.provider(), self.voice.model());
                match pieces.next().await {
                    Some(first) => first.map(|first| (first, pieces)),
                    None => Err(AiError::new(Failure::Protocol("an answer without an end"), true)),
                }
            }
            Err(error) => Err(error),
        };
        match begun {
            Ok((first, pieces)) => Ok(Speaking {
                pieces: watched(first, pieces, pass),
                provider: self.voice.provider(),
                model: self.voice.model().to_owned(),
            }),
            Err(error) => {
                if let Some(pass) = pass {
                    pass.failed(&error, Instant::now());
                }
                Err(error)
            }
        }
    }
}

/// The first voice that begins to answer. Nothing that failed before can be seen by readers.
pub(crate) async fn ask<'a>(
    links: impl Iterator<Item = &'a Link>,
    call: &Call,
    prompt: &Prompt,
) -> Result<Speaking, AiError> {
    let mut worst: Option<AiError> = None;
    for link in links {
        if !prompt.written.is_empty() && !link.voice.can_continue() {
            continue;
        }
        match link.ask(call, prompt).await {
            Ok(speaking) => return Ok(speaking),
            // The caller shortens the prompt and asks again.
            Err(error)
                if matches!(error.failure(), Failure::ContextTooLong)
                    && !worst.as_ref().is_some_and(AiError::retryable) =>
            {
                return Err(error);
            }
            Err(error) => worst = Some(worst.map_or(error.clone(), |worst| more_useful(worst, error))),
        }
    }
    // Nobody can go on with an answer.
    Err(worst.unwrap_or(AiError::new(Failure::Refused { status: None }, true)))
}

/// What to report of two failures: one that may pass, and of two such the one that may pass sooner.
fn more_useful(earlier: AiError, later: AiError) -> AiError {
    let wait = |error: &AiError| error.retryable().then(|| error.retry_after().unwrap_or_default());
    match (wait(&earlier), wait(&later)) {
        (None, Some(_)) => later,
        (Some(of_earlier), Some(of_later)) if of_later < of_earlier => later,
        _ => earlier,
    }
}

/// What a gate that lets nobody through means to the caller.
fn closed(wait: Duration) -> AiError {
    AiError::new(Failure::Resting { wait }, true)
}

struct Watched {
    first: Option<Piece>,
    pieces: AnswerStream,
    pass: Option<Pass>,
}

/// `first`, then the other pieces; tells the gate how the answer ends.
fn watched(first: Piece, pieces: AnswerStream, mut pass: Option<Pass>) -> AnswerStream {
    if let Some(pass) = &mut pass {
        pass.begun();
    }
    if matches!(first, Piece::Finished { .. })
        && let Some(pass) = pass.take()
    {
        pass.succeeded();
    }
    let watched = Watched {
        first: Some(first),
        pieces,
        pass,
    };
    AnswerStream::new(stream::unfold(watched, |mut watched| async move {
        if let Some(first) = watched.first.take() {
            return Some((Ok(first), watched));
        }
        let piece = watched.pieces.next().await?;
        match (&piece, watched.pass.take()) {
            (Ok(Piece::Text(_)), pass) => watched.pass = pass,
            (Ok(Piece::Finished { .. }), Some(pass)) => pass.succeeded(),
            (Err(error), Some(pass)) => pass.failed(error, Instant::now()),
            (_, None) => {}
        }
        Some((piece, watched))
    }))
}

#[cfg(test)]
mod tests {
    use cura_domain::MessageId;

    use super::*;

    fn limited(seconds: Option<u64>) -> AiError {
        let retry_after = seconds.map(Duration::from_secs);
        AiError::new(Failure::RateLimited { retry_after }, true)
    }

    #[test]
    fn the_failure_that_passes_soonest_is_reported() {
        let refused = AiError::new(Failure::Refused { status: Some(404) }, true);
        let quota = AiError::new(Failure::QuotaExhausted, true);
        assert_eq!(more_useful(quota.clone(), refused.clone()), quota);
        assert_eq!(more_useful(refused, limited(Some(9))), limited(Some(9)));
        assert_eq!(more_useful(limited(Some(9)), limited(Some(2))), limited(Some(2)));
        assert_eq!(more_useful(limited(Some(9)), limited(None)), limited(None));
        assert_eq!(more_useful(limited(Some(9)), quota), limited(Some(9)));
    }

    #[tokio::test]
    async fn who_cannot_go_on_is_not_asked_to() {
        let prompt = Prompt {
            messages: Vec::new(),
            max_output_tokens: None,
            written: "x".to_owned(),
        };
        let error = ask(std::iter::empty(), &Call::new(Asker::Answer(MessageId(1))), &prompt)
            .await
            .unwrap_err();
        assert_eq!(error.failure(), &Failure::Refused { status: None });
    }
}
