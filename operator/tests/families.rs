//! The registries that people have, simulated after what was reported of them: each is published to and copied from as any other, or says which of the documented conditions it is in.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/object.rs"]
mod object;

use std::time::Duration;

use faces::{PASSWORD, PATHS, USER, access};
use multiarch_crds::condition::Reason;
use multiarch_operator::{
    oci::{Manifest, TagOrDigest},
    reconcile::status::Outcome,
    registry::{
        Registry, Scope,
        memory::{
            Family, Image, Lie, Lies, Server, Store, serve,
            server::{
                Seen, User,
                families::{Deployment, trouble},
            },
        },
        remote::{Limits, Options, Remote},
    },
};
use object::Object;
use rstest::rstest;

const APP: &str = PATHS[0];
const OTHER: &str = PATHS[1];
const PLATFORMS: [&str; 2] = ["amd64", "arm64"];

/// A registry of a family, a plain one beside it, and a client.
struct Scene {
    family: Family,
    there: Deployment,
    plain: Server,
    remote: Remote,
}

impl Scene {
    async fn of(family: Family) -> Self {
        Self::in_trouble(family, []).await
    }

    async fn in_trouble(family: Family, trouble: impl IntoIterator<Item = Lie>) -> Self {
        let (store, plain) = (Store::new(), Store::new());
        for platform in PLATFORMS {
            for (store, path, salt) in
                [(&store, APP, "app"), (&store, OTHER, "other"), (&plain, OTHER, "plain")]
            {
                let image = Image::of(&format!("linux/{platform}")).salted(salt);
                store.push(path, Some(platform), &image);
            }
        }
        let users = vec![User::new(USER, PASSWORD, &PATHS)];
        let there = family.deploy(store, users, trouble).await;
        let host = there.registry.addr.to_string();
        let realm = there.tokens.iter().map(|at| (host.clone(), format!("{}/token", at.origin())));
        let options = Options {
            allow_loopback: true,
            allow_http: true,
            token_realms: realm.collect(),
            limits: Limits { backoff: Duration::from_millis(1), ..Limits::default() },
            ..Options::default()
        };
        let remote = Remote::new(options).unwrap();
        Self { family, there, plain: serve(plain, Lies::default()).await, remote }
    }

    fn store(&self) -> &Store {
        self.there.registry.store()
    }

    /// An object that publishes `to` what `from` has for each platform.
    fn object(&self, from: (&Server, &str), to: (&Server, &str)) -> Object {
        let image = |(server, path): (&Server, &str), tag| format!("{}/{path}:{tag}", server.addr);
        let hosts = [&self.there.registry, &self.plain].map(|server| server.addr.to_string());
        let login = serde_json::json!({ "username": USER, "password": PASSWORD });
        let logins =
            serde_json::json!({ "auths": { hosts[0].as_str(): login, hosts[1].as_str(): login } });
        Object::new(&image(to, "1.0"), &PLATFORMS.map(|platform| image(from, platform)))
            .by_http(hosts.iter().map(String::as_str))
            .with_logins(logins.to_string())
    }

    /// An object whose sources are in the target's repository.
    fn assembling(&self) -> Object {
        self.object((&self.there.registry, APP), (&self.there.registry, APP))
    }

    /// The methods of what the registry was asked since it was last asked for them.
    fn asked(&self) -> Vec<String> {
        let asked = self.there.registry.seen().into_iter().map(|seen| seen.method).collect();
        self.there.registry.forget();
        asked
    }
}

/// What `tag` names in APP is there as a whole: digests of its images.
fn whole(store: &Store, tag: &str) -> Vec<String> {
    let Ok(Manifest::Index(index)) = store.tagged(APP, tag).unwrap().parse() else {
        panic!("no index")
    };
    let children = index.manifests.into_iter().map(|child| {
        let image = store.manifest(APP, &TagOrDigest::Digest(child.digest.clone())).unwrap();
        let Ok(Manifest::Image(image)) = image.parse() else { panic!("no image") };
        for blob in image.layers.iter().chain([&image.config]) {
            assert!(store.blob(APP, &blob.digest).is_some(), "{blob:?}");
        }
        child.digest.to_string()
    });
    children.collect()
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
            promise::$promise(Scene::of(family).await).await;
        }
    )*};
}

