//! Every flag and its environment variable, in one struct.

use std::{net::SocketAddr, num::NonZeroU16, path::PathBuf, str::FromStr, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

use crate::{
    leader::Timing,
    oci::{Prefix, reference::canonical_host},
    selector::Selector,
};

/// Publishes multi-arch images from per-arch sources and keeps them true.
///
/// Reads MultiArchImage objects, and writes image indexes to registries and what came of it to the
/// objects' status. Every flag can be given as an environment variable instead.
#[derive(Clone, Debug, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(name = "multiarch-operator", version)]
pub struct Args {
    /// Watch only this namespace; may be repeated. All namespaces where it is not given.
    #[arg(
        long,
        env = "MULTIARCH_WATCH_NAMESPACE",
        value_name = "NAMESPACE",
        value_delimiter = ',',
        value_parser = namespace
    )]
    pub watch_namespace: Vec<String>,

    /// Watch only objects with these labels, such as `multiarch.dev/shard=a` or `multiarch.dev/shard notin (a, b)`: one shard
    /// of several operators. All objects where it is not given.
    #[arg(long, env = "MULTIARCH_WATCH_LABEL_SELECTOR", value_name = "SELECTOR")]
    pub watch_label_selector: Option<Selector>,

    /// Work only while this process holds a Lease, so that of several replicas one works and the others stand by.
    #[arg(long, env = "MULTIARCH_LEADER_ELECT")]
    pub leader_elect: bool,

    /// The namespace of the Lease; where it is not given, that of the Pod: POD_NAMESPACE, or its ServiceAccount's.
    #[arg(
        long,
        env = "MULTIARCH_LEADER_ELECTION_NAMESPACE",
        value_name = "NAMESPACE",
        value_parser = namespace
    )]
    pub leader_election_namespace: Option<String>,

    /// The name of the Lease, the same for all replicas of one operator; where it is not given, `multiarch-operator`, and with
    /// --watch-label-selector a name that is made of the selector, too.
    #[arg(
        long,
        env = "MULTIARCH_LEADER_ELECTION_LEASE",
        value_name = "NAME",
        value_parser = lease
    )]
    pub leader_election_lease: Option<String>,

    /// How long others wait for a leader that is not heard of before one of them takes over.
    #[arg(
        long,
        env = "MULTIARCH_LEADER_ELECTION_LEASE_DURATION",
        value_name = "DURATION",
        default_value = "15s",
        value_parser = duration
    )]
    pub leader_election_lease_duration: Duration,

    /// How long a leader that cannot renew the Lease works on; shorter than the lease duration, so that it has stopped when
    /// another one takes over.
    #[arg(
        long,
        env = "MULTIARCH_LEADER_ELECTION_RENEW_DEADLINE",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration
    )]
    pub leader_election_renew_deadline: Duration,

    /// How often the Lease is looked at, or renewed.
    #[arg(
        long,
        env = "MULTIARCH_LEADER_ELECTION_RETRY_PERIOD",
        value_name = "DURATION",
        default_value = "2s",
        value_parser = duration
    )]
    pub leader_election_retry_period: Duration,

    /// Keep ConfigMaps from which admission policies read what is published, in the namespace of the Lease
    /// (--leader-election-namespace, or the Pod's). Of all operators there one writes them, which a Lease of its own elects, for the
    /// objects of all shards in the namespaces that it watches.
    #[arg(long, env = "MULTIARCH_COVERAGE_MAPS")]
    pub coverage_maps: bool,

    /// How long runs may go on after SIGTERM before they are cut off; in a Pod, some ten seconds less than
    /// terminationGracePeriodSeconds.
    #[arg(
        long,
        env = "MULTIARCH_SHUTDOWN_GRACE",
        value_name = "DURATION",
        default_value = "20s",
        value_parser = duration
    )]
    pub shutdown_grace: Duration,

    /// How many objects are worked on at once. Those that name the same registries are at most half of them, so that
    /// a registry that is slow does not hold up the objects of others. Half as many copies that take longer than a minute, and
    /// as many deletions, go on beside them.
    #[arg(long, env = "MULTIARCH_CONCURRENT", value_name = "N", default_value = "8")]
    pub concurrent: NonZeroU16,

    /// How many requests a second go to one registry for one credential, or without one; at most eight of them at once.
    /// Docker Hub gets five, and four at once, where this is not less.
    #[arg(
        long,
        env = "MULTIARCH_REGISTRY_QPS",
        value_name = "N",
        default_value = "20",
        value_parser = a_second
    )]
    pub registry_qps: f64,

    /// How many MiB of manifests and image configs are kept of what was read, so that objects which
    /// name the same images read them once. 0 keeps none.
    #[arg(long, env = "MULTIARCH_CACHE_MIB", value_name = "MIB", default_value = "16")]
    pub cache_mib: usize,

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

    /// The registries that objects may name, as target and as source: `registry.example.com`, or a part of one,
    /// `docker.io/library`; may be repeated. Where it is not given, objects may name any. Of hosts that are
    /// not listed, objects are told that a connection failed, and not how.
    #[arg(
        long,
        env = "MULTIARCH_ALLOWED_REGISTRIES",
        value_name = "HOST[/PATH]",
        value_delimiter = ','
    )]
    pub allowed_registries: Vec<Prefix>,

    /// Another host that the uploads of a registry may go on at, such as `registry.example.com=upload.example.com`; may
    /// be repeated. It sees content, and no credential.
    #[arg(
        long,
        env = "MULTIARCH_UPLOAD_HOST",
        value_name = "HOST=HOST",
        value_delimiter = ',',
        value_parser = upload_host
    )]
    pub upload_host: Vec<(String, String)>,

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

    /// Look at the cluster's nodes: the condition NodesCovered then says of each object whether its index has an image for the os and
    /// architecture of each node, and on Windows for its build. Takes the right to list and watch nodes.
    #[arg(long, env = "MULTIARCH_NODE_PLATFORMS")]
    pub node_platforms: bool,

    /// The folder of image archives that objects may name in `sources[].archive`: each namespace has those below the folder of its name.
    #[arg(long, env = "MULTIARCH_ARCHIVE_DIR", value_name = "DIR")]
    pub archive_dir: Option<PathBuf>,

    /// Let all namespaces name archives below `_shared/` of --archive-dir, too.
    #[arg(long, env = "MULTIARCH_ARCHIVE_DIR_SHARED", requires = "archive_dir")]
    pub archive_dir_shared: bool,

    /// For how long an archive is to be unchanged before it is read: one that is being written is left alone.
    #[arg(
        long,
        env = "MULTIARCH_ARCHIVE_SETTLE",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = duration
    )]
    pub archive_settle: Duration,

    /// Keep sets of images: MultiArchImageSet objects, and the MultiArchImages that those own. Takes the right to create and delete
    /// MultiArchImages, and to read ConfigMaps.
    #[arg(long, env = "MULTIARCH_SETS")]
    pub sets: bool,

    /// The kubelet's CredentialProviderConfig, a file or a folder of files, for objects that say `provider: Kubelet`. It is
    /// read at start. Nothing of it is run for anybody whom --credential-provider-allow does not list.
    #[arg(
        long,
        env = "MULTIARCH_CREDENTIAL_PROVIDER_CONFIG",
        value_name = "FILE",
        requires = "credential_provider_bin_dir"
    )]
    pub credential_provider_config: Option<PathBuf>,

    /// The folder with the plugins that --credential-provider-config names.
    #[arg(
        long,
        env = "MULTIARCH_CREDENTIAL_PROVIDER_BIN_DIR",
        value_name = "DIR",
        requires = "credential_provider_config"
    )]
    pub credential_provider_bin_dir: Option<PathBuf>,

    /// Who may use the operator's own credential, and where: objects of this namespace, for this registry or part of one, such as
    /// `team-a=123456789012.dkr.ecr.eu-west-1.amazonaws.com/team-a`; may be repeated. Where it is not given, nobody may.
    #[arg(
        long,
        env = "MULTIARCH_CREDENTIAL_PROVIDER_ALLOW",
        value_name = "NAMESPACE=HOST[/PATH]",
        value_delimiter = ',',
        value_parser = credential_provider_allow,
        requires = "credential_provider_config"
    )]
    pub credential_provider_allow: Vec<(String, Prefix)>,

    /// Where /livez, /readyz and /metrics are served; port 0 takes a free one and logs it.
    #[arg(
        long,
        env = "MULTIARCH_ADMIN_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:8080"
    )]
    pub admin_listen: SocketAddr,

    /// What is logged: error, warn, info, debug, trace or off, or directives such as
    /// `info,multiarch_operator=debug`.
    #[arg(long, env = "MULTIARCH_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,

    /// How it is logged.
    #[arg(long, env = "MULTIARCH_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,

    /// What to do instead of working.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does beside working. Flags of the operator go before its name.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Say whether an operator with these flags has all that it needs of its cluster: the API server, the CRD with its
    /// fields, and its rights. Exit code 1 where something is missing.
    Check(Check),
}

