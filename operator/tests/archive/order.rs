//! How often an archive is read, and by how many at once.

use std::{
    io::{Read, copy, sink},
    sync::{Arc, mpsc},
    thread,
};

use multiarch_operator::{
    archive::Archive,
    oci::{Digest, Manifest},
};
use rstest::rstest;

use super::{
    images::{Files, Image, Layout, docker},
    write::{OnDisk, Tar, blob, gzip, zstd},
};

/// What cannot be packed, so that bytes read are bytes of the archive.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

/// Images of several layers of 200 KiB each.
fn many() -> Vec<Image> {
    let layer = |seed| Tar::new().file("noise", &noise(seed, 200 << 10)).end();
    (1..4_u64).map(|at| Image::with("arm64", vec![layer(100 * at), layer(200 * at)])).collect()
}

fn saved(images: &[Image]) -> Files {
    docker(&images.iter().map(|image| (image, &["a:1"][..])).collect::<Vec<_>>())
}

fn layout(images: &[Image]) -> Files {
    let mut layout = Layout::default();
    for image in images {
        let descriptor = layout.image(image, true);
        layout.list(&descriptor, &[]);
    }
    layout.end()
}

/// All blobs of the archive, in its order.
fn blobs(archive: &Archive) -> Vec<Digest> {
    let images: Vec<_> = archive.images().iter().collect();
    let manifests = archive.manifests_of(&images);
    let mut blobs = Vec::new();
    for manifest in manifests {
        let Manifest::Image(image) = manifest.unwrap().parse().unwrap() else { panic!("no image") };
        blobs.extend(image.blobs().map(|blob| blob.digest.clone()));
    }
    blobs.sort_by_key(|blob| archive.position(blob).unwrap());
    blobs.dedup();
    blobs
}

#[rstest]
#[case::layout(layout, 2)]
#[case::saved(saved, 3)]
fn a_packed_archive_is_read_as_often_as_need_be(
    #[case] write: fn(&[Image]) -> Files,
    #[case] readings: u64,
    #[values("gzip", "zstd")] packing: &str,
) {
    let tar = Tar::of(&write(&many())).end();
    let bytes = if packing == "gzip" { gzip(&tar) } else { zstd(&tar, 20) };
    let file = OnDisk::new(&bytes);
    let archive = file.open().unwrap();
    // Besides the whole, the first bytes: they tell what it is.
    let slack = 300 << 10;
    let size = bytes.len() as u64;
    assert!((size..size + slack).contains(&archive.bytes_read()), "names take one reading");
    let blobs = blobs(&archive);
    assert!(archive.bytes_read() < size * (readings - 1) + slack);
    for digest in &blobs {
        blob(&archive, digest);
    }
    let read = archive.bytes_read();
    assert!(read < size * readings + slack, "{read} bytes of {size}");
    // From the last to the first it is read again each time.
    for digest in blobs.iter().rev() {
        blob(&archive, digest);
    }
    assert!(archive.bytes_read() > read + 2 * size);
}

#[test]
fn of_a_plain_archive_nothing_is_read_that_is_not_asked_for() {
    let tar = Tar::of(&saved(&many())).end();
    let archive = OnDisk::new(&tar).open().unwrap();
    assert!(archive.bytes_read() < 32 << 10, "{}", archive.bytes_read());
    archive.manifest_of(&archive.images()[0]).unwrap();
    assert!(archive.bytes_read() < 500 << 10, "{}", archive.bytes_read());
    let (done, all) = archive.progress();
    assert!(done == all && all > 400 << 10, "{done} of {all}");
    archive.manifest_of(&archive.images()[0]).unwrap();
    assert_eq!(archive.progress(), (done, all), "it is remembered");
}

/// Until the last one has gone, the reader stays where it is.
#[rstest]
fn a_reader_is_let_go_of_with_the_last_use(#[values("gzip", "zstd")] packing: &str) {
    let tar = Tar::of(&layout(&many())).end();
    let file = OnDisk::new(&if packing == "gzip" { gzip(&tar) } else { zstd(&tar, 20) });
    let archive = Arc::new(file.open().unwrap());
    let mut layers = blobs(&archive);
    layers.retain(|digest| archive.blob(digest).unwrap() > 100 << 10);
    let [.., before, last] = &layers[..] else { panic!("no two layers") };
    let takes = |digest: &Digest| {
        let before = archive.bytes_read();
        blob(&archive, digest);
        archive.bytes_read() - before
    };
    let (first, second) = (archive.in_use(), archive.in_use());
    let whole = takes(before);
    drop(first);
    let rest = takes(last);
    assert!(rest < whole / 2, "{rest} of {whole}");
    takes(before);
    drop(second);
    let anew = takes(last);
    assert!(anew > whole, "{anew} after {whole}");
}

