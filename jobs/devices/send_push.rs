//! Pushes an answer that has ended to the devices of its person, unless somebody watches or has read it.
//!
//! May run twice, even at once: what was decided stays, and each send is claimed before it is made.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cura_domain::MessageId;
use cura_domain::push_decision::{LAST_LOOK_AFTER, PushStep, UnwatchedStep};
use cura_domain::push_log::{PushDecision, PushKind};
use cura_domain::push_text::{AnswerOutcome, MAX_EXCERPT_CHARS, cut, excerpt, one_line};
use cura_providers::push::{Banner, Push};
use cura_queue::{JobError, Run, SendPush};
use cura_store::pushes::{self, Decided, Logged, Pushable};

use super::deliver::{Delivery, deliver};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

pub(crate) async fn run(context: Arc<JobContext>, job: SendPush, run: Run) -> Result<(), JobError> {
    let message = MessageId(job.message_id);
    let kinds = context.push.services.kinds();
    let now = context.clock.now_micros();
    let found = context
        .database
        .connection(async |connection| pushes::find(connection, message, &kinds, now).await);
    let Some(answer) = found.await.map_err(snooze_if_unavailable)? else {
        tracing::info!(message_id = %message, "nothing to push: the answer is deleted");
        return Ok(());
    };
    let is_unwatched = match answer.facts.next_step(now) {
        PushStep::Decided(decision) => return end(&context, message, &answer, decision, now).await,
        PushStep::Look => {
            if context.live.look_at_end(answer.owner.user(), message).await {
                return Err(JobError::Snooze {
                    after: LAST_LOOK_AFTER.to_std().unwrap_or_default(),
                    reason: "somebody watches; looking once more".to_owned(),
                });
            }
            true
        }
        PushStep::LastLook => {
            let look = context.live.last_look(answer.owner.user(), message).await;
            !(look.is_watched || look.closed_in_order)
        }
    };
    if !is_unwatched {
        return end(&context, message, &answer, PushDecision::Watched, now).await;
    }
    match answer.facts.unwatched_step(now) {
        UnwatchedStep::Push => push(&context, &run, message, &answer, now).await,
        UnwatchedStep::Decided(decision) => end(&context, message, &answer, decision, now).await,
        UnwatchedStep::WaitUntil(end) => {
            decide(&context, message, &answer, PushDecision::Quiet, Some(end), now).await?;
            Err(JobError::Snooze {
                after: (end - now).to_std().unwrap_or_default(),
                reason: "the person's quiet hours".to_owned(),
            })
        }
    }
}

/// Ends it without a push, or without a further one: what was sent to some devices stays pushed in the log.
async fn end(
    context: &JobContext,
    message: MessageId,
    answer: &Pushable,
    decision: PushDecision,
    now: DateTime<Utc>,
) -> Result<(), JobError> {
    decide(context, message, answer, decision, None, now).await?;
    tracing::debug!(message_id = %message, decision = decision.as_str(), "an answer is not pushed, or not to all devices");
    Ok(())
}

async fn decide(
    context: &JobContext,
    message: MessageId,
    answer: &Pushable,
    decision: PushDecision,
    quiet_until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Logged, JobError> {
    let decided = Decided {
        owner: answer.owner,
        message,
        kind: PushKind::from(answer.facts.outcome.unwrap_or(AnswerOutcome::Completed)),
        decision,
        quiet_until,
    };
    let logged = context
        .database
        .connection(async |connection| pushes::decide(connection, &decided, now).await);
    logged.await.map_err(snooze_if_unavailable)
}

async fn push(
    context: &JobContext,
    run: &Run,
    message: MessageId,
    answer: &Pushable,
    now: DateTime<Utc>,
) -> Result<(), JobError> {
    let Logged { id, .. } = decide(context, message, answer, PushDecision::Pushed, None, now).await?;
    let (owner, kinds) = (answer.owner, context.push.services.kinds());
    let outcome = answer.facts.outcome.unwrap_or(AnswerOutcome::Completed);
    let is_private = answer.facts.notifications.private;
    let read = context.database.connection(async |connection| {
        let devices = pushes::list_devices(connection, owner.user(), &kinds, now).await?;
        let badge = pushes::badge(connection, owner.user()).await?;
        let text = if is_private {
            None
        } else {
            pushes::find_text(connection, &owner, message).await?
        };
        Ok((devices, badge, text))
    });
    let (devices, badge, text) = read.await.map_err(snooze_if_unavailable)?;
    let (title, beginning) = text.unwrap_or_default();
    let title = title.map(|title| cut(&one_line(&title), MAX_EXCERPT_CHARS));
    let excerpt = match outcome {
        AnswerOutcome::Completed => excerpt(&beginning),
        AnswerOutcome::Failed => String::new(),
    };
    let sentence = context.push.texts.sentence(&answer.language, outcome);
    let banner = Banner {
        kind: PushKind::from(outcome).as_str(),
        push_id: id,
        about: Some((owner.conversation(), message)),
        title: title.as_deref().filter(|title| !title.is_empty()),
        body: if excerpt.is_empty() { sentence } else { &excerpt },
        badge,
    };
    let delivery = Delivery {
        id,
        user: owner.user(),
        conversation: Some(owner.conversation()),
        shows: Some(message),
        push: Push::Banner(banner),
    };
    deliver(context, run, &delivery, &devices).await
}
