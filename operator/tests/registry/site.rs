//! A registry of which only the address is known: everything goes into it through the port.

#![allow(dead_code, reason = "each suite uses its own part")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use multiarch_operator::{
    keychain::{DockerConfig, Keychain},
    oci::{Manifest, RawManifest, Reference},
    registry::{
        Access, Certificates, Registry,
        memory::Image,
        remote::{Limits, Observation, Options, Remote},
    },
};

use super::{
    faces::{Client, Face, by, tag},
    object::SECRET,
};

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
    /// What an object has for these hosts, in a Secret each.
    pub(crate) certificates: Vec<(String, Secret)>,
}

/// A registry, and what it was asked.
pub(crate) struct Site {
    pub(crate) at: Where,
    pub(crate) face: Face,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl Site {
    pub(crate) async fn new(at: Where) -> Self {
        let name = at.prefix.as_deref().unwrap_or("any");
        let reference: Reference = format!("{}/{name}:any", at.host).parse().unwrap();
        let repository = reference.repository();
        let logins = at.logins.as_ref().map(|json| {
            let config = DockerConfig::parse(SECRET, json.as_bytes());
            Keychain::with(HashMap::from([(SECRET.to_owned(), config)]))
        });
        let credential = logins.and_then(|logins| logins.find(SECRET, repository).unwrap());
        let secrets = at.certificates.iter().map(|(host, secret)| (host.as_str(), secret.clone()));
        let keychain = Keychain::default().with_certificates(secrets);
        let hosts = at.certificates.iter().map(|(host, _)| host.clone());
        let certificates = hosts.map(|host| (host.clone(), keychain.certificates(&host).unwrap()));
        let certificates = Arc::new(Certificates::new(certificates.collect()));
        let plain_http = at.plain_http;
        let who = Access { credential, plain_http, certificates, ..Access::default() };
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let (seen, api) = (Arc::clone(&asked), repository.api_host().to_owned());
        let observe = move |one: &Observation| {
            if one.host == api {
                seen.lock().unwrap().push(one.method);
            }
        };
        let options = Options {
            allow_loopback: true,
            allow_http: true,
            allowed: vec![at.host.parse().unwrap()],
            token_realms: at.token_realms.clone(),
            limits: Limits { backoff: Duration::from_millis(10), ..Limits::default() },
            observe: Arc::new(observe),
            ..Options::default()
        };
        let remote = Remote::new(options).unwrap();
        let face = Face::elsewhere(remote, &at.host, at.prefix.clone(), who).await;
        Self { at, face, asked }
    }

    pub(crate) fn remote(&self) -> &Remote {
        match &self.face.client {
            Client::Remote(remote) => remote,
            _ => unreachable!("it is elsewhere"),
        }
    }

    /// The methods of what the registry was asked since it was last asked for them.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Pushes an image and tags it.
    pub(crate) async fn push(&self, path: &str, name: &str, image: &Image) -> RawManifest {
        let manifest = self.face.prepare(path, image).await;
        let (access, repository) = (self.face.access(), self.face.repository(path));
        let put = self.remote().put_manifest(&access, &repository, &tag(name), &manifest).await;
        put.unwrap();
        manifest
    }

    /// What a tag names, if anything.
    pub(crate) async fn tagged(&self, path: &str, name: &str) -> Option<RawManifest> {
        let (access, repository) = (self.face.access(), self.face.repository(path));
        self.remote().get_manifest(&access, &repository, &tag(name)).await.unwrap()
    }

    /// The digests of the images of the index that a tag names; all of it is there.
    pub(crate) async fn whole(&self, path: &str, tag: &str) -> Vec<String> {
        let (access, repository) = (self.face.access(), self.face.repository(path));
        let Ok(Manifest::Index(index)) = self.tagged(path, tag).await.unwrap().parse() else {
            panic!("no index")
        };
        let mut digests = Vec::new();
        for child in index.manifests {
            let image = self.remote().get_manifest(&access, &repository, &by(&child.digest)).await;
            let Ok(Manifest::Image(image)) = image.unwrap().unwrap().parse() else {
                panic!("no image")
            };
            for blob in image.layers.iter().chain([&image.config]) {
                let there = self.remote().blob_exists(&access, &repository, blob).await;
                assert!(there.unwrap(), "{blob:?}");
            }
            digests.push(child.digest.to_string());
        }
        digests
    }
}