/// Whoever asks for them, and for how many at once.
#[test]
fn the_layers_of_many_are_read_once() {
    let tar = Tar::of(&saved(&many())).end();
    let file = OnDisk::new(&gzip(&tar));
    let archive = file.open().unwrap();
    thread::scope(|scope| {
        for image in archive.images() {
            let archive = &archive;
            scope.spawn(move || archive.manifest_of(image).unwrap());
        }
    });
    let (read, (done, all)) = (archive.bytes_read(), archive.progress());
    assert!(done == all && all < tar.len() as u64, "{done} of {all}");
    for image in archive.images() {
        archive.manifest_of(image).unwrap();
    }
    assert_eq!(archive.bytes_read(), read, "it is remembered");
}

/// For whoever wants one of them others are at hand then; of a plain archive nothing is read that nobody asks for.
#[rstest]
fn all_of_a_packed_archive_are_made_in_one_reading(#[values(true, false)] packed: bool) {
    let tar = Tar::of(&saved(&many())).end();
    let file = OnDisk::new(&if packed { zstd(&tar, 20) } else { tar });
    let archive = file.open().unwrap();
    let before = archive.bytes_read();
    archive.make_all();
    let read = archive.bytes_read();
    assert_eq!(read > before, packed, "{read} after {before}");
    assert!(read <= 2 * before.max(64 << 10), "{read} is more than one reading of {before}");
    archive.make_all();
    for image in archive.images() {
        archive.manifest_of(image).unwrap();
    }
    assert_eq!(archive.bytes_read() == read, packed, "it is remembered");
}

/// There is one reader, and nobody is left waiting.
#[test]
fn many_at_once() {
    let file = OnDisk::new(&gzip(&Tar::of(&layout(&many())).end()));
    let archive = Arc::new(file.open().unwrap());
    let blobs = blobs(&archive);
    // One is held until all others ask, or are about to.
    let mut first = archive.open_blob(&blobs[1]).unwrap().unwrap();
    let (begun, begins) = mpsc::channel();
    thread::scope(|scope| {
        for digest in blobs.iter().rev() {
            let (archive, begun) = (Arc::clone(&archive), begun.clone());
            scope.spawn(move || {
                begun.send(()).unwrap();
                blob(&archive, digest);
            });
        }
        for _ in &blobs {
            begins.recv().unwrap();
        }
        copy(&mut first, &mut sink()).unwrap();
        drop(first);
    });
}

/// A reader that is dropped in between leaves the archive to the next one.
#[rstest]
fn a_reader_that_is_dropped(#[values(true, false)] packed: bool) {
    let tar = Tar::of(&layout(&many())).end();
    let file = OnDisk::new(&if packed { gzip(&tar) } else { tar });
    let archive = file.open().unwrap();
    let blobs = blobs(&archive);
    let mut some = [0; 100];
    archive.open_blob(&blobs[3]).unwrap().unwrap().read_exact(&mut some).unwrap();
    for digest in [&blobs[3], &blobs[1], &blobs[3]] {
        blob(&archive, digest);
    }
}

/// Blobs are the same, whatever was asked before, and for how much at once.
#[test]
fn the_same_bytes_in_any_pieces() {
    let file = OnDisk::new(&Tar::of(&saved(&many())).end());
    let archive = file.open().unwrap();
    let digest = blobs(&archive).pop().unwrap();
    let whole = blob(&archive, &digest);
    for size in [1, 7, 4096, 1 << 20] {
        let mut reader = archive.open_blob(&digest).unwrap().unwrap();
        let (mut bytes, mut piece) = (Vec::new(), vec![0; size]);
        loop {
            let read = reader.read(&mut piece).unwrap();
            if read == 0 {
                break;
            }
            bytes.extend_from_slice(&piece[..read]);
        }
        assert!(bytes == whole, "in pieces of {size}");
    }
}

#[test]
fn an_archive_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Archive>();
}
