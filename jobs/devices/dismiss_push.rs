//! Takes away what phones show of a conversation that was read elsewhere.
//!
//! May run twice, even at once: each send is claimed before it is made.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use cura_domain::device::DeviceKind;
use cura_domain::push_log::{PushDecision, PushKind};
use cura_domain::{ConversationId, DeviceId, MessageId};
use cura_providers::push::{Dismissal, Push};
use cura_queue::{DismissPush, JobError, Run};
use cura_store::StoreError;
use cura_store::owners::{self, ConversationOwner};
use cura_store::pushes::{self, Decided};

use super::deliver::{Delivery, deliver};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// How long what was read elsewhere is worth being taken away.
const MAX_AGE: TimeDelta = TimeDelta::hours(1);
/// How long a banner is waited for that is being sent.
const SEND_PAUSE: Duration = Duration::from_secs(2);

/// What there is to take away.
enum Found {
    Nothing,
    /// Something is on its way: it could arrive after what takes it away.
    BeingSent,
    /// The devices that show something, the number of the push that takes it away, and what is unread then.
    Shown(ConversationOwner, Vec<(DeviceId, DeviceKind)>, i64, u32),
}

pub(crate) async fn run(context: Arc<JobContext>, job: DismissPush, run: Run) -> Result<(), JobError> {
    let (conversation, message) = (ConversationId(job.conversation_id), MessageId(job.message_id));
    let kinds = context.push.services.kinds();
    let now = context.clock.now_micros();
    let found = context.database.transaction(async |connection| {
        let Some(owner) = owners::find(connection, conversation).await? else {
            return Ok(Found::Nothing);
        };
        if pushes::are_being_sent(connection, &owner, message, now).await? {
            return Ok(Found::BeingSent);
        }
        let devices = pushes::list_showing(connection, &owner, message, &kinds, now).await?;
        if devices.is_empty() {
            pushes::set_dismissed(connection, &owner, message, now).await?;
            return Ok(Found::Nothing);
        }
        let decided = Decided {
            owner,
            message,
            kind: PushKind::Read,
            decision: PushDecision::Pushed,
            quiet_until: None,
        };
        let logged = pushes::decide(connection, &decided, now).await?;
        if now - logged.created_at > MAX_AGE {
            return Ok(Found::Nothing);
        }
        let badge = pushes::badge(connection, owner.user()).await?;
        Ok::<_, StoreError>(Found::Shown(owner, devices, logged.id, badge))
    });
    let (owner, devices, id, badge) = match found.await.map_err(snooze_if_unavailable)? {
        Found::Nothing => return Ok(()),
        Found::BeingSent => {
            return Err(JobError::Snooze {
                after: SEND_PAUSE,
                reason: "the banner is being sent".to_owned(),
            });
        }
        Found::Shown(owner, devices, id, badge) => (owner, devices, id, badge),
    };
    let delivery = Delivery {
        id,
        user: owner.user(),
        conversation: Some(conversation),
        shows: None,
        push: Push::Dismissal(Dismissal {
            push_id: id,
            about: (conversation, message),
            badge,
        }),
    };
    deliver(&context, &run, &delivery, &devices).await?;
    let now = context.clock.now_micros();
    let dismissed = context
        .database
        .connection(async |connection| pushes::set_dismissed(connection, &owner, message, now).await);
    dismissed.await.map_err(snooze_if_unavailable)
}
