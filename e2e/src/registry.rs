//! A real distribution registry of a test's own, behind the proxy that counts, and what CI would do with it: push, tag, delete.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Method, Response, header};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    await_condition::{SOON, await_some},
    bin::tool,
    images::{Blob, Image, Manifest},
    process::Process,
    proxy::{Proxy, client},
    tls::Certificates,
};

/// Somebody with a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Login {
    /// The name.
    pub user: &'static str,
    /// The password.
    pub password: &'static str,
    /// Both, as htpasswd writes them (bcrypt, at its lowest cost).
    htpasswd: &'static str,
}

/// Whom the registry of a test lets in.
pub const CI: Login = Login {
    user: "ci",
    password: "correct horse",
    htpasswd: "ci:$2a$04$t0fBwWt9jslnES8AjiHzeOIlybKrp2Bo3cHSJD0q6gjv3FlPjR/ru\n",
};
/// Whom the registry of somebody else lets in.
pub const READER: Login = Login {
    user: "reader",
    password: "battery staple",
    htpasswd: "reader:$2a$04$ThYSDPBCpn6dj.3uPp3QPO.u0UwA.cRF0Sm0ilW1VYceVLpK.kL4u\n",
};

/// Where a registry keeps what it is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Storage {
    /// In its memory.
    Memory,
    /// In files beside its log: for layers that fill a memory.
    Files,
}

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    /// What the operator talks to.
    pub proxy: Proxy,
    address: String,
    is_tls: bool,
    login: Option<Login>,
    client: reqwest::Client,
    _process: Process,
}

impl Registry {
    /// Starts one that lets in whom `login` says, else everyone; its configuration and log lie in `folder`.
    pub async fn start(folder: &Path, login: Option<Login>, storage: Storage) -> Result<Self> {
        fs::create_dir_all(folder).context("failed to make a folder for the registry")?;
        Self::run(folder, login, storage, json!({}), client()?).await
    }

    /// Starts one that speaks TLS by `certificates`, and where it `asks_clients`, lets in only who shows one by the same
    /// CA. It is reached directly: nothing can count what it cannot read.
    pub async fn start_with_tls(
        folder: &Path,
        certificates: &Certificates,
        asks_clients: bool,
    ) -> Result<Self> {
        Self::run_with_tls(folder, certificates, asks_clients, None).await
    }

    /// The same for whom `login` says, without certificates of clients.
    pub async fn start_with_tls_and_password(
        folder: &Path,
        certificates: &Certificates,
        login: Login,
    ) -> Result<Self> {
        Self::run_with_tls(folder, certificates, false, Some(login)).await
    }

