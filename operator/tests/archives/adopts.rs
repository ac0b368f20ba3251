//! What an archive's images are told apart by, and where their manifests come from, without one that was asked for before.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use multiarch_operator::{
    oci::{Digest, RawManifest, TagOrDigest},
    registry::{Access, Registry, RegistryError, memory::Store},
};

use super::{
    archive::{
        images::{self, Image},
        write::Tar,
    },
    archives, inside,
};

fn saved(image: &Image) -> Vec<u8> {
    Tar::of(&images::docker(&[(image, &["app:1"])])).end()
}

fn config(image: &Image) -> Digest {
    Digest::of(&image.config)
}

#[tokio::test]
async fn an_image_without_manifest_is_told_by_its_config_and_none_is_made_for_that() {
    let mut image = Image::of("amd64");
    let config = config(&image);
    // Whoever packs it is told.
    image.layers[0] = Tar::new().file("other", b"x").end();
    let archives = archives(&Store::new(), &[("amd.tar", &saved(&image)[..])]);
    let name = inside("amd.tar", "app:1");
    let (access, tag) = (Access::default(), name.tag_or_digest());
    let head = archives.head_manifest(&access, name.repository(), &tag).await.unwrap().unwrap();
    assert_eq!(head.digest, config);
    let made = archives.get_manifest(&access, name.repository(), &tag).await;
    assert!(matches!(made, Err(RegistryError::Archive { .. })), "{made:?}");
}

#[tokio::test]
async fn what_is_found_elsewhere_is_asked_for_once_and_taken() {
    let image = Image::of("amd64");
    let store = Store::new();
    let file = saved(&image);
    let name = inside("amd.tar", "app:1");
    let (access, tag) = (Access::default(), name.tag_or_digest());
    let ours = archives(&store, &[("amd.tar", &file[..])]);
    let ours = ours.get_manifest(&access, name.repository(), &tag).await.unwrap().unwrap();
    // As something else has packed it.
    let other = RawManifest::new(
        ours.media_type(),
        String::from_utf8(ours.bytes().to_vec()).unwrap().replace(',', ", ").into(),
    );
    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, found, config) = (Arc::clone(&asked), other.clone(), config(&image));
    let archives = archives(&store, &[("amd.tar", &file[..])]).finding(Arc::new(move |configs| {
        counted.fetch_add(1, Ordering::Relaxed);
        assert_eq!(configs, [config.clone()].into());
        let found = HashMap::from([(config.clone(), found.clone())]);
        Box::pin(async move { found })
    }));
    for _ in 0..2 {
        let taken = archives.get_manifest(&access, name.repository(), &tag).await.unwrap().unwrap();
        assert_eq!(taken.digest(), other.digest());
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_image_is_found_again_by_the_digest_that_its_manifest_had() {
    let (store, file) = (Store::new(), saved(&Image::of("amd64")));
    let name = inside("amd.tar", "app:1");
    let (access, tag) = (Access::default(), name.tag_or_digest());
    let before = archives(&store, &[("amd.tar", &file[..])]);
    let before = before.get_manifest(&access, name.repository(), &tag).await.unwrap().unwrap();
    // Another process, which has made nothing yet.
    let archives = archives(&store, &[("amd.tar", &file[..])]);
    let by_digest = |digest: &Digest| TagOrDigest::Digest(digest.clone());
    let again =
        archives.get_manifest(&access, name.repository(), &by_digest(before.digest())).await;
    assert_eq!(again.unwrap().unwrap().bytes(), before.bytes());
    let nothing = by_digest(&Digest::of(b"nothing"));
    assert!(archives.get_manifest(&access, name.repository(), &nothing).await.unwrap().is_none());
}

#[tokio::test]
async fn an_archive_that_is_not_there_has_nothing_and_one_that_is_broken_says_why() {
    let broken = RegistryError::Archive { why: "broken.tar is broken".into() };
    let lacking = [("gone.tar".to_owned(), None), ("broken.tar".to_owned(), Some(broken))];
    let archives = archives(&Store::new(), &[]).without(lacking);
    let access = Access::default();
    let gone = inside("gone.tar", "app:1");
    let asked = archives.get_manifest(&access, gone.repository(), &gone.tag_or_digest()).await;
    assert!(asked.unwrap().is_none());
    let broken = inside("broken.tar", "app:1");
    let asked = archives.head_manifest(&access, broken.repository(), &broken.tag_or_digest()).await;
    assert_eq!(asked.unwrap_err().to_string(), "broken.tar is broken");
}

#[tokio::test]
async fn an_image_that_an_archive_names_and_does_not_have_says_why() {
    let (image, other) = (Image::of("amd64"), Image::of("arm64"));
    let mut files = images::docker(&[(&image, &["app:1"]), (&other, &["other:1"])]);
    let gone = format!("{}.json", image.id().encoded());
    files.retain(|(name, _)| *name != gone);
    let archives = archives(&Store::new(), &[("amd.tar", &Tar::of(&files).end()[..])]);
    let (access, name) = (Access::default(), inside("amd.tar", "app:1"));
    let asked = archives.get_manifest(&access, name.repository(), &name.tag_or_digest()).await;
    assert!(matches!(asked, Err(RegistryError::Archive { .. })), "{asked:?}");
}
