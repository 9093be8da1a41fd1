//! Operators, as the record of their acts names them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name of an operator, in characters.
const MAX_NAME_CHARS: usize = 200;

/// Who acts: what `CURA_OPERATOR` says, or the system's user and host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperatorName(String);

impl OperatorName {
    /// A name without control characters, shortened to 200 characters; `None` if nothing is left of it.
    pub fn new(text: &str) -> Option<Self> {
        let printable = text.chars().filter(|character| !character.is_control());
        let name: String = printable
            .collect::<String>()
            .trim()
            .chars()
            .take(MAX_NAME_CHARS)
            .collect();
        (!name.is_empty()).then_some(Self(name))
    }

    /// The name of a user of the system.
    pub fn of_system(user: &str, host: &str) -> Self {
        Self::new(&format!("{user}@{host}")).unwrap_or_else(|| Self("@".to_owned()))
    }

    /// The name of somebody at a page.
    pub fn of_page(who: &str) -> Self {
        Self::new(who).unwrap_or_else(|| Self("unknown".to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_printable_line() {
        let name = |text| OperatorName::new(text).map(|name| name.0);
        assert_eq!(name(" ada@host\n"), Some("ada@host".to_owned()));
        assert_eq!(name("ada\u{1b}[31m"), Some("ada[31m".to_owned()));
        assert_eq!((name(""), name(" \r\n")), (None, None));
        assert_eq!(name(&"ä".repeat(300)).map(|name| name.chars().count()), Some(200));
    }
}
