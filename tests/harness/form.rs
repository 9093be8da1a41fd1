//! Forms with files (RFC 7578), made by hand so that they can be wrong.

/// A form that is being written.
#[derive(Debug, Clone)]
pub struct Form {
    boundary: String,
    bytes: Vec<u8>,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            boundary: "----a-boundary-of-a-test".to_owned(),
            bytes: Vec::new(),
        }
    }
}

impl Form {
    /// A form with one file.
    pub fn of(name: &str, content: impl AsRef<[u8]>) -> Self {
        Self::default().file(name, content)
    }

    /// Adds a file in the field `file`.
    #[must_use]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let headers = format!(
            "Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream"
        );
        self.part(&headers, content)
    }

    /// Adds a field.
    #[must_use]
    pub fn field(self, name: &str, value: impl ToString) -> Self {
        let headers = format!("Content-Disposition: form-data; name=\"{name}\"");
        self.part(&headers, value.to_string())
    }

    /// Adds a part with these headers, without their last line end.
    #[must_use]
    pub fn part(mut self, headers: &str, content: impl AsRef<[u8]>) -> Self {
        let line = format!("--{}\r\n{headers}\r\n\r\n", self.boundary);
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.extend_from_slice(content.as_ref());
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// The header that names the boundary.
    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// The form without an end.
    pub fn unfinished(self) -> Vec<u8> {
        self.bytes
    }

    /// The form up to the last byte of its last part, and what comes behind it.
    pub fn halves(self) -> (Vec<u8>, Vec<u8>) {
        let behind = format!("\r\n--{}--\r\n", self.boundary).len();
        let mut whole = self.end();
        let behind = whole.split_off(whole.len() - behind);
        (whole, behind)
    }

    /// The whole form.
    pub fn end(mut self) -> Vec<u8> {
        let line = format!("--{}--\r\n", self.boundary);
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes
    }
}
