//! A file on its way from a client: written to a file without a name, which is gone when nobody holds it, and hashed on the way.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// How much is written at once, in bytes: writing leaves the async thread.
const PIECE: usize = 64 * 1024;

/// A file that arrives.
pub struct Arrival {
    folder: Arc<PathBuf>,
    /// What is not written yet.
    buffer: Vec<u8>,
    written: Option<Written>,
    size: u64,
}

/// What is on the disk.
struct Written {
    file: File,
    hash: Sha256,
}

/// A file that has arrived.
#[derive(Debug)]
pub struct Arrived {
    /// Its bytes, in a file without a name.
    pub content: File,
    /// In bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

impl Arrival {
    pub(super) fn new(folder: Arc<PathBuf>) -> Self {
        Self {
            folder,
            buffer: Vec::new(),
            written: None,
            size: 0,
        }
    }

    /// How many bytes have arrived.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes. Holds 64 KiB of them at most, and what is given at once.
    ///
    /// # Errors
    /// When the folder is full or cannot be written.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.size += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush().await?;
        }
        Ok(())
    }

    /// The file, once nothing more comes.
    ///
    /// # Errors
    /// As of [`Self::write`].
    pub async fn end(mut self) -> io::Result<Arrived> {
        self.flush().await?;
        let written = self.written.ok_or_else(interrupted)?;
        Ok(Arrived {
            content: written.file,
            size: self.size,
            sha256: written.hash.finalize().into(),
        })
    }

    async fn flush(&mut self) -> io::Result<()> {
        let (folder, mut buffer, written) = (
            Arc::clone(&self.folder),
            std::mem::take(&mut self.buffer),
            self.written.take(),
        );
        let writing = tokio::task::spawn_blocking(move || {
            let mut written = match written {
                Some(written) => written,
                None => Written {
                    file: tempfile::tempfile_in(folder.as_path())?,
                    hash: Sha256::new(),
                },
            };
            written.hash.update(&buffer);
            written.file.write_all(&buffer)?;
            buffer.clear();
            Ok::<_, io::Error>((written, buffer))
        });
        let (written, buffer) = writing.await.map_err(io::Error::from)??;
        (self.written, self.buffer) = (Some(written), buffer);
        Ok(())
    }
}

/// A write before this one was given up.
fn interrupted() -> io::Error {
    io::Error::other("the file was not written")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom};

    use super::*;

    #[tokio::test]
    async fn what_arrives_is_on_the_disk_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut arrival = Arrival::new(Arc::new(folder.path().to_owned()));
        for piece in bytes.chunks(7000) {
            arrival.write(piece).await.unwrap();
        }
        let mut arrived = arrival.end().await.unwrap();
        assert_eq!(arrived.size, 200_000);
        assert_eq!(arrived.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
        let mut read = Vec::new();
        arrived.content.seek(SeekFrom::Start(0)).unwrap();
        arrived.content.read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn nothing_that_arrives_is_an_empty_file() {
        let folder = tempfile::tempdir().unwrap();
        let arrived = Arrival::new(Arc::new(folder.path().to_owned())).end().await.unwrap();
        assert_eq!(arrived.size, 0);
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_an_error() {
        let mut arrival = Arrival::new(Arc::new(PathBuf::from("/nowhere/at/all")));
        assert!(arrival.write(&[0; PIECE]).await.is_err());
        assert!(arrival.end().await.is_err());
    }
}
