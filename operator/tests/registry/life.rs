//! Whole runs at a registry of which only the address is known: published, kept, followed, copied from and to, and deleted.

#![allow(dead_code, reason = "each suite uses its own part")]

use multiarch_operator::registry::{
    Registry, RegistryError, Scope,
    memory::{Image, Lies, Server, Store, serve},
};

use super::{
    faces::{PATHS, by},
    object::Object,
    site::{Site, Where},
};

pub(crate) const APP: &str = PATHS[0];
pub(crate) const OTHER: &str = PATHS[1];
pub(crate) const PLATFORMS: [&str; 2] = ["amd64", "arm64"];

/// A registry, and one of our own beside it.
pub(crate) struct Scene {
    pub(crate) site: Site,
    pub(crate) plain: Server,
}

/// At which of the two a repository is.
#[derive(Clone, Copy)]
pub(crate) enum At {
    Site(&'static str),
    Plain(&'static str),
}

impl Scene {
    pub(crate) async fn at(at: Where) -> Self {
        let plain = serve(Store::new(), Lies::default()).await;
        Self { site: Site::new(at).await, plain }
    }

    fn image(&self, at: At, tag: &str) -> String {
        match at {
            At::Site(path) => self.site.face.image(path, tag),
            At::Plain(path) => format!("{}/{path}:{tag}", self.plain.addr),
        }
    }

    /// An object that publishes at `to` what `from` has for each platform.
    pub(crate) fn object(&self, from: At, to: At) -> Object {
        let images = PLATFORMS.map(|platform| self.image(from, platform));
        let plain = self.plain.addr.to_string();
        let site = self.site.at.plain_http.then_some(self.site.at.host.as_str());
        let object = Object::new(&self.image(to, "1.0"), &images)
            .by_http(site.into_iter().chain([plain.as_str()]))
            .with_certificates(&self.site.at.certificates);
        match &self.site.at.logins {
            Some(logins) => object.with_logins(logins.clone(), matches!(to, At::Site(_))),
            None => object,
        }
    }

    /// Pushes an image for each platform.
    async fn seed(&self, at: At) {
        for platform in PLATFORMS {
            let image = Image::of(&format!("linux/{platform}")).salted(&self.image(at, ""));
            match at {
                At::Site(path) => drop(self.site.push(path, platform, &image).await),
                At::Plain(path) => drop(self.plain.store().push(path, Some(platform), &image)),
            }
        }
    }

    async fn copied(&self, from: At, to: At) {
        self.seed(from).await;
        let mut object = self.object(from, to);
        object.serves(self.site.remote(), true).await;
        object.rests(self.site.remote()).await;
    }
}

pub(crate) async fn an_index_is_published_kept_and_follows_its_sources(scene: &Scene) {
    let site = &scene.site;
    scene.seed(At::Site(APP)).await;
    let mut object = scene.object(At::Site(APP), At::Site(APP));
    object.serves(site.remote(), true).await;
    let before = site.whole(APP, "1.0").await;
    site.asked();
    object.rests(site.remote()).await;
    let asked = site.asked();
    // Where HEAD names no digest, the manifest is read.
    assert!(asked == ["HEAD"; 3] || asked == ["GET"; 3], "{asked:?}");

    let moved = Image::of("linux/arm64").salted("moved");
    let moved = site.push(APP, "arm64", &moved).await;
    object.serves(site.remote(), true).await;
    let after = site.whole(APP, "1.0").await;
    assert_eq!(after, [before[0].clone(), moved.digest().to_string()]);
    object.rests(site.remote()).await;
}

pub(crate) async fn images_of_another_repository_are_copied(scene: &Scene) {
    scene.copied(At::Site(OTHER), At::Site(APP)).await;
    assert_eq!(scene.site.whole(APP, "1.0").await.len(), PLATFORMS.len());
}

pub(crate) async fn images_of_another_registry_are_copied(scene: &Scene) {
    scene.copied(At::Plain(OTHER), At::Site(APP)).await;
    assert_eq!(scene.site.whole(APP, "1.0").await.len(), PLATFORMS.len());
}

pub(crate) async fn another_registry_gets_its_images(scene: &Scene) {
    scene.copied(At::Site(OTHER), At::Plain(APP)).await;
    // What it takes is whole, or it would not have taken it.
    assert!(scene.plain.store().tagged(APP, "1.0").is_some());
    assert_eq!(scene.plain.open_uploads(), 0);
}

/// Deletes a published tag, or leaves everything as it was.
pub(crate) async fn a_tag_is_deleted_and_nothing_else(scene: &Scene) -> Result<(), RegistryError> {
    let site = &scene.site;
    scene.seed(At::Site(APP)).await;
    scene.object(At::Site(APP), At::Site(APP)).serves(site.remote(), true).await;
    let index = site.tagged(APP, "1.0").await.unwrap();
    let repository = site.face.repository(APP);
    let access = site.face.access().with_scope(Scope::delete(&repository));
    site.asked();
    let deleted = Registry::delete_tag(site.remote(), &access, &repository, "1.0").await;
    let times = site.asked().into_iter().filter(|method| *method == "DELETE").count();
    assert_eq!(times, 1, "asked once, whatever comes of it");
    let left = site.tagged(APP, "1.0").await;
    match &deleted {
        Ok(there) => assert!(*there && left.is_none()),
        Err(_) => assert_eq!(left.as_ref(), Some(&index)),
    }
    let kept = site.remote().get_manifest(&access, &repository, &by(index.digest())).await.unwrap();
    assert_eq!(kept, Some(index), "what it named stays");
    deleted.map(|_| ())
}
