//! What fuzzing has found worth keeping, given to the fuzz targets once more: `make fuzz` looks for more.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{
    collections::BTreeSet,
    fs, panic,
    path::{Path, PathBuf},
};

use multiarch_operator::fuzzing::{self, TARGETS};

/// A corpus is part of the repository, so it is kept small: files, and bytes of all of them.
const FILES: usize = 200;
const BYTES: usize = 128 << 10;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The names in a folder, without what `ending` they have.
fn names(folder: &str, ending: &str) -> BTreeSet<String> {
    let found = fs::read_dir(fuzz().join(folder)).unwrap();
    let name = |found: fs::DirEntry| found.file_name().into_string().unwrap();
    found.map(|found| name(found.unwrap()).trim_end_matches(ending).to_owned()).collect()
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("corpus", ""), targets);
    assert_eq!(names("fuzz_targets", ".rs"), targets);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for target in targets {
        assert!(manifest.contains(&format!("name = \"{target}\"\n")), "{target} is no program");
        let program = fs::read_to_string(fuzz().join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(program.contains(&format!("fuzzing::run(\"{target}\", ")), "{program}");
    }
}

#[test]
fn what_must_hold_holds_for_the_corpora() {
    let mut wrong = Vec::new();
    for (target, _) in TARGETS {
        let folder = format!("corpus/{target}");
        let files = names(&folder, "");
        let mut bytes = 0;
        for file in &files {
            let content = fs::read(fuzz().join(&folder).join(file)).unwrap();
            bytes += content.len();
            // The panic's own words are above.
            if panic::catch_unwind(|| fuzzing::run(target, &content)).is_err() {
                wrong.push(format!("{target}/{file}"));
            }
        }
        assert!(files.len() >= 10, "{target} has {} files", files.len());
        assert!(
            files.len() <= FILES && bytes <= BYTES,
            "{target}: {} files, {bytes} bytes",
            files.len()
        );
    }
    assert!(wrong.is_empty(), "does not hold for {wrong:?}");
}
