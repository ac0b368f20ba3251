//! Which entries are refused, and which links are followed.

use rstest::rstest;

use super::{
    images::{Image, docker},
    write::{Tar, blob, gzip, open, refused},
};

const OUT: &str = ": it is not read, because it could lead to another file than the archive's own";

/// An archive of one image beside which there may be anything.
fn image() -> Tar {
    Tar::of(&docker(&[(&Image::of("arm64"), &["a:1"])]))
}

#[rstest]
#[case::symbolic(Tar::link, "README", "manifest.json", "\"README\" in \"images.tar\" is a link")]
#[case::hard(Tar::hard_link, "README", "manifest.json", "\"README\" in \"images.tar\" is a link")]
#[case::layer_tar_alone(
    Tar::link,
    "layer.tar",
    "manifest.json",
    "\"layer.tar\" in \"images.tar\" is a link"
)]
#[case::to_nothing(
    Tar::link,
    "x/layer.tar",
    "y",
    "\"x/layer.tar\" in \"images.tar\" is a link to what is no file of the archive"
)]
#[case::to_itself(
    Tar::link,
    "x/layer.tar",
    "layer.tar",
    "\"x/layer.tar\" in \"images.tar\" is a link to what is no file of the archive"
)]
#[case::out(
    Tar::link,
    "x/layer.tar",
    "../../etc/passwd",
    "\"x/layer.tar\" in \"images.tar\" is a link that leads out of the archive"
)]
#[case::absolute(
    Tar::link,
    "x/layer.tar",
    "/etc/passwd",
    "\"x/layer.tar\" in \"images.tar\" has an absolute path"
)]
fn links(
    #[case] link: fn(Tar, &str, &str) -> Tar,
    #[case] name: &str,
    #[case] to: &str,
    #[case] why: &str,
    #[values(true, false)] packed: bool,
) {
    let tar = link(image(), name, to).end();
    let refused = refused(&if packed { gzip(&tar) } else { tar });
    assert_eq!(refused, format!("{why}{OUT}"));
}

#[test]
fn a_link_is_followed_once() {
    let tar = image().link("y/layer.tar", "../manifest.json").link("x/layer.tar", "../y/layer.tar");
    let why = "\"x/layer.tar\" in \"images.tar\" is a link to what is no file of the archive";
    assert_eq!(refused(&tar.end()), format!("{why}{OUT}"));
}

/// Docker links a layer that an earlier image had; manifest.json may name any link.
#[rstest]
#[case::layer_tar("b/layer.tar", "../a/layer.tar", Tar::link)]
#[case::named("b.tar", "./a/layer.tar", Tar::link)]
#[case::hard("b.tar", "a/layer.tar", Tar::hard_link)]
fn a_link_that_is_named(
    #[case] name: &str,
    #[case] to: &str,
    #[case] link: fn(Tar, &str, &str) -> Tar,
) {
    let image = Image::of("arm64");
    let list = format!(r#"[{{"Config":"c","Layers":["a/layer.tar","x","{name}"]}}]"#);
    let tar = Tar::new().file("c", &image.config).file("x", &image.layers[1]);
    let tar = link(tar.file("a/layer.tar", &image.layers[0]), name, to);
    let archive = open(&tar.file("manifest.json", list.as_bytes()).end()).unwrap();
    let read = &archive.images()[0];
    archive.manifest_of(read).unwrap();
    assert_eq!(blob(&archive, &read.digest), image.config);
}

#[rstest]
#[case::absolute(b'0', "/etc/passwd", "has an absolute path")]
#[case::up(b'0', "../x", "has a path with `..`")]
#[case::up_within(b'0', "a/../x", "has a path with `..`")]
#[case::folder(b'5', "../x/", "has a path with `..`")]
#[case::character_device(b'3', "null", "is a device")]
#[case::block_device(b'4', "sda", "is a device")]
#[case::pipe(b'6', "pipe", "is a pipe")]
#[case::other(b'V', "volume", "is of a kind that no image's archive has")]
#[case::sparse(b'S', "sparse", "is a sparse file")]
#[case::nameless(b'0', "./", "")]
#[case::nameless(b'2', ".", "has no name")]
fn entries(#[case] kind: u8, #[case] name: &str, #[case] why: &str) {
    let tar = image().raw(kind, name, b"").end();
    if why.is_empty() {
        open(&tar).unwrap();
    } else {
        assert_eq!(refused(&tar), format!("\"{name}\" in \"images.tar\" {why}{OUT}"));
    }
}

#[test]
fn folders_are_harmless() {
    let tar = Tar::new().raw(b'5', "./", b"").raw(b'5', "blobs/", b"").raw(b'0', "old/", b"");
    let image = Image::of("arm64");
    let tar = docker(&[(&image, &[])]).iter().fold(tar, |tar, (name, bytes)| tar.file(name, bytes));
    open(&tar.end()).unwrap();
}

/// Names begin with `./` where somebody has packed a folder again.
#[test]
fn names_in_another_spelling() {
    let image = Image::of("arm64");
    let files = docker(&[(&image, &["a:1"])]);
    let tar = files.iter().fold(Tar::new(), |tar, (name, bytes)| {
        let short = name.len() < 90;
        if short { tar.raw(b'0', &format!("./{name}"), bytes) } else { tar.file(name, bytes) }
    });
    let archive = open(&tar.end()).unwrap();
    archive.manifest_of(&archive.images()[0]).unwrap();
}

/// A name is shown so that it can do nothing to a terminal.
#[test]
fn names_are_shown_escaped() {
    let tar = image().raw(b'6', "a\u{1b}[31mb\n", b"").end();
    assert!(refused(&tar).starts_with("\"a\\u{1b}[31mb\\n\" in \"images.tar\" is a pipe"));
    let long = "x".repeat(1000);
    let tar = image().pax(&[("path", &long)]).raw(b'6', "a", b"").end();
    assert!(refused(&tar).starts_with(&format!("\"{}…\" in", "x".repeat(200))));
}