/// What is to be checked.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Check {
    /// The namespaces whose Secrets it must be allowed to get, with commas; none where this is empty. All that are watched
    /// where it is not given.
    #[arg(long, value_name = "NAMESPACES")]
    pub secrets_in: Option<Namespaces>,
}

/// Names of namespaces, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces(pub Vec<String>);

impl FromStr for Namespaces {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .filter(|_| !text.is_empty())
            .map(namespace)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Text,
}

/// The Lease's name where no other one is given.
const LEASE: &str = "multiarch-operator";

impl Args {
    /// The name of the Lease.
    #[must_use]
    pub fn lease(&self) -> String {
        let of_shard = || self.watch_label_selector.as_ref().map(|selector| selector.name(LEASE));
        self.leader_election_lease.clone().or_else(of_shard).unwrap_or_else(|| LEASE.into())
    }

    /// When the Lease is taken, kept and lost.
    pub fn timing(&self) -> Result<Timing, String> {
        let timing = Timing {
            lease: self.leader_election_lease_duration,
            renew: self.leader_election_renew_deadline,
            retry: self.leader_election_retry_period,
        };
        timing.check().map(|()| timing)
    }
}

/// `HOST=URL`, with an https URL that has neither user nor query.
pub fn token_realm(text: &str) -> Result<(String, String), String> {
    let (host, url) = text.split_once('=').ok_or("write HOST=URL")?;
    let host = canonical_host(host)?;
    let url: url::Url = url.parse().map_err(|_| format!("{url} is not a URL"))?;
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if url.scheme() != "https" || !bare {
        return Err("the realm is an https URL without user and query".into());
    }
    Ok((host, url.into()))
}

