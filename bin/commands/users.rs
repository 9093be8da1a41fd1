//! `cura-admin users`: which users there are, what is known of one, and what is done to accounts. Never a hash or a word of theirs.

mod erasing;
mod text;

use std::process::ExitCode;

use clap::Subcommand;
use cura_app::operate::OperateError as _;
use cura_app::operate::users::{Leftovers, NewUser, OperateUsersError, UserLimits, Users as UseCases};
use cura_app::passwords::Passwords;
use cura_domain::UserId;
use cura_store::users::KnownUsers;
use serde_json::json;

use super::arguments::{EmailArgument, NameArgument, ReasonArgument, UserArgument};
use super::failure::{Exit, Failure};
use super::operating::{self, Operating};
use super::output::{GlobalArguments, Output, PageArguments};
use super::password::PasswordArguments;
use crate::program::StartError;
use crate::settings::Settings;
use crate::wiring;

/// What to do with users and their accounts.
#[derive(Debug, Subcommand)]
pub enum Users {
    /// Make an account, by the rules of registering.
    Create {
        /// Its e-mail address.
        #[arg(long)]
        email: EmailArgument,
        /// The name of its user.
        #[arg(long)]
        name: Option<NameArgument>,
        /// Whether its user is an admin, who may use the pages of operators.
        #[arg(long)]
        admin: bool,
        /// Where the password comes from.
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// List users, newest first.
    List {
        /// Only those whose e-mail address begins like this.
        #[arg(long, value_name = "PREFIX")]
        search: Option<String>,
        /// Only those that are suspended.
        #[arg(long)]
        suspended: bool,
        /// Only admins.
        #[arg(long)]
        admin: bool,
        /// Which page.
        #[command(flatten)]
        page: PageArguments,
    },
    /// Show a user: sessions, devices, how much there is, usage, storage, and what is under way.
    Show {
        /// An id, or an e-mail address.
        #[arg(value_name = "ID|EMAIL")]
        user: UserArgument,
    },
    /// Suspend an account.
    ///
    /// Its user cannot sign in or go on, open streams end within two seconds, devices are forgotten, links to files lead nowhere, and
    /// unfinished answers are cancelled. What is scanned, exported or erased goes on.
    Suspend {
        /// An id, or an e-mail address.
        #[arg(value_name = "ID|EMAIL")]
        user: UserArgument,
        /// Why, for the record. Without addresses and words of people.
        #[arg(long)]
        reason: ReasonArgument,
    },
    /// End a suspension.
    ///
    /// Sessions that have not expired go on; devices register again when their apps are opened.
    Restore {
        /// An id, or an e-mail address.
        #[arg(value_name = "ID|EMAIL")]
        user: UserArgument,
    },
    /// Set a password and end every session; open streams end within two seconds.
    SetPassword {
        /// An id, or an e-mail address.
        #[arg(value_name = "ID|EMAIL")]
        user: UserArgument,
        /// Where the password comes from.
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// Make a user an admin.
    Promote {
        /// An id, or an e-mail address.
        #[arg(value_name = "ID|EMAIL")]
        user: UserArgument,
    },
    /// End that a user is an admin.
    ///
    /// The last one who can sign in stays one (exit code 3).
    Demote {
        /// An id, or an e-mail address.
        #[arg(value_name = "ID|EMAIL")]
        user: UserArgument,
    },
    /// End every session of a user; open streams end within two seconds.
    SignOut {
        /// An id, or an e-mail address.
        #[arg(value_name = "ID|EMAIL")]
        user: UserArgument,
    },
    /// Erase an account and all data of its user, as its user can.
    ///
    /// It is gone for everybody at once; a worker removes what is left. On a terminal, the command shows how far that is; it goes on
    /// without the command, which can be run again. One whose job was discarded gets it again.
    Delete {
        /// An id, or an e-mail address. Only an id while the account is being erased.
        #[arg(value_name = "ID|EMAIL")]
        user: UserArgument,
        /// Wait until nothing is left, also without a terminal.
        #[arg(long)]
        wait: bool,
    },
    /// Look for what is left of a user: in every table, among the jobs, in Redis and in the file store.
    ///
    /// Exit code 3 if anything is. What was only counted or watched in Redis expires by itself within minutes.
    VerifyErased {
        /// The id.
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        id: i64,
    },
}

impl From<OperateUsersError> for Failure {
    fn from(error: OperateUsersError) -> Self {
        let (code, text) = (error.code(), error.to_string());
        match error {
            OperateUsersError::NotFound => Self::new(Exit::NotFound, code, text),
            OperateUsersError::BeingErased(_) => Self::new(Exit::No, code, text)
                .cure("nothing can be done with it any more; `cura-admin users delete` shows how far that is"),
            OperateUsersError::EmailTaken => Self::new(Exit::Failed, code, text)
                .cure("see `cura-admin users show`; `cura-admin users set-password` gives it another password"),
            OperateUsersError::LastAdmin(_) => {
                Self::new(Exit::No, code, text).cure("make somebody else an admin first: `cura-admin users promote`")
            }
            OperateUsersError::Password(_) => Self::new(Exit::Failed, code, text),
            OperateUsersError::Store(error) => error.into(),
        }
    }
}

/// Runs the command; gives the exit code.
pub fn start(command: Users, global: GlobalArguments) -> ExitCode {
    operating::with_database(global, async |operating| {
        let users = use_cases(&operating)?;
        run(&users, command, &operating).await
    })
}

fn use_cases(operating: &Operating) -> Result<UseCases, Failure> {
    let settings = &operating.settings;
    let live = operating.live()?;
    let ai = wiring::ai(settings).map_err(StartError::from)?;
    // Without Redis, what was saved of an answer is all that there is of it.
    let texts = live.clone().unwrap_or_else(wiring::no_live);
    let answers = wiring::answers(settings, operating.database.clone(), texts, &ai);
    Ok(UseCases::new(operating.acts.clone(), live, answers))
}

fn passwords(settings: &Settings) -> Result<Passwords, Failure> {
    Ok(wiring::passwords(settings)?)
}

fn limits(settings: &Settings) -> UserLimits {
    UserLimits {
        daily_tokens: Some(settings.limits.quota.daily_tokens).filter(|tokens| *tokens > 0),
        max_kept_bytes: settings.limits.max_kept_bytes,
    }
}

async fn run(users: &UseCases, command: Users, operating: &Operating) -> Result<(), Failure> {
    let (settings, output) = (&operating.settings, operating.output);
    match command {
        Users::Create {
            email,
            name,
            admin,
            password,
        } => {
            let new = NewUser {
                email: email.0,
                password: password.read()?,
                name: name.and_then(|name| name.0),
                is_admin: admin,
            };
            let id = users.create(&new, &passwords(settings)?).await?;
            output.value(&json!({ "id": id }), |_| format!("user {id} is made"))
        }
        Users::List {
            search,
            suspended,
            admin,
            page,
        } => {
            let which = KnownUsers {
                // As addresses are stored.
                prefix: search
                    .map(|prefix| prefix.trim().to_lowercase())
                    .filter(|prefix| !prefix.is_empty()),
                only_suspended: suspended,
                only_admins: admin,
                before: page.after()?.map(UserId),
            };
            let listed = users.list(&which, page.limit).await?;
            output.page(listed, |user| user.id.0, text::list)
        }
        Users::Show { user } => {
            let shown = users.show(&user.into_user(), limits(settings)).await?;
            output.value(&shown, text::details)
        }
        Users::Suspend { user, reason } => {
            let suspended = users.suspend(&user.into_user(), &reason.0).await?;
            output.value(&suspended, text::suspended)
        }
        Users::Restore { user } => {
            let restored = users.restore(&user.into_user()).await?;
            output.value(&restored, |restored| {
                text::changed(restored, "not suspended any more", "not suspended")
            })
        }
        Users::SetPassword { user, password } => {
            let password = password.read()?;
            let set = users
                .set_password(&user.into_user(), &password, &passwords(settings)?)
                .await?;
            output.value(&set, text::signed_out)
        }
        Users::Promote { user } => {
            let promoted = users.promote(&user.into_user()).await?;
            output.value(&promoted, |promoted| {
                text::changed(promoted, "an admin now", "an admin already")
            })
        }
        Users::Demote { user } => {
            let demoted = users.demote(&user.into_user()).await?;
            output.value(&demoted, |demoted| {
                text::changed(demoted, "no admin any more", "no admin")
            })
        }
        Users::SignOut { user } => {
            let signed_out = users.sign_out(&user.into_user()).await?;
            output.value(&signed_out, text::signed_out)
        }
        Users::Delete { user, wait } => {
            output.confirm("this erases the account and all data of its user, for good")?;
            let erasure = users.delete(&user.into_user()).await?;
            erasing::follow(erasure, wait, output).await
        }
        Users::VerifyErased { id } => verify(users, UserId(id), settings, output).await,
    }
}

async fn verify(users: &UseCases, id: UserId, settings: &Settings, output: Output) -> Result<(), Failure> {
    let store = wiring::file_store_if_there(settings).unwrap_or_else(|error| {
        tracing::warn!(%error, "the file store cannot be asked");
        None
    });
    let leftovers = users.find_leftovers(id, store.as_ref()).await?;
    output.value(&leftovers, text::leftovers)?;
    judge(&leftovers)
}

fn judge(leftovers: &Leftovers) -> Result<(), Failure> {
    let id = leftovers.id;
    if !leftovers.is_erased {
        let left = Failure::new(Exit::No, "not_erased", format!("something is left of user {id}"));
        return Err(left.cure(format!(
            "if the account is being erased, wait for its job; else `cura-admin users delete {id}` erases it"
        )));
    }
    if leftovers.unchecked.contains(&"redis") {
        let unchecked = Failure::new(Exit::Away, "redis_away", "Redis could not be looked through");
        return Err(unchecked.cure("run the command again when it is back, with a user of Redis that may SCAN"));
    }
    Ok(())
}
