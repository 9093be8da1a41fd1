//! The corpus: what providers send, one small file a case, and what a person must get of it. `tests/provider/corpus/README.md`
//! describes the files; a case needs no code.

mod body;
mod case;
mod run;
mod subset;

use std::path::PathBuf;

pub use self::case::Case;
pub use self::run::run;

/// Every case, by its file's name, in order.
///
/// # Panics
/// If a file is not a case.
pub fn cases() -> Vec<(String, Case)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/provider/corpus");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        assert!(text.starts_with("# "), "{name}: the first line says what it shows");
        let case = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, case)
    };
    files.into_iter().map(read).collect()
}
