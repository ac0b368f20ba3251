//! Every flag and its environment variable, in one struct.

use std::{net::SocketAddr, num::NonZeroU16, path::PathBuf};

use clap::{Parser, ValueEnum};

use crate::oci::reference::canonical_host;

/// Publishes multi-arch images from per-arch sources and keeps them true.
///
/// Reads MultiArchImage objects, and writes image indexes to registries and what came of it to the
/// objects' status. Every flag can be given as an environment variable instead.
#[derive(Clone, Debug, Parser)]
#[command(name = "multiarch-operator", version)]
pub struct Args {
    /// Watch only this namespace; all namespaces where it is not given.
    #[arg(long, env = "MULTIARCH_WATCH_NAMESPACE", value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,

    /// How many objects are worked on at once.
    #[arg(long, env = "MULTIARCH_CONCURRENT", value_name = "N", default_value = "8")]
    pub concurrent: NonZeroU16,

    /// Allow objects to say plainHTTP for a registry: content and credentials then cross the
    /// network unencrypted.
    #[arg(long, env = "MULTIARCH_INSECURE_ALLOW_HTTP")]
    pub insecure_allow_http: bool,

    /// Allow registries on loopback addresses, for tests and demos: on a cluster they would be the
    /// operator's own Pod.
    #[arg(long, env = "MULTIARCH_ALLOW_LOOPBACK_REGISTRIES")]
    pub allow_loopback_registries: bool,

    /// A file of CA certificates in PEM that may vouch for registries, beside those of the system. It is
    /// read again when it changes.
    #[arg(long, env = "MULTIARCH_CA_BUNDLE", value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,

    /// A token realm of another origin that may see the credentials of a registry, such as
    /// `registry.example.com=https://gitlab.example.com/jwt/auth`; may be repeated. Built in are
    /// Docker Hub's and gitlab.com's.
    #[arg(
        long,
        env = "MULTIARCH_TOKEN_REALM",
        value_name = "HOST=URL",
        value_delimiter = ',',
        value_parser = token_realm
    )]
    pub token_realm: Vec<(String, String)>,

    /// Where /livez, /readyz and /metrics are served; port 0 takes a free one and logs it.
    #[arg(
        long,
        env = "MULTIARCH_ADMIN_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:8080"
    )]
    pub admin_listen: SocketAddr,

    /// What is logged: error, warn, info, debug or trace, or directives such as
    /// `info,multiarch_operator=debug`.
    #[arg(long, env = "MULTIARCH_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,

    /// How it is logged.
    #[arg(long, env = "MULTIARCH_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Text,
}

/// `HOST=URL`, with an https URL that has neither user nor query.
fn token_realm(text: &str) -> Result<(String, String), String> {
    let (host, url) = text.split_once('=').ok_or("write HOST=URL")?;
    let host = canonical_host(host)?;
    let url: url::Url = url.parse().map_err(|_| format!("{url} is not a URL"))?;
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if url.scheme() != "https" || !bare {
        return Err("the realm is an https URL without user and query".into());
    }
    Ok((host, url.into()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn is_a_valid_command_line() {
        Args::command().debug_assert();
    }

    #[test]
    fn takes_token_realms() {
        let realm = |text| token_realm(text).map(|(host, url)| format!("{host} {url}"));
        let taken = realm("R.example.com=https://gitlab.example.com/jwt/auth");
        assert_eq!(taken.unwrap(), "r.example.com https://gitlab.example.com/jwt/auth");
        for text in
            ["r.example.com", "r=http://a.example.com/", "r=https://u@a.example.com/", "r=x"]
        {
            assert!(realm(text).is_err(), "{text}");
        }
    }

    #[test]
    fn has_a_variable_and_a_help_text_for_every_flag() {
        for flag in Args::command().get_arguments() {
            assert!(flag.get_help().is_some(), "{} has no help", flag.get_id());
            assert!(flag.get_env().is_some(), "{} has no variable", flag.get_id());
        }
    }
}
