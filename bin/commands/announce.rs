//! `cura-admin announce`: what everybody is told who is connected.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use cura_app::operate::OperateError as _;
use cura_app::operate::announcements::{AnnounceError, Announcement, Announcements};
use cura_domain::AnnouncementId;

use super::arguments::{TextArgument, TitleArgument, UntilArgument};
use super::failure::{Exit, Failure};
use super::operating;
use super::output::{GlobalArguments, PageArguments};
use super::text::{table, time};

/// What to tell, and until when; or what to do with what is told.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Announce {
    #[command(subcommand)]
    command: Option<AnnounceCommand>,
    /// One line of at most 120 characters.
    #[arg(long, required = true)]
    title: Option<TitleArgument>,
    /// At most 2,000 characters.
    #[arg(long, required = true)]
    text: Option<TextArgument>,
    /// How long: a moment (RFC 3339), a day, or a time from now on such as 90m or 2h. At most 30 days ahead.
    #[arg(long, value_name = "TIME", required = true)]
    until: Option<UntilArgument>,
}

/// What to do with what is told.
#[derive(Debug, Subcommand)]
enum AnnounceCommand {
    /// List what was announced, newest first. It is kept for 90 days after its end.
    List {
        /// Which page.
        #[command(flatten)]
        page: PageArguments,
    },
    /// Tell nobody who connects from now on. Apps that were told show it until the end they know.
    End {
        /// The id of the announcement.
        id: AnnouncementId,
    },
}

/// Runs the command; gives the exit code.
pub fn start(command: Announce, global: GlobalArguments) -> ExitCode {
    operating::with_database(global, async |operating| {
        let now = operating.acts.now();
        let (announcements, output) = (Announcements::new(operating.acts), operating.output);
        match command {
            Announce {
                command: Some(AnnounceCommand::List { page }),
                ..
            } => {
                let listed = announcements.list(page.after()?, page.limit).await?;
                output.page(listed, |one| one.id, |listed| list_text(listed, now))
            }
            Announce {
                command: Some(AnnounceCommand::End { id }),
                ..
            } => output.value(&announcements.end(id).await?, |one| {
                format!("announcement {} is over", one.id)
            }),
            Announce {
                title: Some(TitleArgument(title)),
                text: Some(TextArgument(text)),
                until: Some(until),
                ..
            } => {
                let made = announcements.announce(&title, &text, until.after(now)).await?;
                output.value(&made, made_text)
            }
            Announce { .. } => Err(Failure::usage("say --title, --text and --until")),
        }
    })
}

fn made_text(made: &Announcement) -> String {
    let (id, until) = (made.id, time(made.until));
    format!("announcement {id} is told until {until}; all servers tell it within two seconds")
}

fn list_text(listed: &[Announcement], now: DateTime<Utc>) -> String {
    let rows: Vec<[String; 5]> = listed
        .iter()
        .map(|one| {
            let state = if one.until > now { "told" } else { "over" };
            [
                one.id.to_string(),
                state.to_owned(),
                time(one.created_at),
                time(one.until),
                one.title.clone(),
            ]
        })
        .collect();
    table(["ID", "STATE", "MADE", "UNTIL", "TITLE"], &rows)
}

impl From<AnnounceError> for Failure {
    fn from(error: AnnounceError) -> Self {
        let (code, text) = (error.code(), error.to_string());
        match error {
            AnnounceError::End(_) => Self::new(Exit::Usage, code, text).cure("name another --until"),
            AnnounceError::TooMany => {
                Self::new(Exit::No, code, text).cure("end one: `cura-admin announce list`, `announce end <id>`")
            }
            AnnounceError::NotFound => {
                Self::new(Exit::NotFound, code, text).cure("see `cura-admin announce list` for which there are")
            }
            AnnounceError::Store(error) => error.into(),
        }
    }
}
