//! What must hold for any bytes, by the name of what reads them: the targets of `make fuzz`, replayed by `tests/corpus.rs`.
//!
//! Each target takes bytes as a registry, a Secret or an object may hold them, and panics where something does not
//! hold: what is read can be written and read again, what was settled is settled, bounds are kept, no host is taken for
//! another, and no message shows what it must not.

#![allow(clippy::expect_used, reason = "a target's panic is its report")]

mod archives;
mod documents;
mod logins;
mod texts;

use crate::registry::remote::fuzzing as remote;

/// Reads bytes, and panics where what must hold does not.
pub type Target = fn(&[u8]);

/// The targets by name; `fuzz/corpus` has a folder for each, and `fuzz/fuzz_targets` a program.
pub const TARGETS: [(&str, Target); 9] = [
    ("archive", archives::archive),
    ("challenge", remote::challenge),
    ("config", documents::config),
    ("dockerconfig", logins::dockerconfig),
    ("headers", remote::headers),
    ("manifest", documents::manifest),
    ("platform", texts::platform),
    ("reference", texts::reference),
    ("token", remote::token),
];

/// Gives `bytes` to the target called `name`.
///
/// # Panics
///
/// Where there is no such target, or something does not hold.
pub fn run(name: &str, bytes: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = found.expect("a target of this list");
    target(bytes);
}

/// A message that people see: one line of at most `most` bytes.
///
/// # Panics
///
/// Where it is not.
#[track_caller]
pub(crate) fn is_shown(message: &str, most: usize) {
    assert!(message.len() <= most, "{} bytes: {message}", message.len());
    assert!(!message.chars().any(char::is_control), "{message:?} has control characters");
}
