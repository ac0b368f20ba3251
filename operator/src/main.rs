//! The operator: parses its flags, and starts the controller and the admin server, or checks what they would need.

use std::{
    fs,
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use kube::{Client, Config};
use multiarch_operator::{
    admin::Admin,
    args::{self, Args, Command, LogFormat},
    check::{
        self, Finding,
        rights::{Needs, rights},
    },
    controller::{self, Controller},
    coverage,
    keychain::providers::{Provider, Providers},
    leader::{self, LeaderError, Term},
    metrics::Metrics,
    registry::{
        remote::{Limits, Observation, Options, Proxies, Remote},
        shared::{Shared, Use},
    },
    shelf::{self, Shelf},
    shutdown::Shutdown,
};
use tokio::{net::TcpListener, runtime::Runtime, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

/// How long uploads that were cut off may take to be cancelled, and open requests to the admin server to be answered, at
/// the end.
const LAST: Duration = Duration::from_secs(1);
/// How long the API server may be silent in the middle of an answer, and on a watch. A connection that died in silence is
/// given up then, and what was asked is asked again.
const ANSWER: Duration = Duration::from_secs(30);
const WATCH: Duration = Duration::from_secs(150);
/// Where a Pod finds the name of its namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    start_log(&args)?;
    let runtime = Runtime::new().context("failed to start")?;
    to_the_end(runtime, run(args))
}

/// Does `work`, and does not wait for threads that still read at its end: a volume that does not answer keeps them for ever.
fn to_the_end<T>(runtime: Runtime, work: impl Future<Output = T>) -> T {
    let ended = runtime.block_on(work);
    runtime.shutdown_background();
    ended
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // One provider for kube and for registries, before either makes a connection.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed already"))?;
    let variable = |name: &str| std::env::var(name).ok();
    let proxies = Proxies::read(variable).map_err(anyhow::Error::msg)?;
    let (election, covers) = (election(&args)?, covers(&args)?);
    let clients = Clients::connect(&config(variable).await?)?;

    let metrics = Arc::new(Metrics::new());
    let observed = Arc::clone(&metrics);
    let asked = move |provider: &str, result| observed.asked_provider(provider, result);
    let providers = credential_providers(&args)?;
    let providers = Providers::new(providers, args.credential_provider_allow);
    let providers = Arc::new(providers.observed_by(Arc::new(asked)));
    let observed = Arc::clone(&metrics);
    let observe_token = Arc::new(move |kept| observed.token(kept));
    let observed = Arc::clone(&metrics);
    let remote = Remote::new(Options {
        allow_loopback: args.allow_loopback_registries,
        allow_http: args.insecure_allow_http,
        allowed: args.allowed_registries.clone(),
        upload_hosts: args.upload_host,
        token_realms: args.token_realm,
        ca_bundle: args.ca_bundle,
        proxies,
        limits: Limits { a_second: args.registry_qps, ..Limits::default() },
        observe: Arc::new(move |request: &Observation| {
            observed.requested(&request.registry, request.method, request.status, request.elapsed);
            if let Some(left) = request.left {
                observed.left(&request.registry, left);
            }
        }),
        observe_token,
        ..Options::default()
    })?;
    if let Some(Command::Check(asked)) = &args.command {
        // What is wrong with the flags, or with files that they name, has been told by now.
        let watched = &args.watch_namespace;
        let leases = (election.as_ref(), covers.as_ref());
        let parts = (args.node_platforms, args.sets, args.archive_dir.as_deref());
        return check(&clients.asks, watched, asked, parts, leases).await;
    }
    let observed = Arc::clone(&metrics);
    let observe = Arc::new(move |of: &Use| observed.shared(of));
    // A clone is the same client.
    let kept = args.cache_mib.saturating_mul(1 << 20);
    let registry = Arc::new(Shared::new(remote.clone(), kept, observe));

    let shutdown =
        Shutdown::on_signals(args.shutdown_grace).context("failed to wait for signals")?;
    let listener = TcpListener::bind(args.admin_listen)
        .await
        .with_context(|| format!("failed to listen on {} (--admin-listen)", args.admin_listen))?;
    info!(admin = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "listening");
    let (admin, end) = (Admin::new(Arc::clone(&metrics)), CancellationToken::new());
    let server = tokio::spawn(admin.clone().serve(listener, end.clone()));

    let (dir, shared) = (args.archive_dir, args.archive_dir_shared);
    let shelf = Shelf::new(shelf::Options { dir, shared, settles: args.archive_settle });
    let options = controller::Options {
        namespaces: args.watch_namespace,
        selector: args.watch_label_selector,
        allowed: args.allowed_registries,
        providers,
        shelf: Arc::new(shelf),
        concurrent: args.concurrent,
        spread: controller::SPREAD,
        node_platforms: args.node_platforms,
        sets: args.sets,
    };
    let covering = cover(&clients, covers, &options.namespaces, &metrics, &shutdown);
    let (objects, watching) = controller::watch(clients.watch.clone(), &options, admin);
    let mut watching = tokio::spawn(watching);
    let (asks, metered) = (clients.asks.clone(), Arc::clone(&metrics));
    let controller = Controller::new(asks, registry, options, metrics, objects);
    let controller = Arc::new(controller);
    let work = async {
        let Some(election) = election else {
            controller.work(Term::alone(&shutdown)).await;
            return Ok(());
        };
        let lease = election.lease.clone();
        let leads = |leads| metered.leads(&lease, leads);
        let work = |term| {
            let controller = Arc::clone(&controller);
            async move { controller.work(term).await }
        };
        leader::run(clients.lease.clone(), election, &shutdown, leads, work).await
    };
    let both = async { tokio::try_join!(work, covering) };
    let worked = Box::pin(controller::while_watched(&mut watching, both)).await;
    if let Err(error) = worked.map_err(anyhow::Error::from).and_then(|led| Ok(led?)) {
        error!(%error, "ending at once");
        // Not by way of main's end: nothing of a process that may not write any more is to go on.
        std::process::exit(1);
    }
    watching.abort();
    end.cancel();
    // Whoever keeps a connection open does not keep the process.
    let _ = timeout(LAST, remote.settle()).await;
    if let Ok(served) = timeout(LAST, server).await {
        served.context("the admin server panicked")?.context("the admin server failed")?;
    }
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Keeps the coverage maps whenever this process is elected to, beside all else that it does.
fn cover(
    clients: &Clients,
    election: Option<leader::Options>,
    objects: &[String],
    metrics: &Arc<Metrics>,
    shutdown: &Shutdown,
) -> impl Future<Output = Result<(), LeaderError>> + use<> {
    let (lease, shutdown, metrics) = (clients.lease.clone(), shutdown.clone(), Arc::clone(metrics));
    let (watch, asks, objects) = (clients.watch.clone(), clients.asks.clone(), objects.to_vec());
    async move {
        let Some(election) = election else { return Ok(()) };
        let options = coverage::Options { objects, namespace: election.namespace.clone() };
        let writer = coverage::Writer::new(watch, asks, options, Arc::clone(&metrics));
        let (writer, name) = (Arc::new(writer), election.lease.clone());
        let leads = |leads| metrics.leads(&name, leads);
        let work = |term| {
            let writer = Arc::clone(&writer);
            async move { writer.work(term).await }
        };
        leader::run(lease, election, &shutdown, leads, work).await
    }
}

/// Prints a line for each thing that is needed.
async fn check(
    client: &Client,
    watched: &[String],
    asked: &args::Check,
    (nodes, sets, archives): (bool, bool, Option<&Path>),
    (election, covers): (Option<&leader::Options>, Option<&leader::Options>),
) -> anyhow::Result<ExitCode> {
    let named = |of: &'_ leader::Options| (of.namespace.clone(), of.lease.clone());
    let leases: Vec<_> = election.into_iter().chain(covers).map(named).collect();
    let secrets = asked.secrets_in.as_ref().map(|namespaces| namespaces.0.as_slice());
    let maps = covers.map(|of| of.namespace.as_str());
    let needs = Needs { namespaces: watched, secrets, nodes, sets, leases: &leases, maps };
    let mut found = check::check(client, &rights(needs), sets).await;
    found.extend(archives.map(check::archives));
    let mut out = std::io::stdout().lock();
    for finding in &found {
        writeln!(out, "{finding}").context("failed to print")?;
    }
    let fine = found.iter().all(|finding| matches!(finding, Finding::Fine(_)));
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Those of the kubelet's config, where there is one.
fn credential_providers(args: &Args) -> anyhow::Result<Vec<Provider>> {
    let (config, bin) = (&args.credential_provider_config, &args.credential_provider_bin_dir);
    let (Some(config), Some(bin)) = (config, bin) else { return Ok(Vec::new()) };
    Provider::read(config, bin).context("failed to use --credential-provider-config")
}

/// Clients of the API server, each with its own patience.
struct Clients {
    watch: Client,
    asks: Client,
    lease: Client,
}

impl Clients {
    fn connect(config: &Config) -> anyhow::Result<Self> {
        let client = |config: &Config| {
            Client::try_from(config.clone()).context("failed to set up the Kubernetes client")
        };
        let mut patient = config.clone();
        patient.reset_reader_on_write = true;
        patient.read_timeout = Some(WATCH);
        let watch = client(&patient)?;
        patient.read_timeout = Some(ANSWER);
        // Whoever asks tries again by itself: a run gives its worker back meanwhile, and an election has a time limit for each
        // request.
        patient.default_retry = false;
        let (asks, lease) = (client(&patient)?, client(&patient)?);
        Ok(Self { watch, asks, lease })
    }
}

/// How the API server is reached.
async fn config(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Config> {
    let mut config = Config::infer().await.context(
        "failed to find a cluster: KUBECONFIG must name a kubeconfig, where this is no Pod",
    )?;
    // Those of the environment are for registries: a cluster is reached directly, and the client, which
    // takes HTTPS_PROXY for the kubeconfig's own proxy-url, has no way through one.
    let of_env = variable("HTTPS_PROXY").or_else(|| variable("https_proxy"));
    let of_env = of_env.and_then(|text| text.parse().ok());
    config.proxy_url = config.proxy_url.filter(|proxy| Some(proxy) != of_env.as_ref());
    Ok(config)
}

/// The election that the flags ask for.
fn election(args: &Args) -> anyhow::Result<Option<leader::Options>> {
    if !args.leader_elect {
        return Ok(None);
    }
    let namespace = own_namespace(args).context(
        "--leader-elect needs --leader-election-namespace, where this is no Pod: all replicas find their Lease there",
    )?;
    of_lease(args, namespace, args.lease()).map(Some)
}

/// The election of who keeps the coverage maps, where the flags ask for them.
fn covers(args: &Args) -> anyhow::Result<Option<leader::Options>> {
    if !args.coverage_maps {
        return Ok(None);
    }
    let namespace = own_namespace(args).context(
        "--coverage-maps needs --leader-election-namespace, where this is no Pod: the maps are kept there",
    )?;
    of_lease(args, namespace, coverage::LEASE.into()).map(Some)
}

fn of_lease(args: &Args, namespace: String, lease: String) -> anyhow::Result<leader::Options> {
    let timing = args.timing().map_err(|why| anyhow::anyhow!("--leader-election-…: {why}"))?;
    Ok(leader::Options { namespace, lease, identity: leader::identity(), timing })
}

/// The namespace of the Leases.
fn own_namespace(args: &Args) -> Option<String> {
    let of_pod =
        || std::env::var("POD_NAMESPACE").ok().or_else(|| fs::read_to_string(POD_NAMESPACE).ok());
    let namespace = args.leader_election_namespace.clone().or_else(of_pod);
    namespace.map(|it| it.trim().to_owned()).filter(|namespace| !namespace.is_empty())
}

fn start_log(args: &Args) -> anyhow::Result<()> {
    // What the client and the watch say of their failures, we say with a hint. Whoever looks closely has all of it.
    let close = ["debug", "trace"].contains(&args.log_level.to_lowercase().as_str());
    let client = if close { "" } else { "kube_client::client=off," };
    let directives = format!("{client}kube_runtime::watcher=off,{}", args.log_level);
    let wrong = || format!("--log-level: {:?} is neither a level nor a directive", args.log_level);
    only_known_words(&args.log_level).with_context(wrong)?;
    let filter = EnvFilter::try_new(directives).with_context(wrong)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}

/// Refuses a word that is no level. A filter takes one for the name of a module, and so logs nothing else any more.
fn only_known_words(directives: &str) -> anyhow::Result<()> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    for word in directives.split(',').filter(|word| !word.contains('=')) {
        if !LEVELS.contains(&word.to_lowercase().as_str()) {
            anyhow::bail!("{word:?} is none of {}; a directive is MODULE=LEVEL", LEVELS.join(", "));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode};
    use tokio::sync::mpsc;

    use super::*;

    /// As on a volume that does not answer.
    #[test]
    fn what_is_read_at_the_end_holds_nobody_up() {
        let (answer, volume) = std::sync::mpsc::channel::<()>();
        let (read, reads) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let work = async {
                tokio::task::spawn_blocking(move || {
                    read.send(()).unwrap();
                    volume.recv()
                });
                reads.recv().unwrap();
                7
            };
            end.send(to_the_end(Runtime::new().unwrap(), work)).unwrap();
        });
        assert_eq!(ended.recv_timeout(Duration::from_mins(1)), Ok(7), "it waits for the volume");
        drop(answer);
    }

    #[test]
    fn a_misspelt_level_does_not_silence_the_log() {
        for known in [
            "info",
            "OFF",
            "trace,hyper=info",
            "info,multiarch_operator=debug",
            "kube_client=off,warn",
        ] {
            only_known_words(known).unwrap();
        }
        for wrong in ["inffo", "", "info,", "info,multiarch_operator", "debug;info"] {
            let said = only_known_words(wrong).unwrap_err().to_string();
            assert!(said.contains("is none of error, warn, info, debug, trace, off"), "{said}");
        }
        // It would have been taken.
        assert!(EnvFilter::try_new("inffo").is_ok());
    }

    /// What repeats a request by itself would keep a worker for minutes, also where the API server is back.
    #[tokio::test]
    async fn an_api_server_that_is_not_ready_is_asked_once_by_each_request() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let app = Router::new().fallback(move || {
            tell.send(()).unwrap();
            async { StatusCode::SERVICE_UNAVAILABLE }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let clients = Clients::connect(&Config::new(url.parse().unwrap())).unwrap();
        for client in [clients.asks, clients.lease] {
            let asking = client.apiserver_version();
            let again = async {
                told.recv().await;
                told.recv().await;
            };
            tokio::select! {
                answer = asking => assert!(answer.is_err()),
                () = again => panic!("it was asked again"),
            }
            while told.try_recv().is_ok() {}
        }
    }
}
