//! What every registry promises behind the port, one function a promise.

#![allow(dead_code, reason = "each suite uses its own part")]

use bytes::Bytes;
use multiarch_operator::{
    oci::{Digest, Index, RawManifest, Referrer, media_type},
    registry::{Registry, RegistryError, Scope, memory::Image},
};

use super::faces::{Face, PASSWORD, PATHS, USER, by, index, tag};

const APP: &str = PATHS[0];
const OTHER: &str = PATHS[1];

pub(crate) async fn what_is_not_there_is_none(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    let nothing = Digest::of(b"nothing");
    for _ in ["a repository that is not there", "one that is"] {
        for reference in [tag("none"), by(&nothing)] {
            let head = face.client.head_manifest(&access, &app, &reference).await;
            assert_eq!(head.unwrap(), None);
            let get = face.client.get_manifest(&access, &app, &reference).await;
            assert_eq!(get.unwrap(), None);
        }
        let mut blob = face.push_blob(APP, "x", Bytes::from_static(b"some")).await;
        blob.digest = nothing.clone();
        assert_eq!(face.client.get_blob(&access, &app, &blob).await.unwrap(), None);
    }
}

pub(crate) async fn what_was_put_by_digest_is_read_back_byte_by_byte(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    let image = face.prepare(APP, &Image::of("linux/amd64")).await;
    // Not as a serialiser would write it.
    let spaced = String::from_utf8(image.bytes().to_vec()).unwrap().replace(',', " ,\n\t");
    let image = RawManifest::new(image.media_type(), Bytes::from(spaced));
    let digest = by(image.digest());
    face.client.put_manifest(&access, &app, &digest, &image).await.unwrap();
    // Again is no error.
    face.client.put_manifest(&access, &app, &digest, &image).await.unwrap();
    let read = face.client.get_manifest(&access, &app, &digest).await.unwrap().unwrap();
    assert_eq!(read, image);
    let head = face.client.head_manifest(&access, &app, &digest).await.unwrap().unwrap();
    assert_eq!(head, image.descriptor());
}

pub(crate) async fn a_tag_names_what_was_put_last(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    let old = face.prepare(APP, &Image::of("linux/amd64").salted("old")).await;
    let new = face.prepare(APP, &Image::of("linux/amd64").salted("new")).await;
    for image in [&old, &new] {
        face.client.put_manifest(&access, &app, &tag("1.0"), image).await.unwrap();
        let head = face.client.head_manifest(&access, &app, &tag("1.0")).await.unwrap();
        assert_eq!(head.unwrap(), image.descriptor());
        let read = face.client.get_manifest(&access, &app, &tag("1.0")).await.unwrap();
        assert_eq!(read.as_ref(), Some(image));
    }
    let kept = face.client.get_manifest(&access, &app, &by(old.digest())).await.unwrap();
    assert_eq!(kept, Some(old), "what lost its tag is still there by digest");
}

pub(crate) async fn an_index_and_its_children_are_read_by_tag_and_digest(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    let amd64 = face.push(APP, &Image::of("linux/amd64")).await;
    let arm64 = face.push(APP, &Image::of("linux/arm64")).await;
    let index = index(&[&amd64, &arm64]);
    face.client.put_manifest(&access, &app, &tag("1.0"), &index).await.unwrap();
    for reference in [tag("1.0"), by(index.digest())] {
        let read = face.client.get_manifest(&access, &app, &reference).await.unwrap();
        assert_eq!(read.as_ref(), Some(&index));
        let head = face.client.head_manifest(&access, &app, &reference).await.unwrap();
        assert_eq!(head, Some(index.descriptor()));
    }
    for child in [amd64, arm64] {
        let head = face.client.head_manifest(&access, &app, &by(child.digest())).await;
        assert_eq!(head.unwrap(), Some(child.descriptor()));
    }
}

pub(crate) async fn the_media_type_is_the_one_that_was_put(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    for image in [Image::of("linux/amd64"), Image::of("linux/amd64").docker()] {
        let expected =
            if image.docker { media_type::DOCKER_MANIFEST } else { media_type::OCI_MANIFEST };
        let put = face.push(APP, &image).await;
        let digest = by(put.digest());
        let head = face.client.head_manifest(&access, &app, &digest).await.unwrap().unwrap();
        assert_eq!(head.media_type, expected);
        let read = face.client.get_manifest(&access, &app, &digest).await.unwrap().unwrap();
        assert_eq!(read.media_type(), expected);
    }
}

