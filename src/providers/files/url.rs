//! Where a store is.

use std::str::FromStr;

use thiserror::Error;
use url::Url;

/// An address of `http` or `https` without a user, a query and a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl(String);

/// Not where a store can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it must be an http or https address without a user and a query")]
pub struct InvalidStoreUrl;

impl StoreUrl {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(raw).map_err(|_| InvalidStoreUrl)?;
        let is_base = ["http", "https"].contains(&url.scheme())
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let base = url.as_str().trim_end_matches('/').to_owned();
        is_base.then_some(Self(base)).ok_or(InvalidStoreUrl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_an_address_and_credentials_of_its_own() {
        let url = |raw: &str| raw.parse::<StoreUrl>().map(|url| url.0);
        assert_eq!(url("https://s3.example/"), Ok("https://s3.example".to_owned()));
        assert_eq!(
            url("http://minio:9000/files/"),
            Ok("http://minio:9000/files".to_owned())
        );
        for bad in [
            "",
            "minio:9000",
            "s3://bucket",
            "https://user@s3.example",
            "https://:word@s3.example",
            "https://s3.example/?a",
            "https://s3.example/#a",
        ] {
            assert_eq!(url(bad), Err(InvalidStoreUrl), "{bad}");
        }
    }
}
