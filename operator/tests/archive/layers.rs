//! Layers of `docker save` archives are held to the diff_ids of their config.

use multiarch_operator::{archive::ArchiveError, oci::Digest};
use rstest::rstest;

use super::{
    images::{Files, Image, Writer, crane, docker},
    write::{OnDisk, Tar, gzip, told, zstd},
};

/// Why the one image of `files` cannot be had.
fn refused(files: &Files) -> String {
    let file = OnDisk::new(&Tar::of(files).end());
    let archive = file.open().unwrap();
    let error = archive.manifest_of(&archive.images()[0]).unwrap_err();
    let again = archive.manifest_of(&archive.images()[0]).unwrap_err();
    assert_eq!(error.to_string(), again.to_string());
    told(&error, &file.path())
}

/// The first layer of an archive.
fn layer(files: &mut Files) -> &mut (String, Vec<u8>) {
    files.iter_mut().find(|(name, _)| name.contains(".tar")).unwrap()
}

#[rstest]
#[case::plain(docker)]
#[case::packed(crane)]
fn a_layer_that_is_another_one(#[case] write: Writer) {
    let image = Image::of("arm64");
    let mut files = write(&[(&image, &["a:1"])]);
    let (name, bytes) = layer(&mut files);
    let other = Tar::new().file("evil", b"evil").end();
    *bytes = if name.contains(".gz") { gzip(&other) } else { other.clone() };
    let why = format!(
        "{name:?} in \"images.tar\" is not the layer that the image {} is made of: it is {} and not {}; save the image \
         again",
        image.id(),
        Digest::of(&other),
        Digest::of(&image.layers[0])
    );
    assert_eq!(refused(&files), why);
}

#[rstest]
#[case::fewer(2)]
#[case::more(4)]
fn as_many_layers_as_diff_ids(#[case] layers: usize) {
    let image = Image::of("arm64");
    let short =
        Image { layers: image.layers.iter().cycle().take(layers).cloned().collect(), ..image };
    let why = format!(
        "the image {} in \"images.tar\" has {layers} layers in manifest.json and 3 in its config: save it again",
        short.id()
    );
    assert_eq!(refused(&docker(&[(&short, &["a:1"])])), why);
}

#[test]
fn a_config_without_layers() {
    let image = Image { config: b"{}".to_vec(), layers: Vec::new() };
    let config = image.id().encoded().to_owned();
    let why = format!(
        "failed to read \"{config}.json\" in \"images.tar\": not a valid config: missing field `rootfs` at line 1 column 2"
    );
    assert_eq!(refused(&docker(&[(&image, &["a:1"])])), why);
}

#[rstest]
#[case::xz(b"\xfd7zXZ\0", "xz")]
#[case::bzip2(b"BZh9", "bzip2")]
fn a_layer_packed_by_something_else(#[case] magic: &[u8], #[case] by: &str) {
    let mut files = docker(&[(&Image::of("arm64"), &["a:1"])]);
    let (name, bytes) = layer(&mut files);
    *bytes = magic.to_vec();
    let why = format!(
        "{name:?} in \"images.tar\" is packed by {by}: unpack it, or pack it by gzip or zstd"
    );
    assert_eq!(refused(&files), why);
}

#[test]
fn a_packed_layer_that_is_cut_off() {
    let mut files = crane(&[(&Image::of("arm64"), &["a:1"])]);
    let (name, bytes) = layer(&mut files);
    bytes.truncate(bytes.len() - 4);
    let why = format!(
        "{name:?} in \"images.tar\" is cut off: it ends before its end was written; copy it again"
    );
    assert_eq!(refused(&files), why);
}

#[test]
fn a_packed_layer_that_is_damaged() {
    let mut files = crane(&[(&Image::of("arm64"), &["a:1"])]);
    let (name, bytes) = layer(&mut files);
    let crc = bytes.len() - 8;
    bytes[crc] ^= 1;
    let why =
        format!("{name:?} in \"images.tar\" is damaged: failed to unpack it; copy it again: ");
    let told = refused(&files);
    assert!(told.starts_with(&why), "{told}");
}

#[test]
fn a_packed_layer_that_grows_without_end() {
    let zeros = vec![0; 8 << 20];
    let image = Image::with("arm64", vec![zeros]);
    let why = "in \"images.tar\" unpacks to more than 200 times its size, which no image does";
    assert!(refused(&crane(&[(&image, &["a:1"])])).ends_with(why));
    // Plain it is what it is.
    let archive = OnDisk::new(&Tar::of(&docker(&[(&image, &["a:1"])])).end()).open().unwrap();
    archive.manifest_of(&archive.images()[0]).unwrap();
}

#[test]
fn a_layer_that_takes_too_much_memory() {
    let image = Image::of("arm64");
    let mut files = docker(&[(&image, &["a:1"])]);
    let (name, bytes) = layer(&mut files);
    *bytes = zstd(&image.layers[0], 24);
    let why = format!(
        "{name:?} in \"images.tar\" needs more than 8 MiB of memory to be unpacked: pack it with zstd --long=23 or less"
    );
    assert_eq!(refused(&files), why);
}

/// Of many images those are told that have the bad layer.
#[test]
fn one_bad_layer_stops_no_other_image() {
    let (good, bad) = (Image::of("arm64"), Image::of("amd64"));
    let mut files = docker(&[(&bad, &["a:1"]), (&good, &["b:1"])]);
    layer(&mut files).1.clear();
    let archive = OnDisk::new(&gzip(&Tar::of(&files).end())).open().unwrap();
    let images: Vec<_> = archive.images().iter().collect();
    let made = archive.manifests_of(&images);
    assert!(matches!(made[0], Err(ArchiveError::DiffId { .. })));
    assert!(made[1].is_ok());
}