pub(crate) async fn content_that_is_not_its_digest_is_refused(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    let image = face.prepare(APP, &Image::of("linux/amd64")).await;
    let other = by(&Digest::of(b"other"));
    let error = face.client.put_manifest(&access, &app, &other, &image).await.unwrap_err();
    match &error {
        RegistryError::Refused { status: 400, codes, .. } => {
            assert_eq!(codes, &["DIGEST_INVALID"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(face.client.head_manifest(&access, &app, &other).await.unwrap(), None);
}

pub(crate) async fn an_index_without_its_children_is_refused(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    let there = face.push(APP, &Image::of("linux/amd64")).await;
    let absent = face.prepare(APP, &Image::of("linux/arm64")).await;
    let index = index(&[&there, &absent]);
    let error = face.client.put_manifest(&access, &app, &tag("1.0"), &index).await;
    let error = error.unwrap_err();
    assert!(matches!(error, RegistryError::Refused { status: 400, .. }), "{error:?}");
    assert!(error.to_string().contains("MANIFEST_BLOB_UNKNOWN"), "{error}");
    let head = face.client.head_manifest(&access, &app, &tag("1.0")).await.unwrap();
    assert_eq!(head, None, "nothing is published");
}

pub(crate) async fn an_image_without_its_blobs_is_refused(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    let elsewhere = face.push(OTHER, &Image::of("linux/amd64").salted("elsewhere")).await;
    face.push(APP, &Image::of("linux/s390x")).await;
    let error = face.client.put_manifest(&access, &app, &tag("1.0"), &elsewhere).await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("MANIFEST_BLOB_UNKNOWN"), "{error}");
    assert_eq!(face.client.head_manifest(&access, &app, &tag("1.0")).await.unwrap(), None);
}

pub(crate) async fn a_blob_is_read_whole(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    let bytes = Bytes::from(vec![7; 300_000]);
    let blob = face.push_blob(APP, "application/octet-stream", bytes.clone()).await;
    let read = face.client.get_blob(&access, &app, &blob).await.unwrap();
    assert_eq!(read, Some(bytes));
}

pub(crate) async fn a_blob_of_another_size_is_refused(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    let blob = face.push_blob(APP, "x", Bytes::from_static(b"some bytes")).await;
    for size in [3, 300] {
        let mut wrong = blob.clone();
        wrong.size = size;
        let error = face.client.get_blob(&access, &app, &wrong).await.unwrap_err();
        match &error {
            RegistryError::WrongSize { expected, received, request, .. } => {
                assert_eq!((*expected, *received), (size, 10));
                assert_eq!(request.to_string(), format!("GET blob {}@{}", app.path(), blob.digest));
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn a_repository_shows_only_its_own(face: Face) {
    let access = face.access();
    let image = face.push(OTHER, &Image::of("linux/amd64").salted("only there")).await;
    face.push(APP, &Image::of("linux/amd64")).await;
    let (app, other) = (face.repository(APP), face.repository(OTHER));
    let digest = by(image.digest());
    assert!(face.client.head_manifest(&access, &other, &digest).await.unwrap().is_some());
    assert_eq!(face.client.head_manifest(&access, &app, &digest).await.unwrap(), None);
}

pub(crate) async fn a_deleted_tag_is_gone_and_nothing_else(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    assert!(!face.client.delete_tag(&access, &app, "1.0").await.unwrap(), "no repository");
    let image = face.push(APP, &Image::of("linux/amd64")).await;
    for name in ["1.0", "latest"] {
        face.client.put_manifest(&access, &app, &tag(name), &image).await.unwrap();
    }
    assert!(face.client.delete_tag(&access, &app, "1.0").await.unwrap());
    assert!(!face.client.delete_tag(&access, &app, "1.0").await.unwrap(), "no tag");
    assert_eq!(face.client.head_manifest(&access, &app, &tag("1.0")).await.unwrap(), None);
    for reference in [tag("latest"), by(image.digest())] {
        let head = face.client.head_manifest(&access, &app, &reference).await.unwrap();
        assert_eq!(head, Some(image.descriptor()));
    }
}

pub(crate) async fn what_refers_to_a_manifest_is_listed_once(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    let subject = face.push(APP, &Image::of("linux/amd64")).await;
    let other = face.push(APP, &Image::of("linux/arm64")).await;
    let listed = async |of: &RawManifest| {
        let listed = face.client.list_referrers(&access, &app, of.digest()).await.unwrap();
        let names = listed.iter().map(|listed| listed.annotations["name"].clone());
        let mut names: Vec<_> = names.collect();
        names.sort();
        (listed, names)
    };
    assert_eq!(listed(&subject).await.0, []);
    let one = face.prepare_referrer(APP, &subject.descriptor(), "one").await;
    let two = face.prepare_referrer(APP, &subject.descriptor(), "two").await;
    for referrer in [&one, &one, &two] {
        face.client.put_referrer(&access, &app, referrer, subject.digest()).await.unwrap();
        let read = face.client.get_manifest(&access, &app, &by(referrer.digest())).await;
        assert_eq!(read.unwrap().as_ref(), Some(referrer));
        let mut expected = referrer.descriptor();
        expected.artifact_type = Some("application/vnd.example.about".into());
        expected.annotations =
            Referrer::of(referrer, subject.digest()).unwrap().descriptor.annotations;
        let (listed, _) = listed(&subject).await;
        assert!(listed.contains(&expected), "{listed:?}");
    }
    assert_eq!(listed(&subject).await.1, ["one", "two"]);
    assert_eq!(listed(&other).await.0, [], "another image");
    let elsewhere = face.repository(OTHER);
    face.push(OTHER, &Image::of("linux/amd64")).await;
    let there = face.client.list_referrers(&access, &elsewhere, subject.digest()).await;
    assert_eq!(there.unwrap(), [], "another repository");
}

pub(crate) async fn an_index_may_refer_to_a_manifest(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    let subject = face.push(APP, &Image::of("linux/amd64")).await;
    let about = Index { subject: Some(subject.descriptor()), ..Index::new(Vec::new(), [].into()) };
    let about = about.to_raw();
    face.client.put_referrer(&access, &app, &about, subject.digest()).await.unwrap();
    let listed = face.client.list_referrers(&access, &app, subject.digest()).await.unwrap();
    assert_eq!(listed, [about.descriptor()], "no artifactType is made up for an index");
}

pub(crate) async fn what_refers_to_something_else_is_not_put(face: Face) {
    let (access, app) = (face.access(), face.repository(APP));
    let subject = face.push(APP, &Image::of("linux/amd64")).await;
    let other = face.push(APP, &Image::of("linux/arm64")).await;
    let about_other = face.prepare_referrer(APP, &other.descriptor(), "one").await;
    for manifest in [&about_other, &other] {
        let put = face.client.put_referrer(&access, &app, manifest, subject.digest()).await;
        let error = put.unwrap_err();
        assert!(matches!(error, RegistryError::Unusable { .. }), "{error:?}");
        let parts = "its subject is another manifest or none";
        assert!(error.to_string().contains(parts), "{error}");
    }
    let head = face.client.head_manifest(&access, &app, &by(about_other.digest())).await;
    assert_eq!(head.unwrap(), None);
    let listed = face.client.list_referrers(&access, &app, subject.digest()).await.unwrap();
    assert_eq!(listed, []);
}

pub(crate) async fn a_wrong_or_missing_credential_is_unauthorized(face: Face) {
    let app = face.repository(APP);
    let image = face.push(APP, &Image::of("linux/amd64")).await;
    let cases = [
        (None, "a request without credential"),
        (Some((USER, "wrong")), "the credential of Secret push"),
        (Some(("nobody", PASSWORD)), "the credential of Secret push"),
    ];
    for (login, who) in cases {
        let access = face.who_else(login).with_scope(Scope::push(&app));
        let digest = by(image.digest());
        let errors = [
            face.client.head_manifest(&access, &app, &digest).await.unwrap_err(),
            face.client.get_manifest(&access, &app, &digest).await.unwrap_err(),
            face.client.put_manifest(&access, &app, &tag("1.0"), &image).await.unwrap_err(),
        ];
        let may_be_anybody = login.is_none() && face.gives_tokens_to_nobody();
        for error in errors {
            match &error {
                RegistryError::Unauthorized { host, credential, status: 401 }
                    if !may_be_anybody =>
                {
                    assert_eq!((host, credential.as_str()), (&face.host, who));
                }
                RegistryError::Denied { host, credential, status: 401, .. } if may_be_anybody => {
                    assert_eq!((host, credential.as_str()), (&face.host, who));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let head = face.client.head_manifest(&face.access(), &app, &tag("1.0")).await.unwrap();
    assert_eq!(head, None, "nothing is published");
}
