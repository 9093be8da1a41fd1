//! What kind of deployment this process belongs to, where it keeps data, and how it stops.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use cura_domain::operator::OperatorName;

use super::variables::Variables;

/// Section "Process".
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// `ENVIRONMENT`
    pub environment: Environment,
    /// `DATA_DIR`
    pub data_dir: PathBuf,
    /// `CURA_OPERATOR`
    pub operator: Option<OperatorName>,
    /// `SHUTDOWN_GRACE_SECONDS`
    pub shutdown_grace: Duration,
}

impl ProcessSettings {
    pub(super) fn read(from: &Variables) -> Self {
        Self {
            environment: from.parsed("ENVIRONMENT", Environment::Development),
            data_dir: from
                .text("DATA_DIR")
                .map_or_else(cura_devdb::default_data_root, PathBuf::from),
            operator: from.text("CURA_OPERATOR").and_then(OperatorName::new),
            shutdown_grace: Duration::from_secs(from.within("SHUTDOWN_GRACE_SECONDS", 20, 0..=600)),
        }
    }
}

/// Where Cura runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine: unset settings have defaults.
    Development,
    /// Like production, but the demo may answer.
    Staging,
    /// Real users: unsafe or missing settings are refused.
    Production,
}

impl FromStr for Environment {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "development" => Ok(Self::Development),
            "staging" => Ok(Self::Staging),
            "production" => Ok(Self::Production),
            _ => Err("it is one of development, staging, production"),
        }
    }
}

impl Environment {
    /// The word in `ENVIRONMENT`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}