/// A DNS label: nothing else is a namespace, and an empty one would be all of them.
fn namespace(text: &str) -> Result<String, String> {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let whole = text.bytes().all(inside) && !text.starts_with('-') && !text.ends_with('-');
    let fits = whole && (1..=63).contains(&text.len());
    fits.then(|| text.into()).ok_or_else(|| "a namespace is 1 to 63 of a-z, 0-9 and -".into())
}

/// A DNS subdomain.
fn lease(text: &str) -> Result<String, String> {
    let fits = text.len() <= 253 && text.split('.').all(|label| namespace(label).is_ok());
    fits.then(|| text.into())
        .ok_or_else(|| "a Lease's name is 1 to 253 of a-z, 0-9, - and .".into())
}

/// `15s`, `1m30s`, `500ms`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed: kube::core::Duration =
        text.parse().map_err(|error| format!("{error}; write 15s or 1m30s"))?;
    if parsed.is_negative() { Err("it is negative".into()) } else { Ok(parsed.into()) }
}

/// A number above nothing.
pub fn a_second(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "write a number, such as 20 or 0.5")?;
    let most = f64::from(u16::MAX);
    let fits = number >= 0.001 && number <= most;
    fits.then_some(number).ok_or_else(|| format!("it is from 0.001 to {most}"))
}

/// `HOST=HOST`.
pub fn upload_host(text: &str) -> Result<(String, String), String> {
    let (registry, host) = text.split_once('=').ok_or("write HOST=HOST")?;
    Ok((canonical_host(registry)?, canonical_host(host)?))
}

