//! The registries, as this machine reaches them and as who runs the command is known to them.

mod loopback;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context, Result, anyhow};
use multiarch_operator::{
    args::{a_second, token_realm, upload_host},
    keychain::{Keychain, user::User},
    oci::{Reference, Repository, reference::canonical_host},
    reconcile::sources::Sources,
    registry::{
        Access, Scope,
        remote::{Limits, Options, Proxies, Remote},
    },
};

use self::loopback::Loopback;

/// What every command that asks registries takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Flags {
    /// Speak to this registry without TLS; may be repeated. One on this machine (localhost, 127.0.0.1, [::1]) is spoken to without
    /// TLS anyway, unless it answers in TLS.
    #[arg(long, global = true, value_name = "HOST", help_heading = "Registries")]
    pub(crate) plain_http: Vec<String>,
    /// Trust the CAs in this PEM file, too.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Registries")]
    pub(crate) ca_bundle: Option<PathBuf>,
    /// HOST=URL: send credentials for this registry to this token endpoint on another host; may be repeated. Docker Hub's and
    /// gitlab.com's are known.
    #[arg(long, global = true, value_name = "HOST=URL", value_parser = token_realm, help_heading = "Registries")]
    pub(crate) token_realm: Vec<(String, String)>,
    /// HOST=HOST: let this registry have uploads go on at that other host, without credentials; may be repeated.
    #[arg(long, global = true, value_name = "HOST=HOST", value_parser = upload_host, help_heading = "Registries")]
    pub(crate) upload_host: Vec<(String, String)>,
    /// Most requests a second to one registry.
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 200.0,
        value_parser = a_second,
        help_heading = "Registries"
    )]
    pub(crate) registry_qps: f64,
}

/// The registries, and who asks them.
#[derive(Debug)]
pub(crate) struct Registries {
    /// The client, without a connection yet.
    pub(crate) remote: Remote,
    user: User,
    plain_http: BTreeSet<String>,
    loopback: Loopback,
}

impl Registries {
    /// As the flags and the environment want it, with the credentials of who runs the command.
    pub(crate) fn open(flags: &Flags) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let host = |text: &String| {
            canonical_host(text).map_err(|why| anyhow!("--plain-http {text}: {why}"))
        };
        Ok(Self {
            plain_http: flags.plain_http.iter().map(host).collect::<Result<_>>()?,
            user: User::read(variable)?,
            remote: client(flags)?,
            loopback: Loopback::default(),
        })
    }

    /// Who asks for what `sources` names, and `sources` with what this machine knows of the registries. Secrets that it
    /// names are none of this machine's.
    pub(crate) async fn prepare(&self, mut sources: Sources) -> (Sources, Keychain) {
        let all = sources.sources.iter().map(|source| &source.reference).chain([&sources.target]);
        // Nobody is asked for what is in an archive.
        let all = all.map(Reference::repository).filter(|it| it.archive().is_none());
        let repositories: Vec<Repository> = all.cloned().collect();
        for repository in &repositories {
            if self.is_plain(repository.host()).await {
                sources.plain_http.insert(repository.host().to_owned());
            }
        }
        sources.certificates.clear();
        let keychain = self.user.keychain(&repositories).await;
        (sources, keychain)
    }

    /// Who reads `repository`.
    pub(crate) async fn reads(&self, repository: &Repository) -> Result<Access> {
        Ok(Access {
            credential: self.user.credential(repository).await?,
            scopes: vec![Scope::pull(repository)],
            plain_http: self.is_plain(repository.host()).await,
            ..Access::default()
        })
    }

    /// Whether `host` is spoken to without TLS.
    pub(crate) async fn is_plain(&self, host: &str) -> bool {
        self.plain_http.contains(host) || self.loopback.is_plain(host).await
    }
}

/// A client of registries, without a connection yet.
fn client(flags: &Flags) -> Result<Remote> {
    let variable = |name: &str| std::env::var(name).ok();
    Remote::new(Options {
        allow_loopback: true,
        allow_http: true,
        // Whoever asks is on this machine, and is to see why a connection failed.
        reticent: false,
        token_realms: flags.token_realm.clone(),
        upload_hosts: flags.upload_host.clone(),
        ca_bundle: flags.ca_bundle.clone(),
        proxies: Proxies::read(variable).map_err(anyhow::Error::msg)?,
        limits: Limits { a_second: flags.registry_qps, ..Limits::default() },
        user_agent: concat!("kubectl-multiarch/", env!("CARGO_PKG_VERSION")).into(),
        ..Options::default()
    })
    .context("failed to set up the client of registries")
}
