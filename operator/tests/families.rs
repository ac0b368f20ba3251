//! The registries that people have, simulated after what was reported of them: each is published to and copied from as any other, or says which of the documented conditions it is in.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/object.rs"]
mod object;

use std::time::Duration;

use faces::{PASSWORD, PATHS, USER};
use multiarch_operator::{
    oci::{Manifest, TagOrDigest},
    registry::{
        memory::{
            Family, Image, Lie, Lies, Server, Store, serve,
            server::{Seen, User, families::Deployment},
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

    async fn copied(scene: &Scene, mut object: Object, to: &Server) {
        object.serves(&scene.remote, true).await;
        assert_eq!(whole(to.store(), "1.0").len(), PLATFORMS.len());
        assert_eq!(to.open_uploads(), 0, "{:#?}", to.requests());
        object.rests(&scene.remote).await;
        for server in scene.there.storage.iter() {
            let told = |seen: &Seen| !seen.header("authorization").is_empty();
            assert!(!server.seen().iter().any(told), "a CDN sees no credential");
        }
    }
}