each_family! {
    an_index_is_published_kept_and_follows_its_sources
    images_of_another_repository_are_copied
    images_of_another_registry_are_copied
    another_registry_gets_its_images
    a_tag_is_deleted_and_nothing_else
}

mod promise {
    use super::*;

    pub(crate) async fn an_index_is_published_kept_and_follows_its_sources(scene: Scene) {
        let mut object = scene.assembling();
        object.serves(&scene.remote, true).await;
        let before = whole(scene.store(), "1.0");
        scene.asked();
        object.rests(&scene.remote).await;
        // Where HEAD names no digest, the manifest is read.
        let looks = if scene.family == Family::Artifactory { "GET" } else { "HEAD" };
        assert_eq!(scene.asked(), [looks; 3]);

        let moved = Image::of("linux/arm64").salted("moved");
        let moved = scene.store().push(APP, Some("arm64"), &moved);
        object.serves(&scene.remote, true).await;
        let after = whole(scene.store(), "1.0");
        assert_eq!(after, [before[0].clone(), moved.digest.to_string()]);
        object.rests(&scene.remote).await;
    }

    pub(crate) async fn images_of_another_repository_are_copied(scene: Scene) {
        let there = &scene.there.registry;
        copied(&scene, scene.object((there, OTHER), (there, APP)), there).await;
    }

    pub(crate) async fn images_of_another_registry_are_copied(scene: Scene) {
        let there = &scene.there.registry;
        copied(&scene, scene.object((&scene.plain, OTHER), (there, APP)), there).await;
    }

    pub(crate) async fn another_registry_gets_its_images(scene: Scene) {
        let there = &scene.there.registry;
        copied(&scene, scene.object((there, OTHER), (&scene.plain, APP)), &scene.plain).await;
        assert_eq!(there.open_uploads(), 0);
    }

    pub(crate) async fn a_tag_is_deleted_and_nothing_else(scene: Scene) {
        scene.assembling().serves(&scene.remote, true).await;
        let index = scene.store().tagged(APP, "1.0").unwrap();
        let repository = scene.there.registry.repository(APP);
        let access = access(Some((USER, PASSWORD))).with_scope(Scope::delete(&repository));
        scene.asked();
        let deleted = Registry::delete_tag(&scene.remote, &access, &repository, "1.0").await;
        let deletes = scene.asked().into_iter().filter(|method| method == "DELETE").count();
        let refused = match scene.family {
            // An API of their own does it, or nobody.
            Family::Hub | Family::Ghcr | Family::Harbor => Some(405),
            Family::GitLab => Some(401),
            _ => None,
        };
        match deleted {
            Ok(there) => assert!(there && refused.is_none()),
            Err(error) => assert_eq!(error.status(), refused, "{error:?}"),
        }
        assert_eq!(deletes, 1, "asked once, whatever comes of it");
        let left = scene.store().tagged(APP, "1.0");
        assert_eq!(left.is_some(), refused.is_some());
        let by_digest = TagOrDigest::Digest(index.digest().clone());
        assert_eq!(scene.store().manifest(APP, &by_digest), Some(index), "what it named stays");
    }

    async fn copied(scene: &Scene, mut object: Object, to: &Server) {
        object.serves(&scene.remote, true).await;
        assert_eq!(whole(to.store(), "1.0").len(), PLATFORMS.len());
        assert_eq!(to.open_uploads(), 0, "{:#?}", to.requests());
        object.rests(&scene.remote).await;
        if let Some(server) = &scene.there.storage {
            let told = |seen: &Seen| !seen.header("authorization").is_empty();
            assert!(!server.seen().iter().any(told), "a CDN sees no credential");
        }
    }
}

