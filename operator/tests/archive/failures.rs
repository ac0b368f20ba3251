//! What the system fails to read may be read the next time; what is cut off or damaged stays so.

use std::{fs::OpenOptions, io::Read, path::Path};

use multiarch_operator::archive::{Archive, ArchiveError};
use rstest::rstest;

use super::{
    images::{self, Files, Image, Layout},
    write::{OnDisk, Tar, gzip, open, zstd},
};

/// All that is wrong with an archive.
fn faults(opened: Result<Archive, ArchiveError>) -> Vec<ArchiveError> {
    let archive = match opened {
        Ok(archive) => archive,
        Err(error) => return vec![error],
    };
    let mut faults: Vec<_> = archive.unusable().iter().map(|image| image.why.clone()).collect();
    for image in archive.images() {
        let raw = match archive.manifest_of(image) {
            Ok(raw) => raw,
            Err(error) => {
                faults.push(error);
                continue;
            }
        };
        let Ok(multiarch_operator::oci::Manifest::Image(manifest)) = raw.parse() else { continue };
        for blob in manifest.blobs() {
            match archive.open_blob(&blob.digest) {
                Ok(None) => {}
                Ok(Some(mut reader)) => {
                    let read = reader.read_to_end(&mut Vec::new());
                    faults.extend(read.err().map(|error| error.downcast().unwrap()));
                }
                Err(error) => faults.push(error),
            }
        }
    }
    faults
}

fn small() -> Image {
    let layer = |text: &str| Tar::new().file("etc/motd", text.as_bytes()).end();
    Image::with("arm64", vec![layer("one"), layer("two")])
}

fn files(is_saved: bool) -> Files {
    if is_saved {
        return images::docker(&[(&small(), &["a:1"])]);
    }
    let mut layout = Layout::default();
    let image = layout.image(&small(), true);
    layout.list(&image, &[]);
    layout.end()
}

#[rstest]
fn what_is_cut_off_or_damaged_is_no_failure_of_the_system(
    #[values(true, false)] is_saved: bool,
    #[values("tar", "gzip", "zstd")] packing: &str,
) {
    let tar = Tar::of(&files(is_saved)).end();
    let whole = match packing {
        "gzip" => gzip(&tar),
        "zstd" => zstd(&tar, 20),
        _ => tar,
    };
    let step = (whole.len() / 200).max(1);
    let mut told = 0;
    for at in (0..whole.len()).step_by(step) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x5a;
        for bytes in [&whole[..at], &damaged[..]] {
            let faults = faults(open(bytes));
            told += faults.len();
            let passing: Vec<_> = faults.iter().filter(|error| error.may_pass()).collect();
            assert!(passing.is_empty(), "at {at}: {passing:?}");
        }
    }
    assert!(told > 100, "only {told} faults");
}

#[test]
fn a_layout_that_was_not_copied_to_its_end_is_no_failure_of_the_system() {
    let files = files(false);
    for at in 0..files.len() {
        for is_there in [true, false] {
            let mut part = files.clone();
            if is_there {
                let half = part[at].1.len() / 2;
                part[at].1.truncate(half);
            } else {
                part.remove(at);
            }
            let folder = OnDisk::folder(&part);
            let faults = faults(folder.open());
            assert!(!faults.iter().any(ArchiveError::may_pass), "{}: {faults:?}", files[at].0);
        }
    }
}

/// The system reads nothing of a file that is open for writing alone.
#[test]
fn what_the_system_fails_to_read_may_be_read_the_next_time() {
    let file = OnDisk::new(&Tar::of(&files(true)).end());
    let unreadable = OpenOptions::new().append(true).open(file.path()).unwrap();
    let error = Archive::of(Path::new("a.tar"), unreadable).unwrap_err();
    assert!(matches!(error, ArchiveError::Read { .. }) && error.may_pass(), "{error}");
}
