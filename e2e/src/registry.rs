//! A real distribution registry of a test's own, behind the proxy that counts, and what CI would do with it: push, tag, delete.

mod setup;
mod storage;
mod whole;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Method, Response, header};
use serde_json::{Value, json};
use tokio::process::Command;

pub use self::{
    setup::{Auth, BOTH, CI, Login, READER, Setup, Storage, Wire},
    storage::Backup,
    whole::Whole,
};
use crate::{
    await_condition::{SOON, await_some},
    bin::tool,
    images::{Blob, Image, Manifest},
    process::Process,
    proxy::{Proxy, client},
    tls::Certificates,
    tokens::Signer,
};

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    /// What the operator talks to.
    pub proxy: Proxy,
    address: String,
    folder: PathBuf,
    is_tls: bool,
    own: Own,
    client: reqwest::Client,
    process: Arc<Process>,
    starts: u32,
}

/// What the test itself is let in by.
#[derive(Clone, Debug)]
enum Own {
    Nothing,
    Password(Login),
    Token(Signer),
}

impl Registry {
    /// Starts one that lets in whom `login` says, else everyone; its configuration and log lie in `folder`.
    pub async fn start(folder: &Path, login: Option<Login>, storage: Storage) -> Result<Self> {
        let logins = login.as_slice();
        let auth = if logins.is_empty() { Auth::Everyone } else { Auth::Password(logins) };
        Self::start_as(folder, &Setup { auth, storage, ..Setup::default() }).await
    }

    /// Starts one that speaks TLS by `certificates`, and where it `asks_clients`, lets in only who shows one by the same
    /// CA. It is reached directly: nothing can count what it cannot read.
    pub async fn start_with_tls(
        folder: &Path,
        certificates: &Certificates,
        asks_clients: bool,
    ) -> Result<Self> {
        let wire =
            if asks_clients { Wire::MutualTls(certificates) } else { Wire::Tls(certificates) };
        Self::start_as(folder, &Setup { wire, ..Setup::default() }).await
    }

    /// Starts one as `setup` says.
    pub async fn start_as(folder: &Path, setup: &Setup<'_>) -> Result<Self> {
        fs::create_dir_all(folder).context("failed to make a folder for the registry")?;
        fs::write(folder.join(CONFIGURATION), setup.config(folder)?.to_string())
            .context("failed to write the registry's configuration")?;
        let own = match setup.auth {
            Auth::Everyone => Own::Nothing,
            Auth::Password(logins) => logins.first().map_or(Own::Nothing, |it| Own::Password(*it)),
            Auth::Token(tokens) => Own::Token(tokens.signer().clone()),
        };
        let certificates = setup.wire.certificates();
        let client = certificates.map_or_else(client, Certificates::client_of)?;
        let (process, address) = serve(folder, 1).await?;
        let proxy = match setup.at {
            Some(at) if certificates.is_none() => Proxy::start_at(at, &address).await?,
            _ => Proxy::start(&address).await?,
        };
        let (is_tls, folder) = (certificates.is_some(), folder.to_owned());
        let process = Arc::new(process);
        Ok(Self { proxy, address, folder, is_tls, own, client, process, starts: 1 })
    }

    /// The same registry under another host: behind one more proxy, which knows nothing of what the other one was told.
    pub async fn another_host(&self) -> Result<Self> {
        Ok(Self {
            proxy: self.proxy.another().await?,
            address: self.address.clone(),
            folder: self.folder.clone(),
            is_tls: self.is_tls,
            own: self.own.clone(),
            client: self.client.clone(),
            process: Arc::clone(&self.process),
            starts: self.starts,
        })
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

    /// Its own host:port, past the proxy.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Who has a password for it, and is the test itself; `None` where there are none.
    #[must_use]
    pub fn login(&self) -> Option<Login> {
        match self.own {
            Own::Password(login) => Some(login),
            Own::Nothing | Own::Token(_) => None,
        }
    }

    /// The login as a file that other tools read; `None` where everyone is let in.
    #[must_use]
    pub fn docker_config(&self) -> Option<Value> {
        let Login { user, password, .. } = self.login()?;
        let auth = STANDARD.encode(format!("{user}:{password}"));
        Some(json!({"auths": {(self.address.as_str()): {"auth": auth}}}))
    }

    /// Pushes `image` under `to` (repository:tag), past the proxy.
    pub async fn push(&self, to: &str, image: &Image) -> Result<()> {
        let (repository, tag) = split(to)?;
        for config in image.configs()? {
            self.proxy.know_config(&config);
        }
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

    /// How many uploads to `repository` were begun and neither ended nor cancelled. It keeps its files, or there is
    /// nothing to look at.
    #[must_use]
    pub fn open_uploads(&self, repository: &str) -> usize {
        let repositories = self.folder.join("storage/docker/registry/v2/repositories");
        let uploads = fs::read_dir(repositories.join(repository).join("_uploads"));
        // It keeps the folder of a cancelled upload, and forgets when that began.
        let open = |upload: &fs::DirEntry| upload.path().join("startedat").exists();
        uploads.map_or(0, |all| all.filter_map(Result::ok).filter(open).count())
    }

    /// Pushes `bytes` as a blob of `repository`, past the proxy.
    pub async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Result<()> {
        let (digest, bytes) = (crate::images::digest(bytes), bytes.to_vec());
        self.put_blob(repository, &Blob { digest, bytes }).await
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
        let (_, location) = location.split_once("/v2/").context("a Location elsewhere")?;
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
        request = match &self.own {
            Own::Nothing => request,
            Own::Password(login) => request.basic_auth(login.user, Some(login.password)),
            Own::Token(signer) => {
                let mut parts = ["/manifests/", "/blobs/"].iter();
                let repository = parts.find_map(|part| path.split_once(part));
                let (repository, _) =
                    repository.with_context(|| format!("no repository: {path}"))?;
                request.bearer_auth(signer.of_everything(repository)?)
            }
        };
        if let Some(media_type) = media_type {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        request.send().await.with_context(|| format!("{method} {url}"))
    }
}

const CONFIGURATION: &str = "registry.yaml";
const STORAGE: &str = "storage";

/// Starts the process whose configuration lies in `folder`, for the time that `number` counts, and waits until it listens.
async fn serve(folder: &Path, number: u32) -> Result<(Process, String)> {
    let mut command = Command::new(tool("registry")?);
    command.arg("serve").arg(folder.join(CONFIGURATION));
    let mut process = Process::start(command, &folder.join(format!("registry-{number}.log")))?;
    let listens =
        await_some("the registry listens", SOON, async || process.find_in_logs(listening));
    let address = listens.await?;
    Ok((process, address))
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
