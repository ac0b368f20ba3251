//! Fuzzes `archive`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| multiarch_operator::fuzzing::run("archive", bytes));
