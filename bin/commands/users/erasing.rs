//! Following an erasure: it goes on in a worker, whoever watches.

use std::time::Duration;

use cura_app::operate::users::{Erasure, ErasureProgress};
use cura_domain::UserId;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::commands::failure::{Exit, Failure};
use crate::commands::output::Output;

/// How often it is looked how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// After how long without progress the person at the terminal is told what may be the matter.
const SILENT_LOOKS: u32 = 20;

/// Says that an account is being erased; with `wait`, or if somebody watches, follows that to its end.
pub(super) async fn follow(mut erasure: Erasure, wait: bool, output: Output) -> Result<(), Failure> {
    let id = erasure.user();
    if !wait && !output.is_watched() {
        return output.value(&json!({ "id": id, "state": "erasing" }), |_| {
            format!("the account of user {id} is gone; a worker erases what is left of it")
        });
    }
    let bar = if output.is_watched() {
        ProgressBar::new(0).with_style(style())
    } else {
        ProgressBar::hidden()
    };
    let (mut silent, mut before) = (0, None);
    loop {
        let progress = erasure.look().await?;
        if progress.is_over {
            bar.finish_and_clear();
            return output.value(&json!({ "id": id, "state": "erased" }), |_| {
                format!("user {id} is erased")
            });
        }
        if progress.is_stuck() {
            bar.finish_and_clear();
            return Err(stuck(id, &progress));
        }
        show(&bar, &progress);
        let now = (progress.rows_left, progress.objects_left);
        silent = if before.replace(now) == Some(now) {
            silent + 1
        } else {
            0
        };
        if silent == SILENT_LOOKS {
            bar.suspend(|| {
                output.say(
                    "nothing happens: is a worker running that takes erase-user? The erasure goes on by itself; Ctrl-C ends this command alone",
                );
            });
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos} of {len} rows, {msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn show(bar: &ProgressBar, progress: &ErasureProgress) {
    if let Some(left) = progress.rows_left.and_then(|left| u64::try_from(left).ok()) {
        // More may have been written since the first look.
        let all = bar.length().unwrap_or_default().max(left);
        bar.set_length(all);
        bar.set_position(all - left);
    }
    bar.set_message(format!("{} objects of the file store are left", progress.objects_left));
}

fn stuck(id: UserId, progress: &ErasureProgress) -> Failure {
    let reason = progress.job.as_ref().and_then(|job| job.reason.clone());
    let detail = format!(
        "the job that erases user {id} was discarded: {}",
        reason.unwrap_or_else(|| "it does not say why".to_owned())
    );
    Failure::new(Exit::Failed, "erasure_discarded", detail).cure(format!(
        "mend what it says, and run `cura-admin users delete {id}` again"
    ))
}
