//! The use cases of the API, with everything they need.

use std::num::NonZeroU32;

use cura_answers::Answers;
use cura_app::accounts::Accounts;
use cura_app::announcements::Announcements;
use cura_app::auth_tokens::Tokens;
use cura_app::chat::Chat;
use cura_app::conversations::Conversations;
use cura_app::devices::Devices;
use cura_app::exports::Exports;
use cura_app::feed::Feed;
use cura_app::files::{Avatars, FileLinks, Files, FilesConfig};
use cura_app::health::Health;
use cura_app::messages::Messages;
use cura_app::operate::page_sessions::PageSessions;
use cura_app::operator_changes::OperatorChanges;
use cura_app::passwords::Passwords;
use cura_app::profile::Profile;
use cura_app::session_watch::SessionWatch;
use cura_app::sessions::Sessions;
use cura_app::sign_in_guard::{SignInGuard, SignInWaits};
use cura_app::switches::Switches;
use cura_app::{App, Notices, Services};
use cura_care::CareRules;
use cura_live::Live;
use cura_providers::ai::Ai;
use cura_providers::files::FileStore;
use cura_store::Database;

use super::clock_and_entropy::{clock, entropy};
use super::files::arrivals;
use super::push::push_services;
use crate::build_info::COMMIT;
use crate::program::StartError;
use crate::settings::{FileDelivery, Settings, wrong};

/// The use cases of the API.
///
/// # Errors
/// When argon2 refuses the cost of a password hash, or the care rules or a push service cannot be used.
pub fn app(settings: &Settings, database: Database, live: Live, ai: Ai, store: FileStore) -> Result<App, StartError> {
    let (clock, entropy) = (clock(), entropy());
    let tokens = Tokens::new(settings.security.secret_keys(), settings.security.token_lifetimes);
    let sessions = Sessions::new(database.clone(), clock.clone(), entropy.clone(), tokens);
    let passwords = passwords(settings)?;
    let notices = Notices::new(care_rules(settings)?);
    let links = FileLinks::new(settings.security.secret_keys(), clock.clone());
    let messages = Messages::new(database.clone(), live.clone(), notices.clone(), links.clone());
    let feed = Feed::new(
        database.clone(),
        live.clone(),
        entropy.clone(),
        notices.clone(),
        links.clone(),
    );
    let services = push_services(settings)?;
    let (switches, announcements) = (Switches::default(), Announcements::new(clock.clone()));
    let files = Files::new(
        database.clone(),
        live.clone(),
        clock.clone(),
        entropy.clone(),
        links,
        FilesConfig {
            store: store.clone(),
            arrivals: arrivals(settings)?,
            max_kept_bytes: settings.limits.max_kept_bytes,
            redirects: settings.files.delivery == FileDelivery::Redirect,
        },
    );
    let accounts = Accounts::new(
        database.clone(),
        live.clone(),
        clock.clone(),
        passwords,
        sessions.clone(),
        SignInGuard::new(
            settings.security.secret_keys(),
            // As many failures are free as tries by address.
            NonZeroU32::new(settings.limits.rates.auth).map(|free| SignInWaits::new(&live, free)),
        ),
    );
    Ok(App::new(Services {
        page_sessions: PageSessions::new(database.clone(), clock.clone(), accounts.clone(), sessions.clone()),
        accounts,
        session_watch: SessionWatch::new(database.clone(), clock.clone(), sessions.cache().clone()),
        sessions,
        profile: Profile::new(database.clone(), clock.clone()),
        conversations: Conversations::new(database.clone(), live.clone(), clock.clone()),
        chat: Chat::new(
            answers(settings, database.clone(), live.clone(), &ai),
            (settings.limits.quota, ai.file_rules()),
            notices.clone(),
            messages.clone(),
            feed.clone(),
        ),
        messages,
        feed,
        devices: Devices::new(database.clone(), clock.clone(), services.clone()),
        avatars: Avatars::new(files.clone()),
        files,
        exports: Exports::new(database.clone(), clock.clone(), store.clone()),
        health: Health::new(
            database.clone(),
            live.clone(),
            ai.clone(),
            services,
            store,
            settings.files.clamd.is_some(),
            settings.process.data_dir.clone(),
            COMMIT,
        ),
        clock,
        entropy,
        notices,
        operator_changes: OperatorChanges::new(database, switches.clone(), announcements.clone()),
        switches,
        announcements,
    }))
}

/// Hashes passwords at the cost that the settings say.
///
/// # Errors
/// When argon2 refuses that cost.
pub fn passwords(settings: &Settings) -> Result<Passwords, StartError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Passwords::new(settings.security.password_hash, cores, entropy()).map_err(|_| {
        wrong(
            "PASSWORD_HASH_MEMORY_KIB",
            "and PASSWORD_HASH_PASSES are no cost argon2 takes",
        )
        .into()
    })
}

fn care_rules(settings: &Settings) -> Result<CareRules, StartError> {
    match settings.care.operator_rules()? {
        Some(rules) => Ok(rules),
        None => CareRules::built_in().map_err(|error| StartError::Other(error.to_string())),
    }
}

/// The life of answers. A lost attempt that saved no model counts for the provider that is asked first.
pub fn answers(settings: &Settings, database: Database, live: Live, ai: &Ai) -> Answers {
    let running_answers = settings.limits.quota.running_answers;
    let model = ai.primary_model().clone();
    Answers::new(database, live, clock(), model, running_answers, !settings.push.is_off())
}
