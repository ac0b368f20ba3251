//! Archives that are cut off, damaged, oddly written, or made to fill a memory.

use proptest::prelude::*;
use rstest::rstest;

use super::{
    images::{Image, Layout, docker},
    write::{OnDisk, Tar, gzip, open, refused, told, zstd},
};

fn image() -> Vec<(String, Vec<u8>)> {
    docker(&[(&Image::of("arm64"), &["a:1"])])
}

const CUT: &str = "is cut off: it ends before its end was written; copy it again";

#[rstest]
#[case::in_a_file(1024 + 700, "json")]
#[case::in_a_header(512 + 512 + 100, "VERSION")]
#[case::between_entries(1024, "VERSION")]
fn cut_off(#[case] length: usize, #[case] entry: &str) {
    let tar = Tar::of(&image()).end();
    let told = refused(&tar[..length]);
    assert!(told.ends_with(&format!("/{entry}\" in \"images.tar\" {CUT}")), "{told}");
}

/// All entries are there, but not the zeros that end an archive.
#[test]
fn cut_off_at_its_end() {
    let tar = Tar::of(&image()).end();
    assert!(refused(&tar[..tar.len() - 1024]).ends_with(CUT));
    open(&tar[..tar.len() - 512]).map(drop).unwrap();
}

#[rstest]
fn cut_off_and_packed(#[values("gzip", "zstd")] packing: &str, #[values(1, 2)] parts: usize) {
    let tar = Tar::of(&image()).end();
    let packed = if packing == "gzip" { gzip(&tar) } else { zstd(&tar, 20) };
    let told = refused(&packed[..packed.len() * parts / 2 - 1]);
    assert_eq!(told, format!("\"images.tar\" {CUT}"));
}

#[rstest]
#[case::empty(b"")]
#[case::text(b"hello, world")]
#[case::zeros_that_are_few(&[0; 511])]
#[case::elf(&[0x7f; 600])]
#[case::packed_text(&gzip(b"hello, world"))]
#[case::packed_and_long(&zstd(&[b'x'; 600], 20))]
fn something_else(#[case] bytes: &[u8]) {
    let why = "\"images.tar\" is no tar archive, plain or packed by gzip or zstd: give what docker save, podman save, \
               skopeo or crane has written";
    assert_eq!(refused(bytes), why);
}

#[rstest]
#[case::xz(b"\xfd7zXZ\0...", "xz")]
#[case::bzip2(b"BZh91AY", "bzip2")]
#[case::zip(b"PK\x03\x04", "zip")]
#[case::lz4(&[4, 0x22, 0x4d, 0x18], "lz4")]
fn packed_by_something_else(#[case] bytes: &[u8], #[case] by: &str) {
    let why = format!("\"images.tar\" is packed by {by}: unpack it, or pack it by gzip or zstd");
    assert_eq!(refused(bytes), why);
}

#[test]
fn no_file() {
    let file = OnDisk::new(b"");
    let missing = file.path().with_file_name("missing.tar");
    let error = multiarch_operator::archive::Archive::open(&missing).err().unwrap();
    assert_eq!(
        told(&error, &missing),
        "failed to open \"images.tar\": No such file or directory (os error 2)"
    );
    let device = std::path::Path::new("/dev/null");
    let error = multiarch_operator::archive::Archive::open(device).err().unwrap();
    let why = "\"images.tar\" is neither a file nor a folder, so it cannot be read twice: give it by standard input with \
               --spool";
    assert_eq!(told(&error, device), why);
}

#[test]
fn damaged() {
    let mut tar = Tar::of(&image()).end();
    tar[1024] ^= 1;
    let why =
        "\"images.tar\" is damaged at byte 1536: what should be an entry of a tar archive is none";
    assert_eq!(refused(&tar), why);
    let mut packed = gzip(&Tar::of(&image()).end());
    let middle = packed.len() - 6;
    packed[middle] ^= 1;
    assert!(
        refused(&packed)
            .starts_with("\"images.tar\" is damaged: failed to unpack it; copy it again: ")
    );
    packed.truncate(middle);
    let mut more = gzip(&Tar::of(&image()).end());
    more.extend(b"what does not belong there");
    assert!(refused(&more).starts_with("\"images.tar\" is damaged: failed to unpack it"));
}