    async fn run_with_tls(
        folder: &Path,
        certificates: &Certificates,
        asks_clients: bool,
        login: Option<Login>,
    ) -> Result<Self> {
        fs::create_dir_all(folder).context("failed to make a folder for the registry")?;
        let Certificates { ca, server, client } = certificates;
        let files = [("ca.crt", ca), ("tls.crt", &server.certificate), ("tls.key", &server.key)];
        for (name, content) in files {
            fs::write(folder.join(name), content)
                .with_context(|| format!("failed to write {name}"))?;
        }
        let mut tls = json!({"certificate": folder.join("tls.crt"), "key": folder.join("tls.key")});
        if asks_clients {
            tls["clientcas"] = json!([folder.join("ca.crt")]);
        }
        let ca = reqwest::Certificate::from_pem(ca.as_bytes()).context("no CA")?;
        let pair = format!("{}{}", client.certificate, client.key);
        let identity = reqwest::Identity::from_pem(pair.as_bytes()).context("no identity")?;
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).identity(identity);
        let client = client.build().context("failed to set up an HTTP client")?;
        Self::run(folder, login, Storage::Memory, tls, client).await
    }

    async fn run(
        folder: &Path,
        login: Option<Login>,
        storage: Storage,
        tls: Value,
        client: reqwest::Client,
    ) -> Result<Self> {
        let is_tls = tls != json!({});
        let mut config = json!({
            "version": "0.1",
            "log": {"accesslog": {"disabled": true}, "level": "info"},
            "storage": {
                "delete": {"enabled": true},
                "maintenance": {"uploadpurging": {"enabled": false}},
            },
            "http": {"addr": "127.0.0.1:0", "relativeurls": true, "secret": "e2e", "tls": tls},
        });
        match storage {
            Storage::Memory => config["storage"]["inmemory"] = json!({}),
            Storage::Files => {
                let files = folder.join("storage");
                config["storage"]["filesystem"] = json!({"rootdirectory": files});
            }
        }
        if let Some(login) = login {
            let htpasswd = folder.join("htpasswd");
            fs::write(&htpasswd, login.htpasswd).context("failed to write htpasswd")?;
            config["auth"] = json!({"htpasswd": {"realm": "e2e", "path": htpasswd}});
        }
        // JSON is YAML.
        let file = folder.join("registry.yaml");
        fs::write(&file, config.to_string())
            .context("failed to write the registry's configuration")?;
        let mut command = Command::new(tool("registry")?);
        command.arg("serve").arg(&file);
        let mut process = Process::start(command, &folder.join("registry.log"))?;
        let address =
            await_some("the registry listens", SOON, async || process.find_in_logs(listening))
                .await?;
        let proxy = Proxy::start(&address).await?;
        Ok(Self { proxy, address, is_tls, login, client, _process: process })
    }

    /// The host of references to it: the proxy's, or its own where it speaks TLS.
    #[must_use]
    pub fn host(&self) -> &str {
        if self.is_tls { &self.address } else { self.proxy.address() }
    }

    /// `repository:tag` (or `@digest`) as a reference to it.
    #[must_use]
    pub fn reference(&self, of: &str) -> String {
        format!("{}/{of}", self.host())
    }

    /// The same for one's own eyes: past the proxy, so that nothing is counted.
    #[must_use]
    pub fn uncounted(&self, of: &str) -> String {
        format!("{}/{of}", self.address)
    }

    /// Whom it lets in; `None` where that is everyone.
    #[must_use]
    pub fn login(&self) -> Option<Login> {
        self.login
    }

    /// The login as a file that other tools read; `None` where everyone is let in.
    #[must_use]
    pub fn docker_config(&self) -> Option<Value> {
        let Login { user, password, .. } = self.login?;
        let auth = STANDARD.encode(format!("{user}:{password}"));
        Some(json!({"auths": {(self.address.as_str()): {"auth": auth}}}))
    }

    /// Pushes `image` under `to` (repository:tag), past the proxy.
    pub async fn push(&self, to: &str, image: &Image) -> Result<()> {
        let (repository, tag) = split(to)?;
        for blob in &image.blobs {
            self.put_blob(repository, blob).await?;
        }
        for child in &image.children {
            self.put_manifest(repository, &child.digest(), child).await?;
        }
        self.put_manifest(repository, tag, &image.manifest).await
    }

    /// Deletes the tag `of` (repository:tag), or what a digest (repository@digest) is of, as clean-up jobs do.
    pub async fn delete_tag(&self, of: &str) -> Result<()> {
        let (repository, tag) = split(of)?;
        let answer = self
            .send(Method::DELETE, &format!("{repository}/manifests/{tag}"), None, Vec::new())
            .await?;
        ensure!(answer.status() == 202, "DELETE {of}: {}", answer.status());
        Ok(())
    }

    /// Deletes a blob from `repository`, as a clean-up that counts wrong does.
    pub async fn delete_blob(&self, repository: &str, digest: &str) -> Result<()> {
        let path = format!("{repository}/blobs/{digest}");
        let answer = self.send(Method::DELETE, &path, None, Vec::new()).await?;
        ensure!(answer.status() == 202, "DELETE {path}: {}", answer.status());
        Ok(())
    }

    /// Whether `repository` has the blob.
    pub async fn has_blob(&self, repository: &str, digest: &str) -> Result<bool> {
        let path = format!("{repository}/blobs/{digest}");
        let answer = self.send(Method::HEAD, &path, None, Vec::new()).await?;
        ensure!(matches!(answer.status().as_u16(), 200 | 404), "HEAD {path}: {}", answer.status());
        Ok(answer.status() == 200)
    }

    /// The digest that `of` (repository:tag) names; `None` where there is nothing.
    pub async fn digest(&self, of: &str) -> Result<Option<String>> {
        let (repository, tag) = split(of)?;
        let answer = self
            .send(Method::HEAD, &format!("{repository}/manifests/{tag}"), None, Vec::new())
            .await?;
        if answer.status() == 404 {
            return Ok(None);
        }
        ensure!(answer.status() == 200, "HEAD {of}: {}", answer.status());
        let digest =
            answer.headers().get("docker-content-digest").context("a manifest without digest")?;
        Ok(Some(digest.to_str().context("a digest that is no text")?.to_owned()))
    }

    async fn put_blob(&self, repository: &str, blob: &Blob) -> Result<()> {
        let start = self
            .send(Method::POST, &format!("{repository}/blobs/uploads/"), None, Vec::new())
            .await?;
        let location =
            start.headers().get(header::LOCATION).context("an upload without Location")?;
        let location = location.to_str().context("a Location that is no text")?;
        let location = location.strip_prefix("/v2/").context("a Location on another host")?;
        let end = format!(
            "{location}{}digest={}",
            if location.contains('?') { '&' } else { '?' },
            blob.digest
        );
        let answer = self
            .send(Method::PUT, &end, Some("application/octet-stream"), blob.bytes.clone())
            .await?;
        ensure!(answer.status() == 201, "PUT of a blob: {}", answer.status());
        Ok(())
    }

    async fn put_manifest(&self, repository: &str, tag: &str, manifest: &Manifest) -> Result<()> {
        let path = format!("{repository}/manifests/{tag}");
        let answer = self
            .send(Method::PUT, &path, Some(&manifest.media_type), manifest.bytes.clone())
            .await?;
        let status = answer.status();
        ensure!(status == 201, "PUT {path}: {status}: {}", answer.text().await.unwrap_or_default());
        Ok(())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Response> {
        let scheme = if self.is_tls { "https" } else { "http" };
        let url = format!("{scheme}://{}/v2/{path}", self.address);
        let accept = [
            crate::images::OCI_INDEX,
            crate::images::OCI_MANIFEST,
            crate::images::DOCKER_MANIFEST,
            crate::images::DOCKER_LIST,
        ];
        let mut request = self
            .client
            .request(method.clone(), &url)
            .header(header::ACCEPT, accept.join(", "))
            .body(body);
        if let Some(login) = self.login {
            request = request.basic_auth(login.user, Some(login.password));
        }
        if let Some(media_type) = media_type {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        request.send().await.with_context(|| format!("{method} {url}"))
    }
}

/// The repository, and the tag or digest.
fn split(reference: &str) -> Result<(&str, &str)> {
    let parts = reference.split_once('@').or_else(|| reference.rsplit_once(':'));
    parts.with_context(|| format!("{reference} is neither repository:tag nor repository@digest"))
}

/// `… msg="listening on 127.0.0.1:40123" …`
fn listening(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening on ")?;
    Some(rest.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect())
}