/// `NAMESPACE=PREFIX`.
fn credential_provider_allow(text: &str) -> Result<(String, Prefix), String> {
    let (to, prefix) = text.split_once('=').ok_or("write NAMESPACE=HOST or NAMESPACE=HOST/PATH")?;
    Ok((namespace(to)?, prefix.parse()?))
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

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["multiarch-operator"], args].concat())
    }

    #[test]
    fn takes_requests_a_second() {
        let parse = |args: &[&str]| Args::try_parse_from([&["multiarch-operator"], args].concat());
        assert_eq!(parse(&[]).unwrap().registry_qps.to_string(), "20");
        assert_eq!(parse(&["--registry-qps=2.5"]).unwrap().registry_qps.to_string(), "2.5");
        for wrong in ["0", "-1", "NaN", "inf", "1e9", "many", ""] {
            assert!(parse(&[&format!("--registry-qps={wrong}")]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn takes_lists_by_comma_and_by_repetition() {
        let args = parse(&["--watch-namespace=a,b", "--watch-namespace=c"]).unwrap();
        assert_eq!(args.watch_namespace, ["a", "b", "c"]);
        let args =
            parse(&["--allowed-registries=r.io,docker.io/acme", "--allowed-registries=s.io"]);
        let shown: Vec<_> =
            args.unwrap().allowed_registries.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["r.io", "docker.io/acme", "s.io"]);
        let args = parse(&["--upload-host=R.io=u.io:8443"]).unwrap();
        assert_eq!(args.upload_host, [("r.io".into(), "u.io:8443".into())]);
        // An empty list must not mean everything.
        for wrong in [
            "--watch-namespace=",
            "--watch-namespace=a,",
            "--watch-namespace=A",
            "--allowed-registries=",
            "--allowed-registries=https://r.io",
            "--upload-host=r.io",
        ] {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
        assert!(parse(&[]).unwrap().watch_namespace.is_empty());
    }

    #[test]
    fn lists_who_may_use_the_operators_credential() {
        let parse = |args: &[&str]| Args::try_parse_from([&["multiarch-operator"], args].concat());
        let both =
            ["--credential-provider-config=c.yaml", "--credential-provider-bin-dir=/plugins"];
        let with = |allow: &str| parse(&[&both[..], &[allow]].concat());
        let args = with("--credential-provider-allow=team-a=r.io/team-a,team-b=R.io:5000").unwrap();
        let shown = args.credential_provider_allow.iter().map(|(to, at)| format!("{to} {at}"));
        assert_eq!(shown.collect::<Vec<_>>(), ["team-a r.io/team-a", "team-b r.io:5000"]);
        assert!(parse(&both).unwrap().credential_provider_allow.is_empty());
        // Neither all namespaces nor all registries.
        for wrong in ["", "team-a", "team-a=", "=r.io", "*=r.io", "team-a=*", "team-a=*.r.io"] {
            assert!(with(&format!("--credential-provider-allow={wrong}")).is_err(), "{wrong}");
        }
        // One of them alone is a mistake.
        for alone in [&both[..1], &both[1..], &["--credential-provider-allow=a=r.io"]] {
            assert!(parse(alone).is_err(), "{alone:?}");
        }
    }

    #[test]
    fn checks_with_the_flags_that_it_would_work_with() {
        let secrets = |more: &[&str]| {
            let args = parse(&[&["--watch-namespace=a,b", "check"], more].concat()).unwrap();
            let Some(Command::Check(check)) = args.command else { panic!("no check") };
            assert_eq!(args.watch_namespace, ["a", "b"]);
            check.secrets_in.map(|namespaces| namespaces.0)
        };
        assert_eq!(secrets(&[]), None);
        assert_eq!(secrets(&["--secrets-in="]), Some(Vec::new()));
        assert_eq!(secrets(&["--secrets-in=a,b"]), Some(vec!["a".into(), "b".into()]));
        assert!(parse(&["check", "--secrets-in=a,"]).is_err() && parse(&["chekc"]).is_err());
        assert_eq!(parse(&[]).unwrap().command, None);
    }

    #[test]
    fn has_the_times_of_other_controllers() {
        let args = parse(&[]).unwrap();
        let timing = args.timing().unwrap();
        let seconds = |of: Duration| of.as_secs();
        let timing = (seconds(timing.lease), seconds(timing.renew), seconds(timing.retry));
        assert_eq!((args.leader_elect, timing), (false, (15, 10, 2)));
        let args = parse(&["--leader-elect", "--leader-election-renew-deadline=1m"]).unwrap();
        assert!(args.leader_elect && args.timing().unwrap_err().contains("longer"));
        for wrong in [
            "--shutdown-grace=20",
            "--shutdown-grace=-1s",
            "--leader-election-lease=A",
            "--leader-election-lease=",
            "--leader-election-namespace=a.b",
            "--watch-label-selector=",
            "--watch-label-selector=a in (",
        ] {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_shard_has_a_lease_of_its_own() {
        let lease = |args: &[&str]| parse(args).unwrap().lease();
        assert_eq!(lease(&[]), "multiarch-operator");
        let shard = lease(&["--watch-label-selector=multiarch.dev/shard=a"]);
        let rest = lease(&["--watch-label-selector=multiarch.dev/shard notin (a)"]);
        assert!(shard.starts_with("multiarch-operator-") && shard != rest, "{shard} {rest}");
        assert_eq!(lease(&["--watch-label-selector=a", "--leader-election-lease=x.y"]), "x.y");
    }

    #[test]
    fn has_a_variable_and_a_help_text_for_every_flag() {
        for flag in Args::command().get_arguments() {
            assert!(flag.get_help().is_some(), "{} has no help", flag.get_id());
            assert!(flag.get_env().is_some(), "{} has no variable", flag.get_id());
        }
    }
}
