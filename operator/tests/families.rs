//! The registries that people have, simulated after what was reported of them: each is published to and copied from as any other, or says which of the documented conditions it is in.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/life.rs"]
mod life;
#[path = "registry/object.rs"]
mod object;
#[path = "registry/promises.rs"]
mod promise;
#[path = "registry/site.rs"]
mod site;

use faces::{PASSWORD, PATHS, USER};
use life::{APP, At, OTHER, PLATFORMS, Scene};
use multiarch_crds::condition::Reason;
use multiarch_operator::{
    reconcile::status::Outcome,
    registry::{
        Registry,
        memory::{
            Family, Image, Lie, Store,
            server::{
                Seen, User,
                families::{Deployment, trouble},
            },
        },
        remote::Remote,
    },
};
use object::Object;
use rstest::rstest;
use site::Where;

/// A registry of a family, and what whole runs need around it.
struct Face {
    there: Deployment,
    scene: Scene,
}

impl Face {
    async fn of(family: Family) -> Self {
        Self::in_trouble(family, []).await
    }

    async fn in_trouble(family: Family, trouble: impl IntoIterator<Item = Lie>) -> Self {
        let users = vec![User::new(USER, PASSWORD, &PATHS)];
        let there = family.deploy(Store::new(), users, trouble).await;
        let host = there.registry.addr.to_string();
        let realm = there.tokens.iter().map(|at| (host.clone(), format!("{}/token", at.origin())));
        let login = serde_json::json!({ "username": USER, "password": PASSWORD });
        let logins = serde_json::json!({ "auths": { host.as_str(): login } });
        let scene = Scene::at(Where {
            host: host.clone(),
            prefix: None,
            plain_http: true,
            logins: Some(logins.to_string()),
            token_realms: realm.collect(),
            ..Where::default()
        });
        let scene = scene.await;
        for platform in PLATFORMS {
            let image = Image::of(&format!("linux/{platform}"));
            there.registry.store().push(APP, Some(platform), &image);
            there.registry.store().push(OTHER, Some(platform), &image);
            scene.plain.store().push(OTHER, Some(platform), &image.salted("plain"));
        }
        Self { there, scene }
    }

    fn store(&self) -> &Store {
        self.there.registry.store()
    }

    fn remote(&self) -> &Remote {
        self.scene.site.remote()
    }

    /// An object whose sources are in the target's repository.
    fn assembling(&self) -> Object {
        self.scene.object(At::Site(APP), At::Site(APP))
    }

    /// What holds after every life.
    fn check(&self) {
        assert_eq!(self.there.registry.open_uploads(), 0, "{:#?}", self.there.registry.requests());
        if let Some(storage) = &self.there.storage {
            let told = |seen: &Seen| !seen.header("authorization").is_empty();
            assert!(!storage.seen().iter().any(told), "a CDN sees no credential");
        }
    }
}

macro_rules! each_family {
    ($($promise:ident)*) => {$(
        #[rstest]
        #[case::hub(Family::Hub)]
        #[case::ghcr(Family::Ghcr)]
        #[case::ecr(Family::Ecr)]
        #[case::gar(Family::Gar)]
        #[case::acr(Family::Acr)]
        #[case::harbor(Family::Harbor)]
        #[case::quay(Family::Quay)]
        #[case::gitlab(Family::GitLab)]
        #[case::artifactory(Family::Artifactory)]
        #[tokio::test]
        async fn $promise(#[case] family: Family) {
            let face = Face::of(family).await;
            life::$promise(&face.scene).await;
            face.check();
        }
    )*};
}

each_family! {
    an_index_is_published_kept_and_follows_its_sources
    images_of_another_repository_are_copied
    images_of_another_registry_are_copied
    another_registry_gets_its_images
}

