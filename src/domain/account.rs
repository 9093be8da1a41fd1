//! The rules for e-mail addresses, passwords and names.

use std::fmt;
use std::sync::LazyLock;

use thiserror::Error;

use crate::text::{composed, is_blank, is_mark, is_virama};

/// The longest address SMTP can carry in a path, RFC 5321 §4.5.3.1.3 (256 octets with the angle brackets).
const MAX_EMAIL_BYTES: usize = 254;
/// The longest part before the `@`, RFC 5321 §4.5.3.1.1.
const MAX_LOCAL_BYTES: usize = 64;
/// Shortest and longest password, in characters, as the contract says.
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
/// The longest name of a user, in characters.
pub const MAX_NAME_CHARS: usize = 100;
/// The longest name of a device, in characters.
pub const MAX_DEVICE_NAME_CHARS: usize = 255;

/// The passwords of 8 characters or more among the 20,000 most used ones, in lower case, sorted by their bytes. From
/// Django's `common-passwords.txt` (BSD licence, collected by Royce Williams).
static COMMON_PASSWORDS: LazyLock<Vec<&str>> =
    LazyLock::new(|| include_str!("data/common_passwords.txt").lines().collect());

/// An address, trimmed, in Unicode's composed form (NFC, which RFC 6532 asks for) and lower case, an international domain in its
/// ASCII form (UTS 46): two spellings of one mailbox are equal. Letters that merely look alike, or that only some languages take for
/// the same (`İ` and `I`, `ß` and `ss`), are other mailboxes: equating them would open one person's account to another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

/// Why a text is not an accepted e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidEmail {
    /// Not `local@domain.tld`, or with characters that addresses do not have.
    #[error("must be an e-mail address")]
    Malformed,
    /// Longer than [`MAX_EMAIL_BYTES`] octets, or more than [`MAX_LOCAL_BYTES`] before the `@`.
    #[error("must have at most {MAX_EMAIL_BYTES} bytes, {MAX_LOCAL_BYTES} of them before the @")]
    TooLong,
}

impl Email {
    /// Normalises and checks `raw`.
    ///
    /// # Errors
    /// [`InvalidEmail`] when it is not `local@domain.tld` within the limits of RFC 5321, without quotes or comments, at a
    /// domain that IDNA allows.
    pub fn new(raw: &str) -> Result<Self, InvalidEmail> {
        let raw = raw.trim();
        if raw.len() > MAX_EMAIL_BYTES {
            return Err(InvalidEmail::TooLong);
        }
        let (local, domain) = raw.rsplit_once('@').ok_or(InvalidEmail::Malformed)?;
        // Letter by letter, because a final sigma has its own lower case; and lower case may decompose a letter.
        let lower = composed(local).chars().flat_map(char::to_lowercase).collect::<String>();
        let local = composed(&lower.replace('ς', "σ"));
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail::Malformed)?;
        let email = format!("{local}@{domain}");
        // A top-level domain has a letter (RFC 3696, section 2): no IP addresses, no trailing dot.
        let top_ok = domain
            .rsplit_once('.')
            .is_some_and(|(_, top)| top.bytes().any(|byte| byte.is_ascii_alphabetic()));
        if !top_ok || !is_local_part(&local) {
            return Err(InvalidEmail::Malformed);
        }
        if local.len() > MAX_LOCAL_BYTES || email.len() > MAX_EMAIL_BYTES {
            return Err(InvalidEmail::TooLong);
        }
        Ok(Self(email))
    }

    /// The normalised address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `local` is a dot-atom (RFC 5322) whose words may have letters of every script (RFC 6531): with marks, such as the vowel signs
/// of Devanagari or the dot of `İ` in lower case, and with the invisible joiners that some scripts are spelled with.
fn is_local_part(local: &str) -> bool {
    local.split('.').all(|word| {
        let mut before = None;
        !word.is_empty()
            && word.chars().all(|c| {
                let follows = before.replace(c);
                match c {
                    c if is_mark(c) => follows.is_some_and(|c| c.is_alphanumeric() || is_mark(c) || is_joiner(c)),
                    c if is_joiner(c) => follows.is_some_and(|before| joins_after(before, c)),
                    c => c.is_alphanumeric() || "!#$%&'*+/=?^_`{|}~-".contains(c),
                }
            })
            && before.is_some_and(|last| !is_joiner(last))
    })
}

