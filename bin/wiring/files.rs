//! The file store, as the settings say.

use std::path::PathBuf;

use cura_providers::files::{FileStore, FileStoreError, FileStoreTimeouts, InvalidFileStore};

use crate::settings::{SettingError, Settings, StoreSettings, wrong};

/// The folder of files in `DATA_DIR`.
const FOLDER: &str = "files";

/// The configured file store. Makes its folder, if it is one; asks no service. Blocks for a moment.
///
/// # Errors
/// The setting that cannot be used, and the cure.
pub fn file_store(settings: &Settings) -> Result<FileStore, SettingError> {
    let timeouts = FileStoreTimeouts::default();
    match &settings.files.store {
        StoreSettings::Disk => {
            let store = FileStore::disk(&settings.process.data_dir.join(FOLDER), timeouts);
            let cure = "let this user write it, or set another STORAGE_PROVIDER";
            store.map_err(|error| {
                let problem = format!("names a folder in which no files can be kept: {error}; {cure}");
                wrong("DATA_DIR", problem)
            })
        }
        StoreSettings::Supabase(config) => FileStore::supabase(config, timeouts).map_err(unusable_supabase),
        StoreSettings::S3(config) => FileStore::s3(config, timeouts).map_err(unusable_s3),
    }
}

/// The configured file store, to look at it. `None` if it is a folder that is not here: an operator's command must not make it, whose user
/// may be another one than that of servers and workers. Blocks for a moment.
///
/// # Errors
/// The setting that cannot be used, and the cure.
pub fn file_store_if_there(settings: &Settings) -> Result<Option<FileStore>, SettingError> {
    let is_elsewhere = match settings.files.store {
        StoreSettings::Disk => !settings.process.data_dir.join(FOLDER).is_dir(),
        StoreSettings::Supabase(_) | StoreSettings::S3(_) => false,
    };
    if is_elsewhere {
        return Ok(None);
    }
    file_store(settings).map(Some)
}

/// Where files are kept, in words.
pub fn place_of_files(settings: &Settings) -> String {
    match &settings.files.store {
        StoreSettings::Disk => settings.process.data_dir.join(FOLDER).display().to_string(),
        StoreSettings::Supabase(_) => "Supabase Storage".to_owned(),
        StoreSettings::S3(_) => "S3".to_owned(),
    }
}

/// The folder in which files arrive, whatever keeps them then. It is made if there is none.
///
/// # Errors
/// When it cannot be made.
pub(super) fn arrivals(settings: &Settings) -> Result<PathBuf, SettingError> {
    let folder = settings.process.data_dir.clone();
    match std::fs::create_dir_all(&folder) {
        Ok(()) => Ok(folder),
        Err(error) => Err(wrong(
            "DATA_DIR",
            format!("names a folder that cannot be made: {error}; let this user make it, or name another one"),
        )),
    }
}

/// Says at the start where files are kept, and whether they can be: a service that is away may come back.
pub async fn report_files(files: FileStore) {
    let store = files.name();
    match files.check().await {
        Ok(()) => tracing::info!(store, "the file store is ready"),
        Err(error @ FileStoreError::Refused(_)) => {
            tracing::error!(store, %error, "no files can be kept: check STORAGE_PROVIDER and what belongs to it");
        }
        Err(error) => tracing::warn!(store, %error, "no files can be kept at the moment"),
    }
}

/// What is wrong with the settings of the file store. Touches no disk.
pub(super) fn file_fault(settings: &Settings) -> Option<SettingError> {
    match settings.files.store {
        StoreSettings::Disk => None,
        StoreSettings::Supabase(_) | StoreSettings::S3(_) => file_store(settings).err(),
    }
}

fn unusable_supabase(error: InvalidFileStore) -> SettingError {
    wrong("SUPABASE_KEY", format!("cannot be used: {error}"))
}

fn unusable_s3(error: InvalidFileStore) -> SettingError {
    wrong(
        "S3_SECRET_ACCESS_KEY",
        format!("or S3_ACCESS_KEY_ID cannot be used: {error}"),
    )
}
