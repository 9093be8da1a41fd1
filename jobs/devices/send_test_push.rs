//! Pushes a test to all devices of a person, and tells them what came of each.
//!
//! May run twice, even at once: each send is claimed before it is made; the event may come twice.

use std::sync::Arc;

use cura_domain::event::Event;
use cura_domain::push_log::{PushKind, TestedPush};
use cura_providers::push::{Banner, Push};
use cura_queue::{JobError, Run, SendTestPush};
use cura_store::{StoreError, events, pushes, users};

use super::deliver::{Delivery, deliver, spend_attempts};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// What a test says. Whoever sends one reads English or the code.
const TEXT: &str = "This is a test.";

pub(crate) async fn run(context: Arc<JobContext>, job: SendTestPush, run: Run) -> Result<(), JobError> {
    let kinds = context.push.services.kinds();
    let now = context.clock.now_micros();
    let found = context.database.connection(async |connection| {
        let Some(user) = pushes::find_test(connection, job.push_id).await? else {
            return Ok(None);
        };
        let devices = pushes::list_devices(connection, user, &kinds, now).await?;
        // Phones show the number of each push: one of its own would take away that of answers.
        let badge = pushes::badge(connection, user).await?;
        Ok(Some((user, devices, badge)))
    });
    let Some((user, devices, badge)) = found.await.map_err(snooze_if_unavailable)? else {
        return Ok(());
    };
    let banner = Banner {
        kind: PushKind::Test.as_str(),
        push_id: job.push_id,
        about: None,
        title: None,
        body: TEXT,
        badge,
    };
    let delivery = Delivery {
        id: job.push_id,
        user,
        conversation: None,
        shows: None,
        push: Push::Banner(banner),
    };
    let delivered = deliver(&context, &run, &delivery, &devices)
        .await
        .map_err(spend_attempts);
    let is_over = match &delivered {
        Ok(()) | Err(JobError::Discard { .. }) => true,
        Err(JobError::Retry { .. }) => run.attempt >= run.max_attempts,
        Err(JobError::Release | JobError::Snooze { .. }) => false,
    };
    if !is_over {
        return delivered;
    }
    let now = context.clock.now_micros();
    let told = context.database.transaction(async |connection| {
        if users::hold(connection, user).await?.is_none() {
            return Ok(None);
        }
        let tested = TestedPush {
            push_id: job.push_id,
            devices: pushes::list_sends(connection, job.push_id).await?,
        };
        let seq = events::append(connection, user, &[Event::Push(tested)], now).await?;
        Ok::<_, StoreError>(Some(seq))
    });
    if let Some(seq) = told.await.map_err(snooze_if_unavailable)? {
        context.live.publish_event(user, seq).await;
    }
    // What was wrong is told: trying again would help nobody.
    Ok(())
}
