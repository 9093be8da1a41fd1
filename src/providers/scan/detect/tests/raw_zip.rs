//! Archives byte by byte, as no library writes them.

use flate2::Crc;

/// An archive under construction. Its fields are what the records will say, so that a test can lie.
pub(super) struct RawZip {
    pub(super) bytes: Vec<u8>,
    pub(super) directory: Vec<u8>,
    pub(super) entries: u64,
}

/// What an entry says of itself.
pub(super) struct RawEntry<'a> {
    pub(super) name: &'a str,
    pub(super) local_name: &'a str,
    pub(super) method: u16,
    pub(super) flags: u16,
    pub(super) content: &'a [u8],
    pub(super) packed: &'a [u8],
    pub(super) extra: &'a [u8],
    /// Sizes and place, if not what they are.
    pub(super) packed_size: Option<u32>,
    pub(super) unpacked_size: Option<u32>,
    pub(super) at: Option<u32>,
}

impl<'a> RawEntry<'a> {
    pub(super) const fn stored(name: &'a str, content: &'a [u8]) -> Self {
        Self {
            name,
            local_name: name,
            method: 0,
            flags: 0,
            content,
            packed: content,
            extra: &[],
            packed_size: None,
            unpacked_size: None,
            at: None,
        }
    }
}

impl RawZip {
    pub(super) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            directory: Vec::new(),
            entries: 0,
        }
    }

    /// An archive of stored entries.
    pub(super) fn of(entries: &[(&str, &[u8])]) -> Self {
        let mut zip = Self::new();
        for (name, content) in entries {
            zip.add(&RawEntry::stored(name, content));
        }
        zip
    }

    pub(super) fn add(&mut self, entry: &RawEntry<'_>) {
        let at = u32::try_from(self.bytes.len()).unwrap();
        let mut checksum = Crc::new();
        checksum.update(entry.content);
        let packed = u32::try_from(entry.packed.len()).unwrap();
        let unpacked = u32::try_from(entry.content.len()).unwrap();
        let header = |packed: u32, unpacked: u32, name: &str, extra: &[u8]| {
            let numbers = [0, checksum.sum(), packed, unpacked].map(u32::to_le_bytes).concat();
            let lengths = [name.len(), extra.len()]
                .map(|length| u16::try_from(length).unwrap().to_le_bytes())
                .concat();
            [20, entry.flags, entry.method]
                .map(u16::to_le_bytes)
                .concat()
                .into_iter()
                .chain(numbers)
                .chain(lengths)
                .collect::<Vec<_>>()
        };
        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(header(packed, unpacked, entry.local_name, &[]));
        self.bytes.extend(entry.local_name.as_bytes());
        self.bytes.extend(entry.packed);
        self.directory.extend(b"PK\x01\x02\x14\0");
        let (packed, unpacked) = (
            entry.packed_size.unwrap_or(packed),
            entry.unpacked_size.unwrap_or(unpacked),
        );
        self.directory.extend(header(packed, unpacked, entry.name, entry.extra));
        self.directory.extend([0; 10]);
        self.directory.extend(entry.at.unwrap_or(at).to_le_bytes());
        self.directory.extend(entry.name.as_bytes());
        self.directory.extend(entry.extra);
        self.entries += 1;
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let (entries, length, start) = self.numbers();
        self.finish_saying(entries, length, start, b"")
    }

    /// The end record with these numbers and a comment behind it.
    pub(super) fn finish_saying(mut self, entries: u16, length: u32, start: u32, comment: &[u8]) -> Vec<u8> {
        self.bytes.append(&mut self.directory);
        self.bytes.extend(short_end(entries, length, start, comment));
        self.bytes
    }

    /// With the long end record, and the short one as it is given.
    pub(super) fn finish_long(mut self, short: (u16, u32, u32)) -> Vec<u8> {
        let (entries, length, start) = self.numbers();
        self.bytes.append(&mut self.directory);
        let long_at = self.bytes.len() as u64;
        self.bytes.extend(b"PK\x06\x06");
        self.bytes.extend(44_u64.to_le_bytes());
        self.bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [entries.into(), entries.into(), u64::from(length), start.into()] {
            self.bytes.extend(number.to_le_bytes());
        }
        self.bytes.extend(b"PK\x06\x07\0\0\0\0");
        self.bytes.extend(long_at.to_le_bytes());
        self.bytes.extend(1_u32.to_le_bytes());
        self.bytes.extend(short_end(short.0, short.1, short.2, b""));
        self.bytes
    }

    /// What an honest end record says.
    pub(super) fn numbers(&self) -> (u16, u32, u32) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        (
            u16::try_from(self.entries).unwrap(),
            length(&self.directory),
            length(&self.bytes),
        )
    }
}

fn short_end(entries: u16, length: u32, start: u32, comment: &[u8]) -> Vec<u8> {
    let comment_length = u16::try_from(comment.len()).unwrap();
    [
        &b"PK\x05\x06\0\0\0\0"[..],
        &entries.to_le_bytes(),
        &entries.to_le_bytes(),
        &length.to_le_bytes(),
        &start.to_le_bytes(),
        &comment_length.to_le_bytes(),
        comment,
    ]
    .concat()
}
