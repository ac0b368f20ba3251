//! How much is done by a test that could go on for ever: all of it in `make soak`, a tenth in `make test`.

use std::env;

/// The switch that `make soak` sets.
pub const SOAK: &str = "MULTIARCH_SOAK";

/// Whether this is a soak.
#[must_use]
pub fn is_soak() -> bool {
    env::var_os(SOAK).is_some_and(|value| !value.is_empty())
}

/// `full` in a soak, else `tenth`.
#[must_use]
pub fn scale<T>(full: T, tenth: T) -> T {
    if is_soak() { full } else { tenth }
}

/// Prints what a test has measured. The harness shows it in a soak, and of tests that fail.
#[expect(clippy::print_stdout, reason = "what was measured is what a soak is for")]
pub fn tell(what: &str) {
    println!("{what}");
}