/// 64 MiB is what k3s packs with; more has to be asked for, also where it is not used.
#[test]
fn a_window_that_is_too_large() {
    let tar = Tar::of(&image()).end();
    open(&zstd(&tar, 26)).map(drop).unwrap();
    let why = "\"images.tar\" needs more than 64 MiB of memory to be unpacked: pack it with zstd --long=26 or less";
    assert_eq!(refused(&zstd(&tar, 27)), why);
}

#[rstest]
fn an_archive_that_grows_without_end(#[values(true, false)] by_gzip: bool) {
    let image = Image::with("arm64", vec![vec![0; 8 << 20]]);
    let tar = Tar::of(&docker(&[(&image, &["a:1"])])).end();
    let why = "\"images.tar\" unpacks to more than 200 times its size, which no image does";
    assert_eq!(refused(&if by_gzip { gzip(&tar) } else { zstd(&tar, 20) }), why);
}

#[test]
fn a_layer_of_more_than_64_gib() {
    let tar = Tar::new().odd(b'0', "large.tar", "", (64 << 30) + 1, b"").end();
    let why =
        "\"large.tar\" in \"images.tar\" has more than the 68719476736 bytes that it may have";
    assert_eq!(refused(&tar), why);
}

#[test]
fn sizes_past_everything() {
    let sizes = [u64::MAX >> 1, 1 << 62];
    for size in sizes {
        let told = refused(&Tar::new().odd(b'0', "large.tar", "", size, b"").end());
        assert!(told.contains("has more than the"), "{told}");
    }
    // More than 63 bits.
    let told = refused(&Tar::new().odd(b'0', "large.tar", "", u64::MAX, b"").end());
    assert_eq!(told, "\"images.tar\" is damaged at byte 512: the size of an entry is no number");
}