/// Zero width non-joiner and zero width joiner.
const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Where a joiner changes what is written, as for domains (RFC 5892, appendix A.1 and A.2): after a virama, and the non-joiner between
/// letters of the Arabic script. Elsewhere two addresses would look the same.
fn joins_after(before: char, joiner: char) -> bool {
    is_virama(before) || (joiner == '\u{200c}' && matches!(before, '\u{620}'..='\u{6d3}' | '\u{750}'..='\u{77f}'))
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

/// The name of a user: trimmed, no control characters, at most [`MAX_NAME_CHARS`] characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// The name of a device: trimmed, no control characters, at most [`MAX_DEVICE_NAME_CHARS`] characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceName(String);

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidName {
    /// Longer than this many characters.
    #[error("must have at most {0} characters")]
    TooLong(usize),
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
        Ok(checked_name(raw, MAX_NAME_CHARS)?.map(Self))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DeviceName {
    /// Checks `raw`; `None` if it is blank.
    ///
    /// # Errors
    /// [`InvalidName`] names the rule it breaks.
    pub fn new(raw: &str) -> Result<Option<Self>, InvalidName> {
        Ok(checked_name(raw, MAX_DEVICE_NAME_CHARS)?.map(Self))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn checked_name(raw: &str, max: usize) -> Result<Option<String>, InvalidName> {
    let name = raw.trim();
    if name.chars().any(char::is_control) {
        return Err(InvalidName::Control);
    }
    if name.chars().nth(max).is_some() {
        return Err(InvalidName::TooLong(max));
    }
    Ok((!is_blank(name)).then(|| name.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A normalised address is its own normal form, from any spelling, and has an ASCII domain.
        #[test]
        fn an_address_is_normalised_once(local in "[a-zA-ZÄÖÜäöüßΣςéИж0-9.+_İı\\u{307}\\u{323}हि्ज़\\u{200d}-]{1,20}", domain in "[a-zA-Zäßñж0-9-]{1,12}") {
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
            ("İsmail@example.org", "i\u{307}smail@example.org"),
            ("I\u{307}SMAI\u{307}L@example.org", "i\u{307}smai\u{307}l@example.org"),
            ("हिन्दी@EXAMPLE.org", "हिन्दी@example.org"),
            ("ज़ुल्फ़ी@example.org", "ज़ुल्फ़ी@example.org"),
            ("ณัฐ์@example.org", "ณัฐ์@example.org"),
            ("தமிழ்@இந்தியா.example", "தமிழ்@xn--xkc2dl3a5ee0h.example"),
            ("علی\u{200c}رضا@example.org", "علی\u{200c}رضا@example.org"),
            ("ශ්\u{200d}රී@example.org", "ශ්\u{200d}රී@example.org"),
            ("用户@例え.jp", "用户@xn--r8jz45g.jp"),
            ("VIỆT.E\u{302}\u{323}@example.org", "việt.ệ@example.org"),
        ] {
            assert_eq!(Email::new(spelling).unwrap().as_str(), email, "{spelling:?}");
        }
    }

    #[test]
    fn mailboxes_that_only_look_alike_are_other_mailboxes() {
        let email = |local: &str| Email::new(&format!("{local}@example.org")).unwrap();
        for (one, other) in [
            ("İsmail", "ismail"),
            ("ısmail", "ismail"),
            ("straße", "strasse"),
            ("ﬁn", "fin"),
        ] {
            assert_ne!(email(one), email(other));
        }
    }

    #[test]
    fn an_address_is_measured_in_bytes() {
        let long = |local: &str, times| Email::new(&format!("{}@example.org", local.repeat(times)));
        assert!(long("a", 64).is_ok() && long("ह", 21).is_ok());
        assert_eq!(long("a", 65), Err(InvalidEmail::TooLong));
        assert_eq!(long("ह", 22), Err(InvalidEmail::TooLong));
        assert_eq!(long("a", 250), Err(InvalidEmail::TooLong));
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
            ".a@b.de",
            "a.@b.de",
            "a..b@b.de",
            "\u{301}a@b.de",
            "a.\u{301}b@b.de",
            "a\u{200d}b@b.de",
            "a\u{200c}b@b.de",
            "علی\u{200c}@example.org",
            "a\u{200b}b@b.de",
            "a\u{202e}b@b.de",
            "😀@b.de",
        ] {
            assert_eq!(Email::new(bad), Err(InvalidEmail::Malformed), "{bad:?}");
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
        assert_eq!(Name::new(&"x".repeat(101)), Err(InvalidName::TooLong(100)));
        assert_eq!(DeviceName::new(&"x".repeat(256)), Err(InvalidName::TooLong(255)));
        assert!(DeviceName::new(&"👋".repeat(255)).is_ok());
    }
}
