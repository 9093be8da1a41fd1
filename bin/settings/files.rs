//! Where files of users are kept, what they are scanned with, and how they are given out.

use std::str::FromStr;

use cura_providers::Secret;
use cura_providers::files::{Bucket, Region, S3Config, StoreUrl, SupabaseConfig};
use cura_providers::scan::ClamdAddress;

use super::variables::Variables;

/// Section "Files".
#[derive(Debug, Clone)]
pub struct FileSettings {
    /// `STORAGE_PROVIDER` and what belongs to it.
    pub store: StoreSettings,
    /// `FILE_DELIVERY`
    pub delivery: FileDelivery,
    /// `CLAMD_ADDRESS`; `None`: our own checks only
    pub clamd: Option<ClamdAddress>,
}

/// Where files are kept.
#[derive(Debug, Clone)]
pub enum StoreSettings {
    /// In `DATA_DIR`.
    Disk,
    /// `SUPABASE_…`
    Supabase(SupabaseConfig),
    /// `S3_…`
    S3(S3Config),
}

/// How a client gets a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileDelivery {
    /// From us.
    Stream,
    /// From the store, to which a short-lived link leads.
    Redirect,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Provider {
    Disk,
    Supabase,
    S3,
}

impl FromStr for Provider {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "disk" => Ok(Self::Disk),
            "supabase" => Ok(Self::Supabase),
            "s3" => Ok(Self::S3),
            _ => Err("it is one of disk, supabase, s3"),
        }
    }
}

impl FromStr for FileDelivery {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "stream" => Ok(Self::Stream),
            "redirect" => Ok(Self::Redirect),
            _ => Err("it is one of stream, redirect"),
        }
    }
}

impl FileSettings {
    pub(super) fn read(from: &Variables) -> Self {
        let provider = from.parsed("STORAGE_PROVIDER", Provider::Disk);
        let delivery = from.parsed("FILE_DELIVERY", FileDelivery::Stream);
        if provider == Provider::Disk && delivery == FileDelivery::Redirect {
            from.fault(
                "FILE_DELIVERY",
                "is redirect, but nothing leads to files on a disk; set it to stream",
            );
        }
        // All of them are read, so that a wrong value is named whatever is used.
        let (supabase, s3) = (Supabase::read(from), S3::read(from));
        let store = match provider {
            Provider::Disk => Some(StoreSettings::Disk),
            Provider::Supabase => supabase.whole(from).map(StoreSettings::Supabase),
            Provider::S3 => s3.whole(from).map(StoreSettings::S3),
        };
        Self {
            // What is missing is a fault.
            store: store.unwrap_or(StoreSettings::Disk),
            delivery,
            clamd: from.parsed_if_set("CLAMD_ADDRESS"),
        }
    }
}

/// What is set of Supabase Storage.
struct Supabase {
    url: Option<StoreUrl>,
    key: Option<Secret>,
    bucket: Option<Bucket>,
}

impl Supabase {
    fn read(from: &Variables) -> Self {
        let bucket = from.text("SUPABASE_STORAGE_BUCKET").unwrap_or("cura-files").parse();
        Self {
            url: from.parsed_if_set("SUPABASE_URL"),
            key: from.secret("SUPABASE_KEY"),
            bucket: bucket
                .map_err(|error| from.fault("SUPABASE_STORAGE_BUCKET", format!("cannot be used: {error}")))
                .ok(),
        }
    }

    fn whole(self, from: &Variables) -> Option<SupabaseConfig> {
        let url = self.url.or_else(|| {
            let cure = "set it to the address of the project, https://….supabase.co";
            missing(from, "supabase", "SUPABASE_URL", cure)
        });
        let key = self.key.or_else(|| {
            let cure = "set it to the secret key of the project";
            missing(from, "supabase", "SUPABASE_KEY", cure)
        });
        Some(SupabaseConfig {
            url: url?,
            key: key?,
            bucket: self.bucket?,
        })
    }
}

/// What is set of S3.
struct S3 {
    endpoint: Option<StoreUrl>,
    region: Option<Region>,
    bucket: Option<Bucket>,
    access_key_id: Option<Secret>,
    secret_access_key: Option<Secret>,
}

impl S3 {
    fn read(from: &Variables) -> Self {
        Self {
            endpoint: from.parsed_if_set("S3_ENDPOINT"),
            region: from.parsed_if_set("S3_REGION"),
            bucket: from.parsed_if_set("S3_BUCKET"),
            access_key_id: from.secret("S3_ACCESS_KEY_ID"),
            secret_access_key: from.secret("S3_SECRET_ACCESS_KEY"),
        }
    }

