//! The known files, and changes of them. `make fuzz` finds better ones.

use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::file_link::ChangedLink;
use crate::file_type;

/// Every file in a folder of this repository.
fn files_in(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

fn of_file_types() -> Vec<Vec<u8>> {
    [files_in("seeds/file_type"), files_in("../tests/fixtures/files")].concat()
}

#[test]
fn the_type_of_known_files_is_told_rightly() {
    for bytes in of_file_types() {
        file_type::check(&bytes);
    }
}

#[test]
fn known_changes_of_a_link_open_nothing() {
    for bytes in files_in("seeds/file_link") {
        ChangedLink::arbitrary_take_rest(Unstructured::new(&bytes))
            .unwrap()
            .check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_type_of_changed_files_is_told_rightly(
        mut bytes in prop::sample::select(of_file_types()),
        end in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..8),
    ) {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        file_type::check(&bytes);
        file_type::check(&bytes[..end.index(bytes.len())]);
    }

    #[test]
    fn no_changed_link_opens_anything(bytes in prop::collection::vec(any::<u8>(), 20..200)) {
        ChangedLink::arbitrary_take_rest(Unstructured::new(&bytes)).unwrap().check();
    }
}
