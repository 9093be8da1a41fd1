//! `cura-admin audit`: who has changed what.

use std::process::ExitCode;

use clap::Subcommand;
use cura_app::operate::acts::{Action, ActionFilter};

use super::arguments::MomentArgument;
use super::failure::Failure;
use super::operating;
use super::output::{GlobalArguments, PageArguments};
use super::text::{or_dash, table, time};

/// What to show of the record of what operators did.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// List what was done and what failed, newest first. It is kept for 400 days.
    List {
        /// Only what this operator did.
        #[arg(long, value_name = "NAME")]
        operator: Option<String>,
        /// Only acts of this name, or of this noun: `files.delete`, or `files`.
        #[arg(long)]
        action: Option<String>,
        /// Only what was done to this: an id.
        #[arg(long, value_name = "ID")]
        target: Option<String>,
        /// Only what was done since then: a moment (RFC 3339) or a day.
        #[arg(long, value_name = "MOMENT")]
        since: Option<MomentArgument>,
        /// Only what failed.
        #[arg(long)]
        failed: bool,
        /// Which page.
        #[command(flatten)]
        page: PageArguments,
    },
}

/// Runs the command; gives the exit code.
pub fn start(command: Audit, global: GlobalArguments) -> ExitCode {
    operating::with_database(global, async |operating| {
        let Audit::List {
            operator,
            action,
            target,
            since,
            failed,
            page,
        } = command;
        let which = ActionFilter {
            operator,
            action,
            target,
            since: since.map(|since| since.0),
            only_failed: failed,
            before: page.after()?,
        };
        let listed = operating.acts.list(&which, page.limit).await.map_err(Failure::from)?;
        operating.output.page(listed, |action| action.id, list_text)
    })
}

fn list_text(actions: &[Action]) -> String {
    let rows: Vec<[String; 7]> = actions
        .iter()
        .map(|action| {
            [
                action.id.to_string(),
                time(action.at),
                action.operator.clone(),
                action.action.clone(),
                or_dash(action.target.as_ref()),
                or_dash(action.failure.as_ref().map(|code| format!("failed: {code}"))),
                action.arguments.to_string(),
            ]
        })
        .collect();
    table(
        ["ID", "WHEN", "OPERATOR", "ACTION", "TARGET", "FAILURE", "ARGUMENTS"],
        &rows,
    )
}
