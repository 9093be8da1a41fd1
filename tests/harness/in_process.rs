//! What the use cases need when they run in the test's own process.

use cura_bin::settings::Settings;
use cura_bin::wiring;
use cura_providers::files::FileStore;

/// The settings of a development server, and a file store in the folder of temporary files.
///
/// # Panics
/// When that folder cannot be written.
pub fn in_process() -> (Settings, FileStore) {
    let mut settings = Settings::from_environment().expect("the defaults");
    settings.process.data_dir = std::env::temp_dir().join("cura-in-process");
    let files = wiring::file_store(&settings).expect("a folder");
    (settings, files)
}
