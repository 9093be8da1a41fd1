//! Pushes a test to all devices of a person, and tells them what came of each.
//!
//! May run twice, even at once: each send is claimed before it is made; the event may come twice.

use std::sync::Arc;
use std::time::Duration;

use cura_domain::DeviceId;
use cura_domain::device::DeviceKind;
use cura_domain::event::Event;
use cura_domain::push_log::{LoggedSend, PushKind, SendOutcome, TestedDevice, TestedPush};
use cura_providers::push::{Banner, Push};
use cura_queue::{JobError, Run, SendTestPush};
use cura_store::{StoreError, events, pushes, users};

use super::deliver::{Delivery, deliver, spend_attempts};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// The longest pause before a test is tried again: that of a service that is not ready. With three attempts and what a send may
/// take, the event comes within about a minute; a service that asks for more is told at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// What is said of a device whose service took no pushes each time.
const UNAVAILABLE: &str = "service_unavailable";
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
    let is_unfinished = match &delivered {
        Ok(()) | Err(JobError::Discard { .. }) => false,
        Err(JobError::Retry { after, .. }) => {
            let waits_long = after.is_some_and(|after| after > LONGEST_PAUSE);
            if run.attempt < run.max_attempts && !waits_long {
                return delivered;
            }
            true
        }
        Err(JobError::Release | JobError::Snooze { .. }) => return delivered,
    };
    let now = context.clock.now_micros();
    let told = context.database.transaction(async |connection| {
        if users::hold(connection, user).await?.is_none() {
            return Ok(None);
        }
        let mut tested = TestedPush {
            push_id: job.push_id,
            devices: pushes::list_sends(connection, job.push_id).await?,
        };
        if is_unfinished {
            let claimed = pushes::list_logged_sends(connection, job.push_id).await?;
            tested.devices.extend(not_sent_to(&devices, &claimed));
            tested.devices.sort_by_key(|device| device.device_id);
        }
        let seq = events::append(connection, user, &[Event::Push(tested)], now).await?;
        Ok::<_, StoreError>(Some(seq))
    });
    if let Some(seq) = told.await.map_err(snooze_if_unavailable)? {
        context.live.publish_event(user, seq).await;
    }
    // What was wrong is told: trying again would help nobody.
    Ok(())
}

/// The devices of which none of the sends is: their service was not ready, so nothing was claimed for them.
fn not_sent_to(devices: &[(DeviceId, DeviceKind)], sends: &[LoggedSend]) -> Vec<TestedDevice> {
    let is_claimed = |device: DeviceId| sends.iter().any(|send| send.device_id == device);
    let left = devices.iter().map(|(device, _)| *device);
    left.filter(|device| !is_claimed(*device))
        .map(|device_id| TestedDevice {
            device_id,
            outcome: SendOutcome::Kept,
            code: Some(UNAVAILABLE.to_owned()),
        })
        .collect()
}
