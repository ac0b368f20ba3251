//! A registry of which only the address is known: everything goes into it through the port.

#![allow(dead_code, reason = "each suite uses its own part")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use multiarch_operator::{
    keychain::{DockerConfig, Keychain},
    oci::{Descriptor, Manifest, RawManifest, Reference, Repository, TagOrDigest},
    registry::{
        Access, Place, Registry, Scope,
        memory::{Image, Lies, Server, Store, serve},
        remote::{Limits, Observation, Options, Remote},
    },
};

/// Where what is pushed comes from, in a registry of our own.
const SEED: &str = "seed";

use super::object::SECRET;

/// Where a registry is, and who asks there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Where {
    /// `r.example.com:5000`
    pub(crate) host: String,
    /// What the names of repositories begin with, instead of the paths that tests give them.
    pub(crate) prefix: Option<String>,
    /// Without TLS.
    pub(crate) plain_http: bool,
    /// A Docker config file.
    pub(crate) logins: Option<String>,
    /// Pairs of a host and a token realm that may see its credentials.
    pub(crate) token_realms: Vec<(String, String)>,
}

/// A registry, a client for it, and what that asked.
pub(crate) struct Site {
    pub(crate) at: Where,
    pub(crate) remote: Arc<Remote>,
    seeds: Server,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl Site {
    pub(crate) async fn new(at: Where) -> Self {
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let reference: Reference = format!("{}/any:any", at.host).parse().unwrap();
        let (seen, host) = (Arc::clone(&asked), reference.repository().api_host().to_owned());
        let observe = move |one: &Observation| {
            if one.host == host {
                seen.lock().unwrap().push(one.method);
            }
        };
        let options = Options {
            allow_loopback: true,
            allow_http: true,
            token_realms: at.token_realms.clone(),
            limits: Limits { backoff: Duration::from_millis(10), ..Limits::default() },
            observe: Arc::new(observe),
            ..Options::default()
        };
        let remote = Arc::new(Remote::new(options).unwrap());
        Self { at, remote, seeds: serve(Store::new(), Lies::default()).await, asked }
    }

    /// The repository that tests call `path`.
    pub(crate) fn repository(&self, path: &str) -> Repository {
        let reference: Reference = self.image(path, "any").parse().unwrap();
        reference.repository().clone()
    }

    /// The image that tests call `path:tag`.
    pub(crate) fn image(&self, path: &str, tag: &str) -> String {
        let host = &self.at.host;
        match &self.at.prefix {
            None => format!("{host}/{path}:{tag}"),
            // Docker Hub has names of two parts and no more.
            Some(prefix) => format!("{host}/{prefix}-{}:{tag}", path.replace('/', "-")),
        }
    }

    /// Who may read and write these repositories.
    pub(crate) fn access(&self, paths: &[&str]) -> Access {
        let repositories: Vec<_> = paths.iter().map(|path| self.repository(path)).collect();
        let parsed = self.at.logins.as_ref().map(|json| {
            let config = DockerConfig::parse(SECRET, json.as_bytes());
            Keychain::with(HashMap::from([(SECRET.to_owned(), config)]))
        });
        let first = repositories.first();
        let credential =
            parsed.zip(first).and_then(|(keychain, first)| keychain.find(SECRET, first).unwrap());
        let access = Access { credential, plain_http: self.at.plain_http, ..Access::default() };
        repositories.iter().fold(access, |access, of| access.with_scope(Scope::push(of)))
    }

    /// The methods of what the registry was asked since it was last asked for them.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    pub(crate) async fn push_blob(&self, path: &str, media_type: &str, bytes: Bytes) -> Descriptor {
        let blob = self.seeds.store().push_blob(SEED, media_type, bytes);
        let (here, there) = (self.seeds.repository(SEED), self.repository(path));
        let (reads, writes) =
            (Access { plain_http: true, ..Access::default() }, self.access(&[path]));
        let from = Place { access: &reads, repository: &here };
        let to = Place { access: &writes, repository: &there };
        let copied = self.remote.copy_blob(from, to, &blob, &(Arc::new(|_| {}) as _)).await;
        assert!(copied.unwrap().is_some());
        blob
    }

    /// Pushes an image and tags it.
    pub(crate) async fn push(&self, path: &str, tag: &str, image: &Image) -> RawManifest {
        let made = Store::new();
        let digest = TagOrDigest::Digest(made.push(SEED, None, image).digest);
        let manifest = made.manifest(SEED, &digest).unwrap();
        for blob in [image.config(), image.layer()] {
            self.push_blob(path, "x", blob).await;
        }
        let (access, repository) = (self.access(&[path]), self.repository(path));
        let tag = TagOrDigest::Tag(tag.into());
        self.remote.put_manifest(&access, &repository, &tag, &manifest).await.unwrap();
        manifest
    }

    /// What a tag names, if anything.
    pub(crate) async fn tagged(&self, path: &str, tag: &str) -> Option<RawManifest> {
        let (access, repository) = (self.access(&[path]), self.repository(path));
        let tag = TagOrDigest::Tag(tag.into());
        self.remote.get_manifest(&access, &repository, &tag).await.unwrap()
    }

    /// The digests of the images of the index that a tag names; all of it is there.
    pub(crate) async fn whole(&self, path: &str, tag: &str) -> Vec<String> {
        let (access, repository) = (self.access(&[path]), self.repository(path));
        let Ok(Manifest::Index(index)) = self.tagged(path, tag).await.unwrap().parse() else {
            panic!("no index")
        };
        let mut digests = Vec::new();
        for child in index.manifests {
            let by_digest = TagOrDigest::Digest(child.digest.clone());
            let image = self.remote.get_manifest(&access, &repository, &by_digest).await;
            let Ok(Manifest::Image(image)) = image.unwrap().unwrap().parse() else {
                panic!("no image")
            };
            for blob in image.layers.iter().chain([&image.config]) {
                let there = self.remote.blob_exists(&access, &repository, blob).await;
                assert!(there.unwrap(), "{blob:?}");
            }
            digests.push(child.digest.to_string());
        }
        digests
    }
}