    fn whole(self, from: &Variables) -> Option<S3Config> {
        let region = self.region.or_else(|| {
            let cure = "set it to the region of the bucket, or to us-east-1 if your server knows none";
            missing(from, "s3", "S3_REGION", cure)
        });
        let bucket = self
            .bucket
            .or_else(|| missing(from, "s3", "S3_BUCKET", "set it to the name of the bucket"));
        let secret = |secret: Option<Secret>, name| {
            secret.or_else(|| missing(from, "s3", name, "make a key that may read and write the bucket"))
        };
        let access_key_id = secret(self.access_key_id, "S3_ACCESS_KEY_ID");
        let secret_access_key = secret(self.secret_access_key, "S3_SECRET_ACCESS_KEY");
        Some(S3Config {
            endpoint: self.endpoint,
            region: region?,
            bucket: bucket?,
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?,
        })
    }
}

/// Records that a provider needs a setting.
fn missing<T>(from: &Variables, provider: &str, name: &'static str, cure: &str) -> Option<T> {
    from.fault(name, format!("is missing, and STORAGE_PROVIDER is {provider}; {cure}"));
    None
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> (FileSettings, Vec<String>) {
        let variables = Variables::from(variables);
        let settings = FileSettings::read(&variables);
        let faults = variables.take_faults().iter().map(ToString::to_string).collect();
        (settings, faults)
    }

    const SUPABASE: [(&str, &str); 3] = [
        ("STORAGE_PROVIDER", "supabase"),
        ("SUPABASE_URL", "https://x.supabase.co"),
        ("SUPABASE_KEY", "hunter2"),
    ];
    const S3: [(&str, &str); 5] = [
        ("STORAGE_PROVIDER", "s3"),
        ("S3_REGION", "eu-central-1"),
        ("S3_BUCKET", "files"),
        ("S3_ACCESS_KEY_ID", "hunter2"),
        ("S3_SECRET_ACCESS_KEY", "hunter2"),
    ];

    #[test]
    fn files_are_on_the_disk_unless_a_service_is_set() {
        let (settings, faults) = read(&[]);
        assert!(
            matches!(settings.store, StoreSettings::Disk) && faults.is_empty(),
            "{faults:?}"
        );
        assert_eq!(settings.delivery, FileDelivery::Stream);
        let (settings, faults) = read(&SUPABASE);
        let StoreSettings::Supabase(config) = &settings.store else {
            panic!("{faults:?}")
        };
        assert_eq!(config.bucket.as_str(), "cura-files");
        assert_eq!(config.key.expose_secret(), "hunter2");
        let (settings, faults) = read(&[&S3[..], &[("FILE_DELIVERY", "redirect")]].concat());
        assert!(
            matches!(&settings.store, StoreSettings::S3(config) if config.endpoint.is_none()),
            "{faults:?}"
        );
        assert_eq!(settings.delivery, FileDelivery::Redirect);
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    }

    #[test]
    fn files_are_scanned_by_our_own_checks_unless_a_clamd_is_set() {
        assert_eq!(read(&[]).0.clamd, None);
        assert_eq!(read(&[("CLAMD_ADDRESS", "")]).0.clamd, None);
        for address in ["clamav:3310", "/run/clamav/clamd.ctl"] {
            let (settings, faults) = read(&[("CLAMD_ADDRESS", address)]);
            assert_eq!(settings.clamd, Some(address.parse().unwrap()), "{faults:?}");
        }
    }

    #[test]
    fn what_a_service_needs_is_named_with_the_cure() {
        for whole in [&SUPABASE[..], &S3] {
            for (left_out, _) in &whole[1..] {
                let rest: Vec<_> = whole.iter().copied().filter(|(name, _)| name != left_out).collect();
                let (_, faults) = read(&rest);
                let expected = format!("{left_out} is missing, and STORAGE_PROVIDER is {}; ", whole[0].1);
                assert_eq!(faults.len(), 1, "{faults:?}");
                assert!(
                    faults[0].starts_with(&expected) && faults[0].len() > expected.len(),
                    "{faults:?}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_repeated() {
        for (name, value) in [
            ("STORAGE_PROVIDER", "hunter2"),
            ("FILE_DELIVERY", "hunter2"),
            ("FILE_DELIVERY", "redirect"),
            ("SUPABASE_URL", "hunter2"),
            ("SUPABASE_STORAGE_BUCKET", "hunter2/.."),
            ("SUPABASE_KEY_FILE", "/nowhere/hunter2"),
            ("S3_ENDPOINT", "hunter2:9000"),
            ("S3_REGION", "hunter2.example"),
            ("S3_BUCKET", "hunter2/"),
            ("S3_ACCESS_KEY_ID_FILE", "/nowhere/hunter2"),
            ("S3_SECRET_ACCESS_KEY_FILE", "/nowhere/hunter2"),
            ("CLAMD_ADDRESS", "hunter2"),
            ("CLAMD_ADDRESS", "tcp://hunter2:3310"),
        ] {
            let (_, faults) = read(&[(name, value)]);
            assert!(faults.len() == 1 && faults[0].starts_with(name), "{name}: {faults:?}");
            assert!(!faults[0].contains("hunter2"), "{faults:?}");
        }
    }
}
