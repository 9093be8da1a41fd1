//! Takes away what phones show of a conversation that was read elsewhere.
//!
//! May run twice, even at once: each send is claimed before it is made.

use std::sync::Arc;

use cura_domain::push_log::{PushDecision, PushKind};
use cura_domain::{ConversationId, MessageId};
use cura_providers::push::{Dismissal, Push};
use cura_queue::{DismissPush, JobError, Run};
use cura_store::pushes::{self, Decided};
use cura_store::{StoreError, owners};

use super::deliver::{Delivery, deliver, spend_attempts};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

pub(crate) async fn run(context: Arc<JobContext>, job: DismissPush, run: Run) -> Result<(), JobError> {
    let (conversation, message) = (ConversationId(job.conversation_id), MessageId(job.message_id));
    let kinds = context.push.services.kinds();
    let now = context.clock.now_micros();
    let found = context.database.transaction(async |connection| {
        let Some(owner) = owners::find(connection, conversation).await? else {
            return Ok(None);
        };
        let devices = pushes::list_showing(connection, &owner, message, &kinds, now).await?;
        if devices.is_empty() {
            pushes::set_dismissed(connection, &owner, message, now).await?;
            return Ok(None);
        }
        let decided = Decided {
            owner,
            message,
            kind: PushKind::Read,
            decision: PushDecision::Pushed,
            quiet_until: None,
        };
        let id = pushes::decide(connection, &decided, now).await?;
        let badge = pushes::badge(connection, owner.user()).await?;
        Ok::<_, StoreError>(Some((owner, devices, id, badge)))
    });
    let Some((owner, devices, id, badge)) = found.await.map_err(snooze_if_unavailable)? else {
        return Ok(());
    };
    let delivery = Delivery {
        id,
        user: owner.user(),
        conversation: Some(conversation),
        push: Push::Dismissal(Dismissal {
            push_id: id,
            about: (conversation, message),
            badge,
        }),
    };
    deliver(&context, &run, &delivery, &devices)
        .await
        .map_err(spend_attempts)?;
    let now = context.clock.now_micros();
    let dismissed = context
        .database
        .connection(async |connection| pushes::set_dismissed(connection, &owner, message, now).await);
    dismissed.await.map_err(snooze_if_unavailable)
}
