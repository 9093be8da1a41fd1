//! Looks for a changed link that opens something.
#![no_main]

libfuzzer_sys::fuzz_target!(|changed: cura_fuzz::file_link::ChangedLink| changed.check());