/// What the registry is asked to publish in `scene`, and is not: in which words, and that nothing
/// of what was published before is withdrawn.
async fn held(scene: &Scene, mut object: Object, reason: Reason, words: &[&str]) {
    let (status, tagged) = (object.status.clone(), scene.store().tagged(APP, "1.0"));
    let run = object.run(&scene.remote).await;
    let Outcome::Held(failure) = &run.outcome else { panic!("{run:#?}") };
    assert_eq!(failure.consequence.reason, reason, "{}", failure.message);
    let host = scene.there.registry.addr.to_string();
    let sources = object.status.sources.iter().filter_map(|source| source.message.clone());
    let told = sources.chain([failure.message.clone()]).collect::<Vec<_>>().join("; ");
    for word in words.iter().chain([&host.as_str()]) {
        assert!(told.contains(word), "{told} does not say {word}");
    }
    assert!(!run.pushed);
    assert_eq!(object.status.digest, status.digest);
    assert_eq!(scene.store().tagged(APP, "1.0"), tagged);
    // What was dropped is cancelled behind the run's back.
    scene.there.registry.until(|registry| registry.open_uploads() == 0).await;
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
    let scene = Scene::in_trouble(family, lie).await;
    let absent = format!("{}/{path}:1.0", scene.there.registry.addr);
    let mut object = scene.object((&scene.plain, OTHER), (&scene.plain, APP));
    object.spec.sources[0].image.clone_from(&absent);
    // Whoever may read nothing there gets no token at GHCR, which is told from a wrong credential
    // only where none was sent.
    if family == Family::Ghcr {
        object.spec.target.secret_ref = None;
    }
    held(&scene, object, Reason::WaitingForPlatforms, &[&absent, answer]).await;
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
    let scene = Scene::in_trouble(family, [lie]).await;
    let object = scene.object((&scene.plain, OTHER), (&scene.there.registry, APP));
    held(&scene, object, reason, words).await;
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
    let scene = Scene::in_trouble(family, [lie]).await;
    let mut object = scene.assembling();
    object.serves(&scene.remote, true).await;
    object.rests(&scene.remote).await;
    scene.store().push(APP, Some("arm64"), &Image::of("linux/arm64").salted("moved"));
    held(&scene, object, Reason::TagImmutable, &["PUT manifest team/app:1.0", answer]).await;
}

/// What the scanner found does not withdraw what is published.
#[tokio::test]
async fn images_that_harbor_does_not_let_anybody_read_stay_published() {
    let scene = Scene::of(Family::Harbor).await;
    let mut object = scene.assembling();
    object.serves(&scene.remote, true).await;
    scene.there.registry.lie([trouble::harbor_scanner()]);
    let words = ["HTTP 412", "a scanner's"];
    held(&scene, object, Reason::RegistryUnreachable, &words).await;
}

#[tokio::test]
async fn a_mount_that_harbor_takes_for_a_login_is_an_upload_instead() {
    let scene = Scene::in_trouble(Family::Harbor, [trouble::harbor_mount()]).await;
    let there = &scene.there.registry;
    scene.object((there, OTHER), (there, APP)).serves(&scene.remote, true).await;
    assert_eq!(whole(scene.store(), "1.0").len(), PLATFORMS.len());
}

#[tokio::test]
async fn an_index_of_both_formats_is_refused_by_older_quays_in_their_words() {
    let scene = Scene::in_trouble(Family::Quay, [trouble::quay_mixed_index()]).await;
    scene.store().push(APP, Some("arm64"), &Image::of("linux/arm64").docker());
    let words = ["PUT manifest team/app:1.0", "HTTP 400 MANIFEST_INVALID"];
    held(&scene, scene.assembling(), Reason::PushFailed, &words).await;
}
