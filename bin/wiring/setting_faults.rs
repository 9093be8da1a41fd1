//! What is wrong with the settings of a program, as far as can be known without asking anybody: all of it, before anything starts.

use cura_live::check_redis_url;

use super::dependencies::{ai_providers, no_redis_url, postgres_url};
use super::files::file_fault;
use super::push::push_faults;
use crate::settings::{SettingError, Settings};
use crate::telemetry;

/// What keeps `cura-server` from starting.
pub fn faults_of_server(settings: &Settings) -> Vec<SettingError> {
    let missing = missing_dependencies(settings);
    let own = settings.care.operator_rules().err();
    missing
        .chain(of_dependencies(settings))
        .chain(own)
        .chain(super::board_missing(settings))
        .collect()
}

/// What keeps `cura-worker` from starting.
pub fn faults_of_worker(settings: &Settings) -> Vec<SettingError> {
    let missing = missing_dependencies(settings);
    let own = settings.assistant.persona().err();
    missing.chain(of_dependencies(settings)).chain(own).collect()
}

/// What keeps `cura-server dev` from starting: it needs no setting, but those that are there must be right.
pub fn faults_of_dev(settings: &Settings) -> Vec<SettingError> {
    let care = settings.care.operator_rules().err();
    let persona = settings.assistant.persona().err();
    of_dependencies(settings)
        .chain(care)
        .chain(persona)
        .chain(super::board_missing(settings))
        .collect()
}

fn missing_dependencies(settings: &Settings) -> impl Iterator<Item = SettingError> + use<> {
    let missing = [settings.database.url().err(), settings.redis.url().err()];
    missing.into_iter().flatten()
}

/// The faults of what is set.
fn of_dependencies(settings: &Settings) -> impl Iterator<Item = SettingError> + use<> {
    let of = &settings.database;
    let urls = [
        ("DATABASE_URL", of.url().ok()),
        ("DATABASE_DIRECT_URL", of.direct_url()),
    ];
    let mut faults: Vec<SettingError> = urls
        .into_iter()
        .filter_map(|(name, url)| postgres_url(name, url?).err())
        .collect();
    let redis = settings.redis.url().ok();
    faults.extend(redis.and_then(|url| check_redis_url(url).err()).map(|_| no_redis_url()));
    faults.extend(ai_providers(settings).filter_map(Result::err));
    faults.extend(push_faults(settings));
    faults.extend(file_fault(settings));
    faults.extend(telemetry::faults(settings));
    faults.into_iter()
}
