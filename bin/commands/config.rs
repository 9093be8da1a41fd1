//! `cura-admin config`: the settings as they are, and all that is wrong with them. Asks no dependency.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::output::{GlobalArguments, Output};
use super::text::{or_dash, table};
use crate::program::StartError;
use crate::settings::{Settings, ShownSetting, Source, UnknownSetting};
use crate::wiring::{faults_of_dev, faults_of_server, faults_of_worker};

/// What to say of the settings.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Show every setting with its value, or a mask where that is a secret, and where it comes from.
    Show {
        /// Only those that are set.
        #[arg(long)]
        set: bool,
    },
    /// Name everything that is wrong, and names that look like settings and are none.
    ///
    /// Exit code 3 if a program could not start with them. Whether Postgres, Redis and the others are there is not asked.
    Check {
        /// For which program.
        #[arg(long, value_enum, default_value_t)]
        program: Program,
    },
}

/// A program that is started with the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// Servers and workers.
    #[default]
    All,
    /// `cura-server`.
    Server,
    /// `cura-worker`.
    Worker,
    /// `cura-server dev`.
    Dev,
}

#[derive(Serialize)]
struct Shown {
    items: Vec<ShownSetting>,
    next_cursor: Option<String>,
    unknown: Vec<UnknownSetting>,
}

#[derive(Serialize)]
struct Checked {
    items: Vec<Fault>,
    next_cursor: Option<String>,
    unknown: Vec<UnknownSetting>,
}

#[derive(Serialize)]
struct Fault {
    name: String,
    problem: String,
}

/// Runs the command; gives the exit code.
pub fn start(command: Config, global: GlobalArguments) -> ExitCode {
    let output = Output::from(global);
    let done = match command {
        Config::Show { set } => show(set, output),
        Config::Check { program } => check(program, output),
    };
    done.map_or_else(|failure| failure.tell(global.json), |()| ExitCode::SUCCESS)
}

fn show(only_set: bool, output: Output) -> Result<(), Failure> {
    let (mut items, unknown) = Settings::shown().map_err(StartError::from)?;
    items.retain(|setting| !only_set || setting.source != Source::Default);
    let shown = Shown {
        items,
        next_cursor: None,
        unknown,
    };
    output.value(&shown, |shown| {
        let rows: Vec<[String; 4]> = shown
            .items
            .iter()
            .map(|setting| {
                let value = or_dash(setting.value.as_ref());
                let source = source(setting.source).to_owned();
                [setting.section.to_owned(), setting.name.to_owned(), value, source]
            })
            .collect();
        table(["SECTION", "NAME", "VALUE", "FROM"], &rows)
    })?;
    tell_unknown(&shown.unknown, output);
    Ok(())
}

fn check(program: Program, output: Output) -> Result<(), Failure> {
    let (_, unknown) = Settings::shown().map_err(StartError::from)?;
    let read = Settings::checked(|settings| {
        let mut faults = Vec::new();
        if matches!(program, Program::All | Program::Server) {
            faults.extend(faults_of_server(settings));
        }
        if matches!(program, Program::All | Program::Worker) {
            faults.extend(faults_of_worker(settings));
        }
        if program == Program::Dev {
            faults.extend(faults_of_dev(settings));
        }
        faults
    });
    let faults = read.err().map_or_else(Vec::new, |errors| {
        let fault = |error: &crate::settings::SettingError| Fault {
            name: error.name().to_owned(),
            problem: error.problem().to_owned(),
        };
        errors.iter().map(fault).collect()
    });
    let checked = Checked {
        items: faults,
        next_cursor: None,
        unknown,
    };
    output.value(&checked, |checked| {
        let lines = checked
            .items
            .iter()
            .map(|fault| format!("{} {}\n", fault.name, fault.problem));
        let lines: String = lines.collect();
        if lines.is_empty() {
            "every setting can be used".to_owned()
        } else {
            lines
        }
    })?;
    tell_unknown(&checked.unknown, output);
    match checked.items.len() {
        0 => Ok(()),
        count => Err(
            Failure::new(Exit::No, "settings_wrong", format!("{count} settings cannot be used"))
                .cure("set them as .env.example says"),
        ),
    }
}

fn tell_unknown(unknown: &[UnknownSetting], output: Output) {
    for UnknownSetting { name, similar, .. } in unknown {
        let meant = similar.map(|similar| format!("; {similar} may be meant"));
        output.say(&format!("{name} is no setting{}", meant.unwrap_or_default()));
    }
}

const fn source(source: Source) -> &'static str {
    match source {
        Source::Environment => "environment",
        Source::DotEnv => ".env",
        Source::File => "its file",
        Source::Default => "default",
    }
}
