//! The rules for e-mail addresses, passwords and names.

use std::fmt;
use std::sync::LazyLock;

use thiserror::Error;

use crate::text::{composed, is_blank};

/// The longest address SMTP can carry in a path, RFC 5321 §4.5.3.1.3 (256 octets with the angle brackets).
const MAX_EMAIL_BYTES: usize = 254;
/// The longest part before the `@`, RFC 5321 §4.5.3.1.1.
const MAX_LOCAL_BYTES: usize = 64;
/// Shortest and longest password, in characters, as the contract says.
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
/// The longest name of a user or a device, in characters.
pub const MAX_NAME_CHARS: usize = 100;

/// The passwords of 8 characters or more among the 20,000 most used ones, in lower case, sorted by their bytes. From
/// Django's `common-passwords.txt` (BSD licence, collected by Royce Williams).
static COMMON_PASSWORDS: LazyLock<Vec<&str>> =
    LazyLock::new(|| include_str!("data/common_passwords.txt").lines().collect());

/// An address, trimmed, in Unicode's composed form and lower case, an international domain in its ASCII form (UTS 46):
/// two spellings of one mailbox are equal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

/// The text is not an accepted e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be an e-mail address")]
pub struct InvalidEmail;

impl Email {
    /// Normalises and checks `raw`.
    ///
    /// # Errors
    /// [`InvalidEmail`] when it is not `local@domain.tld` within the limits of RFC 5321, without quotes or comments, at a
    /// domain that IDNA allows.
    pub fn new(raw: &str) -> Result<Self, InvalidEmail> {
        let raw = raw.trim();
        if raw.len() > MAX_EMAIL_BYTES {
            return Err(InvalidEmail);
        }
        let (local, domain) = raw.rsplit_once('@').ok_or(InvalidEmail)?;
        // Letter by letter, because a final sigma has its own lower case; and lower case may decompose a letter.
        let lower = composed(local).chars().flat_map(char::to_lowercase).collect::<String>();
        let local = composed(&lower.replace('ς', "σ"));
        let local_ok = !local.is_empty()
            && local.len() <= MAX_LOCAL_BYTES
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && local
                .chars()
                .all(|c| c.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c));
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail)?;
        let email = format!("{local}@{domain}");
        // A top-level domain has a letter (RFC 3696, section 2): no IP addresses, no trailing dot.
        let top_ok = domain
            .rsplit_once('.')
            .is_some_and(|(_, top)| top.bytes().any(|byte| byte.is_ascii_alphabetic()));
        if local_ok && top_ok && email.len() <= MAX_EMAIL_BYTES {
            Ok(Self(email))
        } else {
            Err(InvalidEmail)
        }
    }

    /// The normalised address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Redacted, so that addresses never reach logs.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

/// A password to set: 8–128 characters, and not one of the most used passwords, which attackers try first.
#[derive(Clone, PartialEq, Eq)]
pub struct NewPassword(String);

/// Why a password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WeakPassword {
    /// Fewer than 8 characters.
    #[error("must have at least 8 characters")]
    TooShort,
    /// More than 128 characters.
    #[error("must have at most 128 characters")]
    TooLong,
    /// One of the most used passwords.
    #[error("is one of the most used passwords, which are tried first")]
    Common,
}

impl NewPassword {
    /// Checks `raw` and keeps every character, in composed form: two systems may encode the same letters differently.
    ///
    /// # Errors
    /// [`WeakPassword`] names the rule it breaks.
    pub fn new(raw: &str) -> Result<Self, WeakPassword> {
        let raw = composed(raw);
        let chars = raw.chars().count();
        if chars < *PASSWORD_CHARS.start() {
            Err(WeakPassword::TooShort)
        } else if chars > *PASSWORD_CHARS.end() {
            Err(WeakPassword::TooLong)
        } else if COMMON_PASSWORDS.binary_search(&raw.to_lowercase().as_str()).is_ok() {
            Err(WeakPassword::Common)
        } else {
            Ok(Self(raw))
        }
    }

    /// `raw` in the form in which a password is hashed.
    pub fn normalized(raw: &str) -> String {
        composed(raw)
    }

    /// The password in clear.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword(…)")
    }
}

/// The name of a user or a device: trimmed, no control characters, at most [`MAX_NAME_CHARS`] characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidName {
    /// Longer than [`MAX_NAME_CHARS`] characters.
    #[error("must have at most {MAX_NAME_CHARS} characters")]
    TooLong,
    /// Holds control characters.
    #[error("must not contain control characters")]
    Control,
}

