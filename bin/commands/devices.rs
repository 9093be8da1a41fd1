//! `cura-admin devices`: which devices there are, why a phone rang or stayed silent, and pruning at once.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use cura_app::operate::devices::{
    DeviceFilter, DeviceKind, DeviceWithSends, Devices as UseCases, Explanation, KnownDevice, ListDevicesError,
    PrunedDevices,
};
use cura_domain::push_log::LoggedSend;
use cura_domain::{DeviceId, MessageId};

use super::arguments::UserArgument;
use super::failure::{Exit, Failure};
use super::operating;
use super::output::{GlobalArguments, Output, PageArguments};
use super::text::{fields, or_dash, table, time};

/// What to do with the devices that pushes go to.
#[derive(Debug, Subcommand)]
pub enum Devices {
    /// List devices, newest first.
    List {
        /// Only those of this user: an id, or an e-mail address.
        #[arg(long, value_name = "ID|EMAIL")]
        user: Option<UserArgument>,
        /// Only those that are reached in this way.
        #[arg(long)]
        kind: Option<Kind>,
        /// Only those that are not pushed to.
        #[arg(long)]
        inactive: bool,
        /// Which page.
        #[command(flatten)]
        page: PageArguments,
    },
    /// Show a device, and the last that was sent to it.
    Show {
        /// The id of the device.
        id: i64,
    },
    /// Say why a phone rang for a message, or stayed silent.
    Why {
        /// The id of the message.
        message_id: i64,
    },
    /// Do at once what a job does every hour.
    ///
    /// Devices that were not seen for DEVICE_INACTIVE_DAYS become inactive; those that are inactive for 90
    /// days, or that their push service called gone, are removed.
    Prune,
}

/// How a device is reached.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    /// By a registration token of Firebase.
    Fcm,
    /// By a Firebase installation id.
    Fid,
    /// By Web Push.
    Webpush,
}

impl From<Kind> for DeviceKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Fcm => Self::Fcm,
            Kind::Fid => Self::Fid,
            Kind::Webpush => Self::WebPush,
        }
    }
}

impl From<ListDevicesError> for Failure {
    fn from(error: ListDevicesError) -> Self {
        match error {
            ListDevicesError::NoSuchUser => Self::new(Exit::NotFound, "user_not_found", "there is no such user"),
            ListDevicesError::Store(error) => error.into(),
        }
    }
}

/// Runs the command; gives the exit code.
pub fn start(command: Devices, global: GlobalArguments) -> ExitCode {
    operating::with_database(global, async |operating| {
        let push = &operating.settings.push;
        let devices = UseCases::new(operating.acts, push.devices_unseen_after, push.is_off());
        run(&devices, command, operating.output).await
    })
}

async fn run(devices: &UseCases, command: Devices, output: Output) -> Result<(), Failure> {
    match command {
        Devices::List {
            user,
            kind,
            inactive,
            page,
        } => {
            let filter = DeviceFilter {
                user: user.map(UserArgument::into_user),
                kind: kind.map(DeviceKind::from),
                only_inactive: inactive,
                before: page.after()?.map(DeviceId),
            };
            let listed = devices.list(&filter, page.limit).await?;
            output.page(listed, |device| device.id.0, list_text)
        }
        Devices::Show { id } => {
            let found = devices.show(DeviceId(id)).await?;
            let missing = || Failure::new(Exit::NotFound, "device_not_found", format!("there is no device {id}"));
            output.value(&found.ok_or_else(missing)?, device_text)
        }
        Devices::Why { message_id } => {
            let found = devices.why(MessageId(message_id)).await?;
            let missing = || {
                let detail =
                    format!("there is no message {message_id}, and nothing was pushed for it in the last 30 days");
                Failure::new(Exit::NotFound, "message_not_found", detail)
            };
            output.value(&found.ok_or_else(missing)?, why_text)
        }
        Devices::Prune => {
            let what = "this makes unseen devices inactive, and removes those that are inactive for long or gone";
            output.confirm(what)?;
            output.value(&devices.prune().await?, pruned_text)
        }
    }
}

fn list_text(devices: &[KnownDevice]) -> String {
    let rows: Vec<[String; 7]> = devices
        .iter()
        .map(|device| {
            [
                device.id.to_string(),
                device.user_id.to_string(),
                device.platform.as_str().to_owned(),
                device.kind.as_str().to_owned(),
                activity(device),
                time(device.last_active),
                time(device.created_at),
            ]
        })
        .collect();
    table(
        ["ID", "USER", "PLATFORM", "KIND", "ACTIVE", "LAST ACTIVE", "CREATED"],
        &rows,
    )
}

fn device_text(found: &DeviceWithSends) -> String {
    let (details, device) = (&found.device, &found.device.device);
    let session = if details.session_is_over {
        "over: it is not pushed to"
    } else {
        "valid"
    };
    let host = details.push_service_host.as_deref().unwrap_or(match device.kind {
        DeviceKind::WebPush => "unknown",
        DeviceKind::Fcm | DeviceKind::Fid => "Firebase",
    });
    let mut text = fields(&[
        ("device", device.id.to_string()),
        ("user", device.user_id.to_string()),
        ("platform", device.platform.as_str().to_owned()),
        ("kind", device.kind.as_str().to_owned()),
        ("push service", host.to_owned()),
        ("active", activity(device)),
        ("session", format!("{} ({session})", details.session_id)),
        ("last active", time(device.last_active)),
        ("created", time(device.created_at)),
    ]);
    if found.sends.is_empty() {
        text.push_str("\nnothing was sent to it in the last 30 days\n");
    } else {
        let _ = write!(text, "\n{}", sends_text(&found.sends));
    }
    text
}

fn why_text(why: &Explanation) -> String {
    let mut text = format!("{}\n", why.explanation);
    if let Some(push) = &why.push {
        let (decision, kind) = (push.decision.as_str(), push.kind.as_str());
        let _ = writeln!(
            text,
            "\npush {} ({kind}): {decision} {}",
            push.push_id,
            time(push.decided_at)
        );
    }
    if !why.sends.is_empty() {
        let _ = write!(text, "\n{}", sends_text(&why.sends));
    }
    text
}

fn sends_text(sends: &[LoggedSend]) -> String {
    let rows: Vec<[String; 8]> = sends
        .iter()
        .map(|send| {
            [
                time(send.claimed_at),
                send.push_id.to_string(),
                send.kind.as_str().to_owned(),
                or_dash(send.message_id),
                send.device_id.to_string(),
                send.outcome.map_or("unknown", |outcome| outcome.as_str()).to_owned(),
                or_dash(send.code.as_ref()),
                send.attempts.to_string(),
            ]
        })
        .collect();
    table(
        [
            "SENT", "PUSH", "KIND", "MESSAGE", "DEVICE", "OUTCOME", "CODE", "ATTEMPTS",
        ],
        &rows,
    )
}

fn pruned_text(pruned: &PrunedDevices) -> String {
    let PrunedDevices {
        gone_removed,
        inactive_removed,
        made_inactive,
    } = pruned;
    format!(
        "{made_inactive} devices made inactive, which were not seen for long\n\
         {inactive_removed} devices removed, which were inactive for long\n\
         {gone_removed} devices removed, which their push service had called gone"
    )
}

/// Whether it is pushed to, and if not, why and since when.
fn activity(device: &KnownDevice) -> String {
    let Some(reason) = device.inactive_reason else {
        return if device.is_active { "yes" } else { "no" }.to_owned();
    };
    let since = device.inactive_since.map(|since| format!(" since {}", time(since)));
    format!("no: {}{}", reason.as_str(), since.unwrap_or_default())
}
