//! `cura-admin`: the commands of operators. Data goes to stdout, messages to stderr.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use cura_bin::commands::ai::{self, AiCommand};
use cura_bin::commands::announce::{self, Announce};
use cura_bin::commands::audit::{self, Audit};
use cura_bin::commands::backup::{self, Backup};
use cura_bin::commands::config::{self, Config};
use cura_bin::commands::devices::{self, Devices};
use cura_bin::commands::doctor::{self, Doctor};
use cura_bin::commands::explain::{self, Explain};
use cura_bin::commands::files::{self, Files};
use cura_bin::commands::jobs::{self, Jobs};
use cura_bin::commands::migrate::{self, Migrate};
use cura_bin::commands::output::GlobalArguments;
use cura_bin::commands::restore::{self, Restore};
use cura_bin::commands::switch::{self, Switch};
use cura_bin::commands::usage::{self, Usage};
use cura_bin::commands::users::{self, Users};
use cura_bin::commands::{completions, manual, openapi, output, secret};

/// Operator commands of Cura. Settings come from the environment and `.env`; see `.env.example`.
///
/// Exit codes: 0 done, 1 failed or not confirmed, 2 wrong usage, 3 the answer is no (pending migrations, a failed
/// check), 4 not found, 5 a dependency is away.
#[derive(Parser)]
#[command(name = "cura-admin", version = cura_bin::build_info::VERSION)]
struct Arguments {
    #[command(flatten)]
    global: GlobalArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Change or show the schema of the database.
    #[command(subcommand)]
    Migrate(Migrate),
    /// Look at users, and change what their accounts may do.
    #[command(subcommand)]
    Users(Users),
    /// Look at the devices that pushes go to, and prune them.
    #[command(subcommand)]
    Devices(Devices),
    /// Look at the files that people have uploaded, scan them again, and delete them.
    #[command(subcommand)]
    Files(Files),
    /// See what became of jobs, retry and cancel them, and pause queues.
    #[command(subcommand)]
    Jobs(Jobs),
    /// Say what became of one answer, from the request that asked for it to the moment it was read.
    #[command(subcommand)]
    Explain(Explain),
    /// Switch something off without a deploy, or on again: registration or uploads. All servers know within two seconds.
    Switch(Switch),
    /// Tell everybody something who is connected until then: an `announcement` event on every stream and socket, within two seconds.
    Announce(Announce),
    /// See who has changed what.
    #[command(subcommand)]
    Audit(Audit),
    /// Sum the tokens that were used, and what they cost.
    Usage(Usage),
    /// See the AI providers as the workers know them.
    #[command(subcommand)]
    Ai(AiCommand),
    /// Try everything that Cura depends on, and say what to do where it does not work.
    ///
    /// Exit code 3 if a check fails. It is tried from this machine, with these settings; an object is put into the file store and deleted.
    Doctor(Doctor),
    /// Make one archive of the database and the files, or verify one.
    ///
    /// It is of one moment, and nothing waits for it. It holds everything but the settings: keep SECRET_KEY and the others elsewhere. Without
    /// --recipient it is not encrypted. pg_dump must be there, and not older than the server.
    Backup(Backup),
    /// Restore a backup into an empty database.
    ///
    /// Nothing is touched before all of the archive was read and found to be what was written. Stop servers and workers first. Afterwards
    /// every session has ended, whoever was erased since is erased again, and all queues are paused until `jobs resume`. If it is
    /// interrupted, run it again.
    Restore(Restore),
    /// Show the settings, and what is wrong with them.
    #[command(subcommand)]
    Config(Config),
    /// Print the OpenAPI document.
    Openapi,
    /// Print a new random value for SECRET_KEY.
    Secret {
        /// Print a new value for VAPID_PRIVATE_KEY instead; its public half goes to stderr.
        #[arg(long)]
        vapid: bool,
    },
    /// Print what a shell needs to complete these commands.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write man pages into a folder.
    #[command(hide = true)]
    Man {
        /// The folder.
        folder: PathBuf,
    },
    /// Print the list of commands that `docs/CLI.md` holds.
    #[command(hide = true)]
    Reference,
}

fn main() -> ExitCode {
    cura_devdb::run_supervisor_if_asked();
    let given: Vec<OsString> = std::env::args_os().collect();
    let arguments = match Arguments::try_parse_from(&given) {
        Ok(arguments) => arguments,
        Err(error) => return output::usage(&error, &given),
    };
    let global = arguments.global;
    match arguments.command {
        Command::Migrate(command) => migrate::start(command, global),
        Command::Users(command) => users::start(command, global),
        Command::Switch(command) => switch::start(command, global),
        Command::Announce(command) => announce::start(command, global),
        Command::Devices(command) => devices::start(command, global),
        Command::Files(command) => files::start(command, global),
        Command::Jobs(command) => jobs::start(command, global),
        Command::Audit(command) => audit::start(command, global),
        Command::Ai(command) => ai::start(command, global),
        Command::Explain(command) => explain::start(command, global),
        Command::Usage(command) => usage::start(command, global),
        Command::Doctor(command) => doctor::start(command, global),
        Command::Backup(command) => backup::start(command, global),
        Command::Restore(command) => restore::start(command, global),
        Command::Config(command) => config::start(command, global),
        Command::Openapi => print(&openapi::document()),
        Command::Secret { vapid } => secret::start(vapid, global),
        Command::Completions { shell } => {
            completions::print(shell, Arguments::command());
            ExitCode::SUCCESS
        }
        Command::Man { folder } => match manual::write_pages(Arguments::command(), &folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::tell(format_args!("error: the man pages cannot be written: {error}\n"));
                ExitCode::FAILURE
            }
        },
        Command::Reference => print(&manual::reference(Arguments::command())),
    }
}

/// Writes a text to stdout; whether anybody reads it to its end does not matter.
fn print(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    ExitCode::SUCCESS
}