impl Name {
    /// Checks `raw`; `None` if it is blank.
    ///
    /// # Errors
    /// [`InvalidName`] names the rule it breaks.
    pub fn new(raw: &str) -> Result<Option<Self>, InvalidName> {
        let name = raw.trim();
        if name.chars().any(char::is_control) {
            return Err(InvalidName::Control);
        }
        if name.chars().nth(MAX_NAME_CHARS).is_some() {
            return Err(InvalidName::TooLong);
        }
        Ok((!is_blank(name)).then(|| Self(name.to_owned())))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A normalised address is its own normal form, from any spelling, and has an ASCII domain.
        #[test]
        fn an_address_is_normalised_once(local in "[a-zA-ZÄÖÜäöüßΣςéИж0-9.+_-]{1,20}", domain in "[a-zA-Zäßñж0-9-]{1,12}") {
            if let Ok(email) = Email::new(&format!(" {local}@{domain}.Example ")) {
                prop_assert_eq!(Email::new(email.as_str()), Ok(email.clone()));
                prop_assert!(email.as_str().split('@').nth(1).is_some_and(|domain| domain.is_ascii()));
                prop_assert_eq!(Email::new(&email.as_str().to_uppercase().replace("SS", "ss")).is_ok(), true);
            }
        }

        #[test]
        fn any_text_is_accepted_in_normal_form_or_refused(typed in "\\PC{0,60}", at in 0_usize..60) {
            let mut typed: Vec<char> = typed.chars().collect();
            typed.insert(at.min(typed.len()), '@');
            if let Ok(email) = Email::new(&typed.into_iter().collect::<String>()) {
                prop_assert_eq!(Email::new(email.as_str()), Ok(email.clone()));
            }
        }
    }

    #[test]
    fn spellings_of_one_mailbox_are_equal() {
        for (spelling, email) in [
            ("  Ann@Example.ORG ", "ann@example.org"),
            ("\u{a0}ann@example.org\t", "ann@example.org"),
            ("ann@BÜCHER.example", "ann@xn--bcher-kva.example"),
            ("ann@bu\u{308}cher.example", "ann@xn--bcher-kva.example"),
            ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
            ("ann@example。org", "ann@example.org"),
            ("JU\u{308}RGEN@example.org", "jürgen@example.org"),
            ("ΟΔΥΣΣΕΥΣ@example.org", "οδυσσευσ@example.org"),
            ("οδυσσευς@example.org", "οδυσσευσ@example.org"),
        ] {
            assert_eq!(Email::new(spelling).unwrap().as_str(), email, "{spelling:?}");
        }
    }

    #[test]
    fn the_list_of_common_passwords_can_be_searched() {
        assert!(COMMON_PASSWORDS.len() > 8000 && COMMON_PASSWORDS.is_sorted());
        for common in ["password", "PassWord1", "iloveyou", "qwertyuiop"] {
            assert_eq!(NewPassword::new(common), Err(WeakPassword::Common), "{common}");
        }
    }

    #[test]
    fn texts_that_are_no_address_are_refused() {
        let long = format!("{}@example.org", "a".repeat(65));
        for bad in [
            "",
            "a",
            "@b.c",
            "a@",
            "a@b",
            "a@-b.c",
            "a@b..c",
            "a b@c.de",
            "a\0@b.de",
            "<a@b.de>",
            "a@xn--a.de",
            "a@b.de.",
            "a@192.0.2.1",
            "a@exa_mple.org",
            "a@b@c.de\n.",
            &long,
        ] {
            assert_eq!(Email::new(bad), Err(InvalidEmail), "{bad:?}");
        }
    }

    #[test]
    fn passwords_are_counted_in_characters_and_the_same_on_every_system() {
        assert_eq!(
            NewPassword::new("scho\u{308}nes wetter"),
            NewPassword::new("schönes wetter")
        );
        assert_eq!(NewPassword::new(&"ü".repeat(7)), Err(WeakPassword::TooShort));
        assert!(NewPassword::new(&"ü".repeat(8)).is_ok());
        assert_eq!(NewPassword::new(&"x".repeat(129)), Err(WeakPassword::TooLong));
    }

    #[test]
    fn secrets_do_not_print() {
        let email = Email::new("ann@example.org").unwrap();
        let password = NewPassword::new("correct horse").unwrap();
        assert_eq!(format!("{email:?} {password:?}"), "Email(…) NewPassword(…)");
    }

    #[test]
    fn a_blank_name_is_no_name() {
        assert_eq!(Name::new("  "), Ok(None));
        assert_eq!(Name::new("a\nb"), Err(InvalidName::Control));
        assert_eq!(Name::new(&"x".repeat(101)), Err(InvalidName::TooLong));
    }
}
