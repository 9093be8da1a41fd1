//! Push services, as the settings say.

use cura_app::devices::PushServices;
use cura_providers::push::{Fcm, PushProviders, WebPush};

use super::clock_and_entropy::clock;
use crate::settings::{Environment, SettingError, Settings, wrong};

/// The configured push services; none of them if push is off.
///
/// # Errors
/// When `FIREBASE_CREDENTIALS_PATH` names a file that is no key of a service account, or no client can be built.
pub fn push_providers(settings: &Settings) -> Result<PushProviders, SettingError> {
    Ok(PushProviders::new(fcm(settings)?, web(settings)?))
}

/// Says at the start if push is off, and what would turn it on.
pub fn report_push(settings: &Settings) {
    if settings.push.is_off() {
        tracing::info!("push is off: neither FIREBASE_CREDENTIALS_PATH nor VAPID_PRIVATE_KEY is set");
    }
}

/// What clients are told of push.
pub(super) fn push_services(settings: &Settings) -> Result<PushServices, SettingError> {
    let providers = push_providers(settings)?;
    Ok(PushServices {
        firebase_project: providers.fcm().map(|fcm| fcm.project().to_owned()),
        web_push_key: providers.web().map(|web| web.public_key().to_vec()),
        hosts: settings.push.hosts.clone(),
        allows_tests: settings.process.environment != Environment::Production,
    })
}

/// What is wrong with the settings of push, their values aside.
pub(super) fn push_faults(settings: &Settings) -> impl Iterator<Item = SettingError> + use<> {
    let faults = [fcm(settings).err(), web(settings).err(), settings.push.texts().err()];
    faults.into_iter().flatten()
}

fn fcm(settings: &Settings) -> Result<Option<Fcm>, SettingError> {
    let Some(key) = settings.push.firebase_key()? else {
        return Ok(None);
    };
    Fcm::new(key, &settings.push.fcm_url, clock())
        .map(Some)
        .map_err(|error| wrong("FIREBASE_CREDENTIALS_PATH", format!("names a file that {error}")))
}

fn web(settings: &Settings) -> Result<Option<WebPush>, SettingError> {
    let push = &settings.push;
    let Some((key, subject)) = push.vapid_key.clone().zip(push.vapid_subject.clone()) else {
        return Ok(None);
    };
    WebPush::new(key, subject, push.hosts.clone(), push.app_link.clone(), clock())
        .map(Some)
        .map_err(|error| wrong("VAPID_PRIVATE_KEY", format!("cannot be used: {error}")))
}
