//! Looks for bytes for which the type of a file is told wrongly.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cura_fuzz::file_type::check(bytes));
