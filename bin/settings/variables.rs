//! Reading one variable after the other.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use super::{Secret, SettingError, wrong};

/// Variables and their values. Remembers, for the tests, what it was asked for.
pub(super) struct Variables {
    given: HashMap<String, String>,
    #[cfg(test)]
    asked: std::cell::RefCell<std::collections::BTreeSet<String>>,
}

impl From<HashMap<String, String>> for Variables {
    fn from(given: HashMap<String, String>) -> Self {
        Self {
            given,
            #[cfg(test)]
            asked: std::cell::RefCell::default(),
        }
    }
}

impl Variables {
    /// A set and non-empty variable: `NAME=` in a file means "not set".
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        #[cfg(test)]
        self.asked.borrow_mut().insert(name.to_owned());
        self.given
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::from)
    }

    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(
        &self,
        name: &'static str,
        default: T,
    ) -> Result<T, SettingError> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|error| wrong(name, format!("cannot be used: {error}"))),
        }
    }

    pub(super) fn within<T>(
        &self,
        name: &'static str,
        default: T,
        range: std::ops::RangeInclusive<T>,
    ) -> Result<T, SettingError>
    where
        T: FromStr<Err: fmt::Display> + PartialOrd + fmt::Display,
    {
        let value = self.parsed(name, default)?;
        if range.contains(&value) {
            return Ok(value);
        }
        Err(wrong(
            name,
            format!("must be from {} to {}", range.start(), range.end()),
        ))
    }

    /// Every name that was asked for.
    #[cfg(test)]
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.borrow().iter().cloned().collect()
    }
}
