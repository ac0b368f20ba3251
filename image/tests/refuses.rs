//! The command as hack/image.sh runs it: what cannot be an image is told in one line, and leaves nothing behind.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::process::Command;

/// Its errors, for a program.
fn refused(program: &str, target: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut make = Command::new(env!("CARGO_BIN_EXE_multiarch-image"));
    make.args(["image", "--program", program, "--target", target, "--created", "0", "--out"]);
    let output = make.arg(&out).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(!out.exists());
    String::from_utf8(output.stderr).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_that_needs_libraries_is_refused() {
    // This test is one.
    let own = std::env::current_exe().unwrap();
    let target = "x86_64-unknown-linux-gnu";
    let error = refused(&own.to_string_lossy(), target);
    assert!(error.starts_with("image: no image can be made of /"), "{error}");
    assert!(error.contains("it is not static"), "{error}");
}

#[test]
fn what_is_no_program_is_refused() {
    let error =
        refused(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "s390x-unknown-linux-gnu");
    assert!(error.contains("it is no program"), "{error}");
    let error = refused("/nowhere", "x86_64-pc-windows-msvc");
    assert!(error.contains("no image is made for x86_64-pc-windows-msvc"), "{error}");
}
