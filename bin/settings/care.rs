//! The rules that recognise acute danger in a message.

use std::path::PathBuf;

use cura_care::CareRules;

use super::variables::{SettingError, Variables, read_file, wrong};

/// Section "Care".
#[derive(Debug, Clone)]
pub struct CareSettings {
    /// `CARE_RULES_FILE`
    pub rules_file: Option<PathBuf>,
}

impl CareSettings {
    pub(super) fn read(from: &Variables) -> Self {
        Self {
            rules_file: from.text("CARE_RULES_FILE").map(PathBuf::from),
        }
    }

    /// The operator's rules; `None` if no file is named.
    ///
    /// # Errors
    /// When the file cannot be read or is not valid.
    pub fn operator_rules(&self) -> Result<Option<CareRules>, SettingError> {
        let Some(path) = &self.rules_file else {
            return Ok(None);
        };
        CareRules::parse(&read_file("CARE_RULES_FILE", path)?)
            .map(Some)
            .map_err(|error| wrong("CARE_RULES_FILE", format!("cannot be used: {error}")))
    }
}
