//! `cura-admin switch`: what can be switched off without a deploy.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use cura_app::operate::switches::{SwitchState, Switches};
use cura_domain::switch::Switch as Name;

use super::arguments::ReasonArgument;
use super::failure::Failure;
use super::operating;
use super::output::GlobalArguments;
use super::text::{or_dash, table, time};

/// What to switch, and whether on or off. Without it, the command shows how all switches stand.
#[derive(Debug, Args)]
pub struct Switch {
    /// What.
    #[arg(requires = "position")]
    name: Option<SwitchName>,
    /// Whether it can be done.
    #[arg(requires = "reason")]
    position: Option<Position>,
    /// Why, for the record. Without addresses and words of people.
    #[arg(long, requires = "position")]
    reason: Option<ReasonArgument>,
}

/// What can be switched off.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SwitchName {
    /// Registering.
    Registration,
    /// Uploading files and avatars.
    Uploads,
}

/// Whether something can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Position {
    /// It can.
    On,
    /// It is refused.
    Off,
}

impl From<SwitchName> for Name {
    fn from(name: SwitchName) -> Self {
        match name {
            SwitchName::Registration => Self::Registration,
            SwitchName::Uploads => Self::Uploads,
        }
    }
}

/// Runs the command; gives the exit code.
pub fn start(command: Switch, global: GlobalArguments) -> ExitCode {
    operating::with_database(global, async |operating| {
        let (switches, output) = (Switches::new(operating.acts), operating.output);
        match (command.name, command.position, command.reason) {
            (Some(name), Some(position), Some(reason)) => {
                let set = switches.set(name.into(), position == Position::On, &reason.0);
                output.value(&set.await?, text)
            }
            (None, None, None) => output.page((switches.list().await?, false), |switch| switch.name, list),
            _ => Err(Failure::usage("name what to switch, on or off, and --reason")),
        }
    })
}

fn word(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

fn text(switch: &SwitchState) -> String {
    format!(
        "{} is {}; all servers know within two seconds",
        switch.name,
        word(switch.is_on)
    )
}

fn list(switches: &[SwitchState]) -> String {
    let rows: Vec<[String; 4]> = switches
        .iter()
        .map(|switch| {
            [
                switch.name.to_string(),
                word(switch.is_on).to_owned(),
                or_dash(switch.changed_at.map(time)),
                or_dash(switch.reason.as_ref()),
            ]
        })
        .collect();
    table(["WHAT", "STATE", "CHANGED", "REASON"], &rows)
}
