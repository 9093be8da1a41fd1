//! Sending a push to the devices of a person: each send is claimed before it is made, and says afterwards what came of it.

use std::time::Duration;

use cura_domain::device::DeviceKind;
use cura_domain::push_log::SendOutcome;
use cura_domain::{ConversationId, DeviceId, MessageId, UserId};
use cura_providers::push::{Meaning, Push, SendPermit, Verdict};
use cura_queue::{JobError, Run};
use cura_store::pushes::{self, ClaimFor, ClaimedSend, EndedSend};
use futures_util::future::{join, join_all};

use crate::context::JobContext;
use crate::errors::{retry_on_store_error, snooze_if_unavailable};
use crate::words::unless_stopped;

/// How long a push waits for a service that takes none at the moment, before anything is claimed. Whoever asks for access tokens
/// of Firebase asks no sooner again (`NOT_ASKED_FOR`).
const NOT_READY_PAUSE: Duration = Duration::from_secs(15);

/// How often it is tried to record what came of sends, and the pause between: a database that restarts is back by then.
const RECORD_TRIES: u32 = 5;
const RECORD_PAUSE: Duration = Duration::from_secs(1);

/// A push, and whose devices it goes to.
pub(super) struct Delivery<'a> {
    /// Its row in the log.
    pub(super) id: i64,
    pub(super) user: UserId,
    /// What it is about: nothing is sent once that is deleted.
    pub(super) conversation: Option<ConversationId>,
    /// The message that it shows something of: nothing is sent once that is read.
    pub(super) shows: Option<MessageId>,
    pub(super) push: Push<'a>,
}

/// What is left to do after all devices had their turn.
#[derive(Default)]
struct Left {
    /// A service was not ready: nothing was claimed for its devices.
    not_ready: bool,
    /// Some sends may be repeated, no sooner than after this time.
    again: Option<Duration>,
    /// Some sends failed because of what we wanted to send.
    failed: bool,
    /// Some devices were not sent it: they had it before, or are gone.
    skipped: bool,
}

/// Sends a push to these devices, but to those only that it was not sent to before.
///
/// # Errors
/// [`JobError::Snooze`] and [`JobError::Retry`] when some have to wait, after the others were served; [`JobError::Discard`] when a
/// service refused what we wanted to send.
pub(super) async fn deliver(
    context: &JobContext,
    run: &Run,
    delivery: &Delivery<'_>,
    devices: &[(DeviceId, DeviceKind)],
) -> Result<(), JobError> {
    let of_web = |web: bool| -> Vec<DeviceId> {
        let wanted = devices.iter().filter(|(_, kind)| (*kind == DeviceKind::WebPush) == web);
        wanted.map(|(device, _)| *device).collect()
    };
    let (phones, browsers) = (of_web(false), of_web(true));
    let (to_phones, to_browsers) = join(
        deliver_by(context, run, delivery, DeviceKind::Fcm, &phones),
        deliver_by(context, run, delivery, DeviceKind::WebPush, &browsers),
    )
    .await;
    let (phones, browsers) = (to_phones?, to_browsers?);
    if let Some(after) = phones.again.max(browsers.again) {
        return Err(JobError::Retry {
            after: Some(after),
            reason: "a push service asks to send again later".to_owned(),
        });
    }
    if phones.not_ready || browsers.not_ready {
        return Err(JobError::Snooze {
            after: NOT_READY_PAUSE,
            reason: "a push service takes no pushes at the moment".to_owned(),
        });
    }
    let (failed, skipped) = (phones.failed || browsers.failed, phones.skipped || browsers.skipped);
    if failed || (skipped && has_failed(context, delivery.id).await?) {
        return Err(JobError::Discard {
            reason: "a push service refused what we sent".to_owned(),
        });
    }
    Ok(())
}

/// For a push that is not worth waiting for without end: a service that is not ready spends an attempt.
pub(super) fn spend_attempts(error: JobError) -> JobError {
    match error {
        JobError::Snooze { after, reason } => JobError::Retry {
            after: Some(after),
            reason,
        },
        error => error,
    }
}

