//! What fuzzing has found worth keeping, given to the fuzz targets once more: `make fuzz` looks for more.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{
    collections::BTreeSet,
    fs, panic,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use multiarch_operator::fuzzing::{self, TARGETS};
use proptest::{collection, prelude::*, sample::Index};

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

/// A change to bytes.
#[derive(Clone, Debug)]
enum Change {
    /// This byte instead of the one there.
    Byte(Index, u8),
    /// These bytes in between.
    Insert(Index, Vec<u8>),
    /// Without what is between the two.
    Cut(Index, Index),
    /// What another file has between the two, in between.
    Splice(Index, Index, Index, Index),
}

impl Change {
    fn to(&self, bytes: &mut Vec<u8>, files: &[Vec<u8>]) {
        let within = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        let between = |a: &Index, b: &Index, bytes: &[u8]| {
            let (a, b) = (within(a, bytes), within(b, bytes));
            a.min(b)..a.max(b)
        };
        match self {
            Self::Byte(at, byte) => {
                let at = within(at, bytes);
                if let Some(there) = bytes.get_mut(at) {
                    *there = *byte;
                }
            }
            Self::Insert(at, more) => {
                let at = within(at, bytes);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Cut(from, to) => drop(bytes.drain(between(from, to, bytes))),
            Self::Splice(at, file, from, to) => {
                let other = file.get(files);
                let (at, part) = (within(at, bytes), between(from, to, other));
                bytes.splice(at..at, other[part].iter().copied());
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (at(), collection::vec(any::<u8>(), 1..4)).prop_map(|(at, more)| Change::Insert(at, more)),
        (at(), at()).prop_map(|(from, to)| Change::Cut(from, to)),
        (at(), at(), at(), at()).prop_map(|(at, file, a, b)| Change::Splice(at, file, a, b)),
    ]
}

/// A target, and its files.
type Corpus = (&'static str, Vec<Vec<u8>>);

/// The corpora by target.
fn corpora() -> &'static [Corpus] {
    static CORPORA: LazyLock<Vec<Corpus>> = LazyLock::new(|| {
        let read = |target: &str| {
            let folder = format!("corpus/{target}");
            let files = names(&folder, "").into_iter();
            files.map(|file| fs::read(fuzz().join(&folder).join(file)).unwrap()).collect()
        };
        TARGETS.iter().map(|(target, _)| (*target, read(target))).collect()
    });
    &CORPORA
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Without nightly Rust there is no guidance by coverage, but here is where fuzzing has been.
    #[test]
    fn what_must_hold_holds_nearby(
        file in any::<Index>(),
        changes in collection::vec(change(), 1..5),
    ) {
        for (target, files) in corpora() {
            let mut bytes = file.get(files).clone();
            for change in &changes {
                change.to(&mut bytes, files);
            }
            fuzzing::run(target, &bytes);
        }
    }
}