/// GNU's own names and those of pax, which are longer than a header; and a size from pax alone.
#[rstest]
fn long_names(#[values("GNU", "pax", "pax size")] way: &str) {
    let image = Image::of("arm64");
    let long = format!("{}/layer.tar", "x".repeat(150));
    let list = format!(r#"[{{"Config":"c","Layers":["{long}","a","{long}"]}}]"#);
    let (layer, size) = (&image.layers[0], image.layers[0].len());
    let tar = Tar::new().file("c", &image.config).file("a", &image.layers[1]);
    let tar = match way {
        "GNU" => {
            tar.raw(b'L', "././@LongLink", format!("{long}\0").as_bytes()).raw(b'0', "xxx", layer)
        }
        "pax" => tar.pax(&[("path", &long)]).raw(b'0', "xxx", layer),
        _ => {
            let size = size.to_string();
            tar.pax(&[("path", &long), ("size", &size)]).odd(b'0', "xxx", "", 0, layer)
        }
    };
    let archive = open(&tar.file("manifest.json", list.as_bytes()).end()).unwrap();
    archive.manifest_of(&archive.images()[0]).unwrap();
}

/// As docker has them for extended attributes.
#[test]
fn records_of_pax_that_say_nothing_here() {
    let tar = Tar::new().raw(
        b'g',
        "pax_global_header",
        b"52 comment=0123456789012345678901234567890123456789\n",
    );
    let tar = tar.pax(&[("SCHILY.xattr.user.x", "a\nb\n\n"), ("mtime", "1.5")]);
    let tar = image().iter().fold(tar, |tar, (name, bytes)| tar.file(name, bytes));
    open(&tar.end()).map(drop).unwrap();
}

#[rstest]
#[case::gnu(Tar::new().raw(b'S', "a", b""), "\"a\" in \"images.tar\" is a sparse file")]
#[case::pax_0(Tar::new().pax(&[("GNU.sparse.size", "1")]).raw(b'0', "a", b""), "\"a\" in \"images.tar\" is a sparse file")]
#[case::pax_1(Tar::new().pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.name", "b")]).raw(b'0', "a", b""), "\"a\" in \"images.tar\" is a sparse file")]
#[case::star(Tar::new().pax(&[("SCHILY.realsize", "1")]).raw(b'0', "a", b""), "\"a\" in \"images.tar\" is a sparse file")]
#[case::broken(Tar::new().raw(b'x', "p", b"99 path=a\n").raw(b'0', "a", b""), "\"images.tar\" is damaged at byte 1024: the pax records of an entry are malformed")]
#[case::global(Tar::new().raw(b'g', "p", b"10 path=a\n").raw(b'0', "a", b""), "\"images.tar\" is damaged at byte 1024: pax records are to name all entries alike")]
#[case::about_nothing(Tar::new().pax(&[("path", "a")]), "\"images.tar\" is damaged at byte 1536: a name has no entry")]
#[case::long_records(Tar::new().raw(b'x', "p", &vec![b'x'; (1 << 20) + 1]), "\"images.tar\" is damaged at byte 512: the pax records of an entry are too long")]
#[case::long_name(Tar::new().raw(b'L', "p", &[b'x'; 5000]), "\"images.tar\" is damaged at byte 512: a name is too long")]
#[case::not_utf8(Tar::new().raw(b'L', "p", b"\xff\0").raw(b'0', "a", b""), "\"\u{fffd}\" in \"images.tar\" has a name that is not UTF-8")]
#[case::half_an_end(Tar::new().odd(b'0', "a", "", 0, &[0; 512]).raw(b'0', "b", b""), "\"images.tar\" is damaged at byte 1024: there is only half of an end")]
fn odd_entries(#[case] tar: Tar, #[case] why: &str) {
    let told = refused(&tar.end());
    assert!(told.starts_with(why), "{told}");
}

/// Of an entry that is there twice the last one counts.
#[test]
fn the_last_one_of_a_name_counts() {
    let (first, last) = (Image::of("arm64"), Image::of("amd64"));
    let mut files = docker(&[(&first, &["a:1"])]);
    files.extend(docker(&[(&last, &["b:1"])]));
    let archive = open(&Tar::of(&files).end()).unwrap();
    let [image] = archive.images() else { panic!("not one") };
    assert_eq!(image.digest, last.id());
}

/// A blob that is stored twice is one.
#[test]
fn the_same_blob_twice() {
    let mut layout = Layout::default();
    let image = layout.image(&Image::of("arm64"), true);
    layout.list(&image, &[]);
    let mut files = layout.end();
    files.extend(files.clone());
    let archive = open(&Tar::of(&files).end()).unwrap();
    let [image] = archive.images() else { panic!("not one") };
    assert!(archive.manifest_of(image).is_ok() && archive.position(&image.digest).is_some());
}

#[test]
fn as_many_entries_as_no_image_has() {
    // By hand: 65,537 headers.
    let one = Tar::new().raw(b'5', "a/", b"").end();
    let tar = one[..512].repeat(65_537);
    assert_eq!(refused(&tar), "\"images.tar\" has more than 65536 entries");
}

#[test]
fn as_many_names_as_no_image_has() {
    let name = |at: usize| format!("{at:04}{}", "x".repeat(4000));
    let tar =
        (0..2100).fold(Tar::new(), |tar, at| tar.pax(&[("path", &name(at))]).raw(b'0', "a", b""));
    assert_eq!(refused(&tar.end()), "\"images.tar\" has more than 8388608 bytes of names");
}

#[test]
fn as_many_images_as_no_archive_has() {
    let list = format!("[{}]", vec![r#"{"Config":"c"}"#; 4097].join(","));
    let tar = Tar::new().file("c", b"{}").file("manifest.json", list.as_bytes()).end();
    assert_eq!(refused(&tar), "\"images.tar\" has more than 4096 images");
    let listed = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}"#;
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, vec![listed; 4097].join(","));
    let told = refused(&Tar::new().file("index.json", index.as_bytes()).end());
    assert!(told.ends_with("it has 4097 children, more than the 4096 that are allowed"), "{told}");
}

#[test]
fn as_many_layers_as_no_image_has() {
    let list = format!(r#"[{{"Config":"c","Layers":[{}]}}]"#, vec![r#""a""#; 1025].join(","));
    let told = refused(&Tar::new().file("manifest.json", list.as_bytes()).end());
    assert_eq!(told, "\"images.tar\" has more than 1024 layers of one image");
}

/// An index may have a hundred children with large annotations, and an archive thousands of such indexes.
#[test]
fn as_many_children_as_no_archive_has() {
    let mut layout = Layout::default();
    for at in 0..30 {
        let mut child = super::images::describe("text/x", format!("{at}").as_bytes());
        child["annotations"]["x"] = "x".repeat(300 << 10).into();
        let index = layout.index(&[child]);
        layout.list(&index, &[]);
    }
    let told = refused(&Tar::of(&layout.end()).end());
    assert_eq!(told, "\"images.tar\" has more than 8388608 bytes of children of indexes");
}

#[rstest]
#[case::list("manifest.json", 4 << 20)]
#[case::index("index.json", 4 << 20)]
fn documents_that_are_too_long(#[case] name: &str, #[case] limit: usize) {
    let told = refused(&Tar::new().file(name, &vec![b' '; limit + 1]).end());
    assert_eq!(
        told,
        format!("{name:?} in \"images.tar\" has more than the {limit} bytes that it may have")
    );
}

#[test]
fn a_config_that_is_too_long() {
    let list = br#"[{"Config":"c"}]"#;
    let tar = Tar::new().file("c", &vec![b' '; (8 << 20) + 1]).file("manifest.json", list).end();
    assert_eq!(
        refused(&tar),
        "\"c\" in \"images.tar\" has more than the 8388608 bytes that it may have"
    );
}

/// Reads all that an archive gives.
fn use_all(bytes: &[u8]) {
    let file = OnDisk::new(bytes);
    let archive = match file.open() {
        Ok(archive) => archive,
        Err(error) => return assert!(!told(&error, &file.path()).is_empty()),
    };
    for image in archive.images() {
        match archive.manifest_of(image) {
            Ok(raw) => {
                let Ok(multiarch_operator::oci::Manifest::Image(manifest)) = raw.parse() else {
                    continue;
                };
                for blob in manifest.blobs() {
                    if let Ok(Some(mut reader)) = archive.open_blob(&blob.digest) {
                        // What is wrong is told, too.
                        let _ = std::io::copy(&mut reader, &mut std::io::sink());
                    }
                }
            }
            Err(error) => assert!(!told(&error, &file.path()).is_empty()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        use_all(&bytes);
        use_all(&gzip(&bytes));
    }

    /// An archive with other bytes here and there.
    #[test]
    fn nearly_an_archive(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<proptest::sample::Index>(),
        is_cut: bool,
        packing in 0..3,
        mend: bool,
    ) {
        let layers = vec![Tar::new().file("a", b"a").end()];
        let mut tar = Tar::of(&docker(&[(&Image::with("arm64", layers), &["a:1"])])).end();
        for (at, byte) in changes {
            let at = at.index(tar.len());
            tar[at] = byte;
            // Else most changes end at a header's sum.
            if mend {
                let from = at / 512 * 512;
                let header = tar::Header::from_byte_slice(&tar[from..from + 512]);
                let mut header = header.clone();
                if header.as_ustar().is_some() {
                    header.set_cksum();
                    tar[from..from + 512].copy_from_slice(header.as_bytes());
                }
            }
        }
        if is_cut {
            tar.truncate(cut.index(tar.len()));
        }
        match packing {
            0 => use_all(&tar),
            1 => use_all(&gzip(&tar)),
            _ => use_all(&zstd(&tar, 20)),
        }
    }
}