/// What refers to an image is listed by the API, or without it under the fallback tag.
#[rstest]
#[case::hub(Family::Hub)]
#[case::ghcr(Family::Ghcr)]
#[case::ecr(Family::Ecr)]
#[case::gar(Family::Gar)]
#[case::acr(Family::Acr)]
#[case::harbor(Family::Harbor)]
#[case::quay(Family::Quay)]
#[case::artifactory(Family::Artifactory)]
#[tokio::test]
async fn what_refers_to_an_image_is_listed(#[case] family: Family) {
    let face = Face::of(family).await;
    promise::what_refers_to_a_manifest_is_listed_once(face.scene.site.face).await;
}

#[tokio::test]
async fn what_gitlab_cannot_list_is_told() {
    let face = Face::of(Family::GitLab).await;
    let there = &face.scene.site.face;
    let image = face.store().tagged(APP, "amd64").unwrap();
    let about = there.prepare_referrer(APP, &image.descriptor(), "one").await;
    let (access, app) = (there.access(), there.repository(APP));
    let put = there.client.put_referrer(&access, &app, &about, image.digest()).await;
    let told = put.unwrap_err().to_string();
    assert!(told.contains("what refers to it cannot be listed there"), "{told}");
    let listed = there.client.list_referrers(&access, &app, image.digest()).await.unwrap();
    assert_eq!(listed, []);
}

/// What cannot be deleted says so at once, and stays.
#[rstest]
#[case::hub(Family::Hub, Some(405))]
#[case::ghcr(Family::Ghcr, Some(405))]
#[case::ecr(Family::Ecr, None)]
#[case::gar(Family::Gar, None)]
#[case::acr(Family::Acr, None)]
#[case::harbor(Family::Harbor, Some(405))]
#[case::quay(Family::Quay, None)]
#[case::gitlab(Family::GitLab, Some(401))]
#[case::artifactory(Family::Artifactory, None)]
#[tokio::test]
async fn a_tag_is_deleted_and_nothing_else(#[case] family: Family, #[case] refused: Option<u16>) {
    let face = Face::of(family).await;
    let deleted = life::a_tag_is_deleted_and_nothing_else(&face.scene).await;
    assert_eq!(deleted.err().map(|error| error.status()), refused.map(Some));
    face.check();
}

/// What `face` is asked to publish, and is not: in which words, and that nothing
/// of what was published before is withdrawn.
async fn held(face: &Face, mut object: Object, reason: Reason, words: &[&str]) {
    let (status, tagged) = (object.status.clone(), face.store().tagged(APP, "1.0"));
    let run = object.run(face.remote()).await;
    let Outcome::Held(failure) = &run.outcome else { panic!("{run:#?}") };
    assert_eq!(failure.consequence.reason, reason, "{}", failure.message);
    let host = face.there.registry.addr.to_string();
    let sources = object.status.sources.iter().filter_map(|source| source.message.clone());
    let told = sources.chain([failure.message.clone()]).collect::<Vec<_>>().join("; ");
    for word in words.iter().chain([&host.as_str()]) {
        assert!(told.contains(word), "{told} does not say {word}");
    }
    assert!(!run.pushed);
    assert_eq!(object.status.digest, status.digest);
    assert_eq!(face.store().tagged(APP, "1.0"), tagged);
    // What was dropped is cancelled behind the run's back.
    face.there.registry.until(|registry| registry.open_uploads() == 0).await;
}

/// A source that is not there yet is waited for, whatever the registry says of it.
#[rstest]
#[case::hub(Family::Hub, "team/absent", None, "HTTP 401")]
#[case::quay(Family::Quay, "team/absent", None, "HTTP 401")]
#[case::ghcr(Family::Ghcr, "team/absent", None, "HTTP 403")]
#[case::artifactory(Family::Artifactory, OTHER, Some(trouble::artifactory_absent()), "HTTP 403")]
#[tokio::test]
async fn what_is_not_there_yet_is_awaited(
    #[case] family: Family,
    #[case] path: &str,
    #[case] lie: Option<Lie>,
    #[case] answer: &str,
) {
    let face = Face::in_trouble(family, lie).await;
    let absent = format!("{}/{path}:1.0", face.there.registry.addr);
    let mut object = face.scene.object(At::Plain(OTHER), At::Plain(APP));
    object.spec.sources[0].image.clone_from(&absent);
    // Whoever may read nothing there gets no token at GHCR, which is told from a wrong credential
    // only where none was sent.
    if family == Family::Ghcr {
        object.spec.image_pull_secrets = Vec::new();
    }
    held(&face, object, Reason::WaitingForPlatforms, &[&absent, answer]).await;
}

