//! The registries' client, as the flags and the environment want it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use multiarch_operator::{
    oci::Repository,
    registry::{
        Access,
        remote::{Limits, Options, Proxies, Remote},
    },
};

/// What every command that asks registries takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Flags {
    /// Speak to this registry without TLS; may be repeated. One on this machine (localhost, 127.0.0.1, [::1]) is spoken to without
    /// TLS anyway.
    #[arg(long, global = true, value_name = "HOST", help_heading = "Registries")]
    pub(crate) plain_http: Vec<String>,
    /// Trust the CAs in this PEM file, too.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Registries")]
    pub(crate) ca_bundle: Option<PathBuf>,
    /// Most requests a second to one registry.
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 50.0,
        help_heading = "Registries"
    )]
    pub(crate) registry_qps: f64,
}

/// A client of registries, without a connection yet.
pub(crate) fn client(flags: &Flags) -> Result<Remote> {
    let variable = |name: &str| std::env::var(name).ok();
    // One provider for kube and for registries, before either makes a connection.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed already"))?;
    Remote::new(Options {
        allow_loopback: true,
        allow_http: true,
        ca_bundle: flags.ca_bundle.clone(),
        proxies: Proxies::read(variable).map_err(anyhow::Error::msg)?,
        limits: Limits { a_second: flags.registry_qps, ..Limits::default() },
        user_agent: concat!("kubectl-multiarch/", env!("CARGO_PKG_VERSION")).into(),
        ..Options::default()
    })
    .context("failed to set up the client of registries")
}

/// Who asks `repository`: nobody.
pub(crate) fn access(flags: &Flags, repository: &Repository) -> Access {
    let plain_http = is_plain(flags, repository);
    Access { plain_http, ..Access::default() }
}

/// Whether `repository`'s registry is spoken to without TLS.
pub(crate) fn is_plain(flags: &Flags, repository: &Repository) -> bool {
    let host = repository.host();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
        || flags.plain_http.iter().any(|known| known == host)
}
