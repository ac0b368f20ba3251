//! How much is done by a test that could go on for ever: all of it in `make soak`, a tenth in `make test`.

use std::{
    env,
    io::{Write as _, stderr},
};

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

/// Prints what a test has measured, past the harness, which keeps what is printed by tests that pass.
pub fn tell(what: &str) {
    // Whether anybody reads it is nothing to the test.
    let _ = writeln!(stderr(), "{what}");
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_told_is_shown_of_a_test_that_passes() {
        const TELLS: &str = "MULTIARCH_TELLS";
        if env::var_os(TELLS).is_some() {
            return tell("what was measured");
        }
        let itself = "scale::tests::what_is_told_is_shown_of_a_test_that_passes";
        let mut command = Command::new(env::current_exe().unwrap());
        let ran = command.args(["--exact", itself]).env(TELLS, "1").output().unwrap();
        let shown = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.success() && shown.contains("what was measured"), "{shown}");
    }
}