/// Copies of another registry's images, where people set the registry up so.
#[rstest]
#[case::hub_limit(Family::Hub, trouble::hub_limit(), Reason::RateLimited, &["HTTP 429"])]
#[case::ecr_no_repository(Family::Ecr, trouble::ecr_no_repository(), Reason::RepositoryNotFound, &["create it first"])]
#[case::gar_no_repository(Family::Gar, trouble::gar_no_repository(), Reason::AccessDenied, &["HTTP 403 DENIED", "no push right"])]
#[case::harbor_quota(Family::Harbor, trouble::harbor_quota(), Reason::AccessDenied, &["HTTP 403 DENIED", "quota full"])]
#[case::artifactory_absent(Family::Artifactory, trouble::artifactory_absent(), Reason::AccessDenied, &["team/app:1.0", "HTTP 403 UNAUTHORIZED"])]
#[tokio::test]
async fn a_target_that_takes_nothing_is_told(
    #[case] family: Family,
    #[case] lie: Lie,
    #[case] reason: Reason,
    #[case] words: &[&str],
) {
    let face = Face::in_trouble(family, [lie]).await;
    let object = face.scene.object(At::Plain(OTHER), At::Site(APP));
    held(&face, object, reason, words).await;
}

/// A tag that may not change still is published once, and kept.
#[rstest]
#[case::ecr(Family::Ecr, trouble::ecr_immutable(), "HTTP 400 TAG_INVALID")]
#[case::harbor(Family::Harbor, trouble::harbor_immutable(), "HTTP 412 PRECONDITION")]
#[tokio::test]
async fn a_tag_that_may_not_change_is_told_as_such(
    #[case] family: Family,
    #[case] lie: Lie,
    #[case] answer: &str,
) {
    let face = Face::in_trouble(family, [lie]).await;
    let mut object = face.assembling();
    object.serves(face.remote(), true).await;
    object.rests(face.remote()).await;
    face.store().push(APP, Some("arm64"), &Image::of("linux/arm64").salted("moved"));
    held(&face, object, Reason::TagImmutable, &["PUT manifest team/app:1.0", answer]).await;
}

/// What the scanner found does not withdraw what is published.
#[tokio::test]
async fn images_that_harbor_does_not_let_anybody_read_stay_published() {
    let face = Face::of(Family::Harbor).await;
    let mut object = face.assembling();
    object.serves(face.remote(), true).await;
    face.there.registry.lie([trouble::harbor_scanner()]);
    let words = ["HTTP 412", "a scanner's"];
    held(&face, object, Reason::RegistryUnreachable, &words).await;
}

#[tokio::test]
async fn a_mount_that_harbor_takes_for_a_login_is_an_upload_instead() {
    let face = Face::in_trouble(Family::Harbor, [trouble::harbor_mount()]).await;
    face.scene.object(At::Site(OTHER), At::Site(APP)).serves(face.remote(), true).await;
    assert_eq!(face.scene.site.whole(APP, "1.0").await.len(), PLATFORMS.len());
}

#[tokio::test]
async fn an_index_of_both_formats_is_refused_by_older_quays_in_their_words() {
    let face = Face::in_trouble(Family::Quay, [trouble::quay_mixed_index()]).await;
    face.store().push(APP, Some("arm64"), &Image::of("linux/arm64").docker());
    let words = ["PUT manifest team/app:1.0", "HTTP 400 MANIFEST_INVALID"];
    held(&face, face.assembling(), Reason::PushFailed, &words).await;
}