/// Sends to devices of one service.
async fn deliver_by(
    context: &JobContext,
    run: &Run,
    delivery: &Delivery<'_>,
    kind: DeviceKind,
    devices: &[DeviceId],
) -> Result<Left, JobError> {
    let mut left = Left::default();
    let mut waiting = devices;
    while !waiting.is_empty() {
        let services = &context.push.services;
        // Whatever has to be waited for comes before the claim: right after it the push goes out, to nobody who has left meanwhile.
        let begin = async {
            if !services.is_ready(kind).await {
                return Ok(Vec::new());
            }
            Ok(services.permits(kind, waiting.len()).await)
        };
        // Cancelled: what it is about is deleted.
        let Some(permits) = unless_stopped(run, begin).await? else {
            return Ok(left);
        };
        if permits.is_empty() {
            left.not_ready = true;
            return Ok(left);
        }
        let (batch, others) = waiting.split_at(permits.len().min(waiting.len()));
        waiting = others;
        let claimed = claim(context, delivery, batch).await?;
        left.skipped |= claimed.len() < batch.len();
        let sends = claimed
            .into_iter()
            .zip(permits)
            .map(|(send, permit)| send_one(context, delivery, send, permit));
        let ended = join_all(sends).await;
        for (_, verdict) in &ended {
            match verdict.meaning {
                Meaning::Again(after) => left.again = left.again.max(Some(after.unwrap_or_default())),
                Meaning::OurFault => left.failed = true,
                _ => {}
            }
        }
        record(context, (delivery.id, delivery.user), ended).await?;
    }
    Ok(left)
}

async fn claim(
    context: &JobContext,
    delivery: &Delivery<'_>,
    devices: &[DeviceId],
) -> Result<Vec<ClaimedSend>, JobError> {
    let of = ClaimFor {
        push: delivery.id,
        user: delivery.user,
        conversation: delivery.conversation,
        shows: delivery.shows,
    };
    let (hosts, now) = (&context.push.hosts, context.clock.now_micros());
    let claimed = context
        .database
        .connection(async |connection| pushes::claim(connection, &of, devices, hosts, now).await);
    claimed.await.map_err(snooze_if_unavailable)
}

async fn send_one(
    context: &JobContext,
    delivery: &Delivery<'_>,
    claimed: ClaimedSend,
    permit: SendPermit,
) -> (ClaimedSend, Verdict) {
    let services = &context.push.services;
    let is_of_old_key = services.is_old_key(claimed.vapid_key.as_deref());
    let verdict = match &claimed.address {
        Some(address) => {
            services
                .send(permit, delivery.user, address, is_of_old_key, &delivery.push)
                .await
        }
        None => Verdict {
            meaning: Meaning::Misconfigured,
            code: "endpoint_not_allowed".to_owned(),
        },
    };
    tracing::debug!(push_id = delivery.id, device_id = %claimed.device, code = verdict.code, "a push service has answered");
    if verdict.meaning == Meaning::OurFault && context.refused_push_alert.is_due() {
        tracing::error!(
            push_id = delivery.id,
            device_id = %claimed.device,
            code = verdict.code,
            "a push service refused a push as wrong; the device is kept"
        );
    }
    (claimed, verdict)
}

/// Records what came of the sends. Not to be given up when the run ends, or for a query that fails once: nobody else knows it, and
/// without an outcome nothing is sent again.
async fn record(context: &JobContext, push: (i64, UserId), ended: Vec<(ClaimedSend, Verdict)>) -> Result<(), JobError> {
    let ended: Vec<EndedSend> = ended
        .into_iter()
        .map(|(send, verdict)| EndedSend {
            device: send.device,
            hash: send.hash,
            outcome: outcome(verdict.meaning),
            code: verdict.code,
        })
        .collect();
    let now = context.clock.now_micros();
    let mut tries = 0;
    let is_suspect = loop {
        tries += 1;
        let recorded = context
            .database
            .transaction(async |connection| pushes::record(connection, push, &ended, now).await);
        match recorded.await {
            Ok(is_suspect) => break is_suspect,
            Err(error) if tries == RECORD_TRIES => return Err(retry_on_store_error(error)),
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "an outcome could not be recorded; trying again"
                );
                tokio::time::sleep(RECORD_PAUSE).await;
            }
        }
    };
    if is_suspect && context.mass_loss_alert.is_due() {
        tracing::error!(
            push_id = push.0,
            "too many devices would be lost at once; none is, and those of the last ten minutes are back: check FIREBASE_CREDENTIALS_PATH and VAPID_PRIVATE_KEY"
        );
    }
    Ok(())
}

async fn has_failed(context: &JobContext, push: i64) -> Result<bool, JobError> {
    let failed = context
        .database
        .connection(async |connection| pushes::has_failed(connection, push).await);
    failed.await.map_err(snooze_if_unavailable)
}

const fn outcome(meaning: Meaning) -> SendOutcome {
    match meaning {
        Meaning::Sent => SendOutcome::Sent,
        Meaning::Gone => SendOutcome::Gone,
        Meaning::OtherSender => SendOutcome::Inactive,
        Meaning::Again(_) => SendOutcome::Retry,
        Meaning::Misconfigured | Meaning::NewToken | Meaning::Closed => SendOutcome::Kept,
        Meaning::OurFault => SendOutcome::Failed,
    }
}
