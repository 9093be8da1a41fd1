//! Encryption by age: for a public key, so that a machine which makes backups cannot read them.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::str::FromStr;

use age::{DecryptError, Decryptor, Encryptor, IdentityFile};
use thiserror::Error;

use crate::error::{ArchiveFault, BackupError, of_reading};

/// How every encrypted file begins.
const MAGIC: &[u8] = b"age-encryption.org/";
/// The largest file of identities.
const MAX_IDENTITY_BYTES: u64 = 64 * 1024;

/// For whom an archive is encrypted: a public key, `age1…`.
#[derive(Clone)]
pub struct Recipient(age::x25519::Recipient);

/// Not a public key of age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it is not a public key of age (age1…), as `age-keygen` prints it")]
pub struct InvalidRecipient;

impl FromStr for Recipient {
    type Err = InvalidRecipient;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim().parse().map(Self).map_err(|_| InvalidRecipient)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient")
    }
}

/// Secret keys with which archives are decrypted.
pub struct Identities(Vec<Box<dyn age::Identity + Send + Sync>>);

/// Not a file of secret keys of age.
#[derive(Debug, Error)]
pub enum InvalidIdentity {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is something else.
    #[error("it is not a file of secret keys of age, as `age-keygen -o FILE` writes it")]
    Other,
}

impl Identities {
    /// None: encrypted archives cannot be read.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Those of a file. Blocks.
    ///
    /// # Errors
    /// [`InvalidIdentity`]
    pub fn of_file(path: &Path) -> Result<Self, InvalidIdentity> {
        let file = File::open(path).map_err(InvalidIdentity::Unreadable)?;
        let read = IdentityFile::from_buffer(BufReader::new(file.take(MAX_IDENTITY_BYTES)));
        // Errors of age may repeat what the file holds.
        let identities = read.map_err(|_| InvalidIdentity::Other)?.into_identities();
        match identities {
            Ok(identities) if !identities.is_empty() => Ok(Self(identities)),
            _ => Err(InvalidIdentity::Other),
        }
    }
}

/// Where an archive is written: encrypted, or as it is.
pub(crate) enum Sealed<W: Write> {
    Plain(W),
    Age(age::stream::StreamWriter<W>),
}

impl<W: Write> Sealed<W> {
    /// Begins to write for this recipient.
    pub(crate) fn begin(output: W, recipient: Option<&Recipient>) -> io::Result<Self> {
        let Some(Recipient(recipient)) = recipient else {
            return Ok(Self::Plain(output));
        };
        let recipients = std::iter::once(recipient as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        encryptor.wrap_output(output).map(Self::Age)
    }

    /// Writes what is left; without it, the file is cut short.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(output) => Ok(output),
            Self::Age(stream) => stream.finish(),
        }
    }
}

impl<W: Write> Write for Sealed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(bytes),
            Self::Age(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.flush(),
            Self::Age(stream) => stream.flush(),
        }
    }
}

/// Opens an archive, whether encrypted or not.
pub(crate) fn open(mut file: impl Read + 'static, identities: &Identities) -> Result<Box<dyn Read>, BackupError> {
    let mut beginning = [0; MAGIC.len()];
    let mut read = 0;
    while read < beginning.len() {
        match file.read(&mut beginning[read..]).map_err(of_reading)? {
            0 => return Err(ArchiveFault::NotABackup.into()),
            more => read += more,
        }
    }
    let whole = io::Cursor::new(beginning).chain(file);
    if beginning != MAGIC {
        return Ok(Box::new(whole));
    }
    if identities.0.is_empty() {
        return Err(ArchiveFault::Encrypted.into());
    }
    let decryptor = Decryptor::new_buffered(BufReader::new(whole)).map_err(of_decrypting)?;
    let identities = identities.0.iter().map(|identity| &**identity as &dyn age::Identity);
    Ok(Box::new(decryptor.decrypt(identities).map_err(of_decrypting)?))
}

fn of_decrypting(error: DecryptError) -> BackupError {
    match error {
        DecryptError::NoMatchingKeys => ArchiveFault::OtherIdentity.into(),
        DecryptError::Io(error) => of_reading(error),
        _ => ArchiveFault::damaged("its encryption is not whole"),
    }
}
