//! Pushes to phones and browsers.

use std::path::PathBuf;

use chrono::TimeDelta;
use cura_domain::app_link::AppLink;
use cura_domain::push_endpoint::PushHosts;
use cura_domain::push_text::PushTexts;
use cura_providers::Secret;
use cura_providers::push::{FcmUrl, VapidKey, VapidSubject};
use secrecy::ExposeSecret;

use super::variables::{SettingError, Variables, read_file, wrong};

/// Section "Push".
#[derive(Debug, Clone)]
pub struct PushSettings {
    /// `FIREBASE_CREDENTIALS_PATH`
    pub firebase_credentials: Option<PathBuf>,
    /// `FCM_URL`
    pub fcm_url: FcmUrl,
    /// `VAPID_PRIVATE_KEY`
    pub vapid_key: Option<VapidKey>,
    /// `VAPID_SUBJECT`; there is one where there is a key.
    pub vapid_subject: Option<VapidSubject>,
    /// `WEBPUSH_HOSTS`
    pub hosts: PushHosts,
    /// `APP_LINK`
    pub app_link: Option<AppLink>,
    /// `PUSH_TEXTS_FILE`
    pub texts_file: Option<PathBuf>,
    /// `DEVICE_INACTIVE_DAYS`
    pub devices_unseen_after: TimeDelta,
}

impl PushSettings {
    pub(super) fn read(from: &Variables) -> Self {
        let hosts = PushHosts::parse(from.text("WEBPUSH_HOSTS").unwrap_or_default());
        let vapid_key = vapid_key(from);
        let vapid_subject = from.parsed_if_set("VAPID_SUBJECT");
        if vapid_key.is_some() && vapid_subject.is_none() {
            let cure = "set it to mailto: and your address, where operators of push services reach you";
            from.fault(
                "VAPID_SUBJECT",
                format!("is missing, and VAPID_PRIVATE_KEY is set; {cure}"),
            );
        }
        Self {
            firebase_credentials: from.text("FIREBASE_CREDENTIALS_PATH").map(PathBuf::from),
            fcm_url: from.parsed("FCM_URL", FcmUrl::default()),
            vapid_key,
            vapid_subject,
            hosts: hosts.unwrap_or_else(|error| {
                from.fault("WEBPUSH_HOSTS", format!("cannot be used: {error}"));
                PushHosts::default()
            }),
            app_link: from.parsed_if_set("APP_LINK"),
            texts_file: from.text("PUSH_TEXTS_FILE").map(PathBuf::from),
            devices_unseen_after: TimeDelta::days(from.within("DEVICE_INACTIVE_DAYS", 30, 1..=3650)),
        }
    }

    /// Whether nothing is pushed: no service is set.
    pub const fn is_off(&self) -> bool {
        self.firebase_credentials.is_none() && self.vapid_key.is_none()
    }

    /// The key file of Firebase's service account; `None` if no file is named.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn firebase_key(&self) -> Result<Option<Secret>, SettingError> {
        let Some(path) = &self.firebase_credentials else {
            return Ok(None);
        };
        read_file("FIREBASE_CREDENTIALS_PATH", path).map(|key| Some(key.into()))
    }

    /// The sentences of pushes: the operator's, or those that are compiled in.
    ///
    /// # Errors
    /// When the file cannot be read or is not valid.
    pub fn texts(&self) -> Result<PushTexts, SettingError> {
        let Some(path) = &self.texts_file else {
            return Ok(PushTexts::default());
        };
        PushTexts::parse(&read_file("PUSH_TEXTS_FILE", path)?)
            .map_err(|error| wrong("PUSH_TEXTS_FILE", format!("names a file that {error}")))
    }
}

fn vapid_key(from: &Variables) -> Option<VapidKey> {
    let private = from.secret("VAPID_PRIVATE_KEY")?;
    match VapidKey::parse(private.expose_secret()) {
        Ok(key) => Some(key),
        Err(error) => {
            let cure = "make one with `cura-admin secret --vapid`";
            from.fault("VAPID_PRIVATE_KEY", format!("cannot be used: {error}; {cure}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use cura_domain::push_text::AnswerOutcome;

    use super::*;

    const KEY: &str = "RS0WdYWWo1HajXg3NZR1olzCf31i-ZBGDkFyCs7j1jw";

    fn read(variables: &[(&str, &str)]) -> (PushSettings, String) {
        let variables = Variables::from(variables);
        let settings = PushSettings::read(&variables);
        let faults: Vec<_> = variables.take_faults().iter().map(ToString::to_string).collect();
        (settings, faults.join("\n"))
    }

    #[test]
    fn push_is_off_until_one_of_its_services_is_set() {
        let (settings, faults) = read(&[]);
        assert!(settings.is_off() && faults.is_empty(), "{faults}");
        assert!(settings.firebase_key().unwrap().is_none());
        assert!(!read(&[("FIREBASE_CREDENTIALS_PATH", "/nowhere")]).0.is_off());
        let (settings, faults) = read(&[("VAPID_PRIVATE_KEY", KEY), ("VAPID_SUBJECT", "mailto:push@example.org")]);
        assert!(!settings.is_off() && faults.is_empty(), "{faults}");
        let shown = format!("{settings:?}");
        assert!(!shown.contains(KEY), "{shown}");
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_repeated() {
        for (name, value) in [
            ("FCM_URL", "hunter2"),
            ("FCM_URL", "http://hunter2.example"),
            ("VAPID_PRIVATE_KEY", "hunter2"),
            ("VAPID_SUBJECT", "mailto:hunter2@localhost"),
            ("APP_LINK", "http://hunter2.example/{conversation_id}"),
            ("APP_LINK", "https://hunter2.example/"),
            ("DEVICE_INACTIVE_DAYS", "0"),
        ] {
            let (_, faults) = read(&[(name, value)]);
            assert!(faults.starts_with(name) && faults.lines().count() == 1, "{faults}");
            assert!(!faults.contains("hunter2"), "{faults}");
        }
        let (_, faults) = read(&[("VAPID_PRIVATE_KEY", KEY)]);
        assert!(
            faults.starts_with("VAPID_SUBJECT is missing") && !faults.contains(KEY),
            "{faults}"
        );
    }

    #[test]
    fn an_operator_writes_its_own_sentences() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.json");
        let texts = |content: &str| {
            std::fs::write(&path, content).unwrap();
            read(&[("PUSH_TEXTS_FILE", path.to_str().unwrap())]).0.texts()
        };
        let own = texts(r#"{"en": {"answer": "Ready.", "answer_failed": "Sorry."}}"#).unwrap();
        assert_eq!(own.sentence("de", AnswerOutcome::Completed), "Ready.");
        for bad in ["", r#"{"de": {"answer": "Fertig.", "answer_failed": "Leider nicht."}}"#] {
            let error = texts(bad).unwrap_err().to_string();
            assert!(error.starts_with("PUSH_TEXTS_FILE names a file that "), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let missing = read(&[("PUSH_TEXTS_FILE", path.to_str().unwrap())])
            .0
            .texts()
            .unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("PUSH_TEXTS_FILE names a file that cannot be read")
        );
    }
}
