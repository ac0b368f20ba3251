//! The operator: parses its flags, and starts the controller and the admin server.

use std::{io::IsTerminal, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use multiarch_operator::{
    admin::Admin,
    args::{Args, LogFormat},
    controller,
    keychain::providers::{Provider, Providers},
    metrics::Metrics,
    registry::remote::{Observation, Options, Proxies, Remote},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// How long the runs at hand may take to end after SIGTERM. A run that is cut off loses nothing: each of its writes is whole, and the
/// next start goes on from what is there. A registry that does not answer must not hold up a rollout.
const GRACE: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    start_log(&args)?;
    // One provider for kube and for registries, before either makes a connection.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed already"))?;
    let variable = |name: &str| std::env::var(name).ok();
    let proxies = Proxies::read(variable).map_err(anyhow::Error::msg)?;
    let mut config = kube::Config::infer().await.context(
        "failed to find a cluster: KUBECONFIG must name a kubeconfig, where this is no Pod",
    )?;
    // Those of the environment are for registries: a cluster is reached directly, and the client, which
    // takes HTTPS_PROXY for the kubeconfig's own proxy-url, has no way through one.
    let of_env = variable("HTTPS_PROXY").or_else(|| variable("https_proxy"));
    let of_env = of_env.and_then(|text| text.parse().ok());
    config.proxy_url = config.proxy_url.filter(|proxy| Some(proxy) != of_env.as_ref());
    let client =
        kube::Client::try_from(config).context("failed to set up the Kubernetes client")?;

    let metrics = Arc::new(Metrics::new());
    let observed = Arc::clone(&metrics);
    let asked = move |provider: &str, result| observed.asked_provider(provider, result);
    let providers = credential_providers(&args)?;
    let providers = Providers::new(providers, args.credential_provider_allow);
    let providers = providers.observed_by(Arc::new(asked));
    let observed = Arc::clone(&metrics);
    let registry = Remote::new(Options {
        allow_loopback: args.allow_loopback_registries,
        allow_http: args.insecure_allow_http,
        allowed: args.allowed_registries.clone(),
        upload_hosts: args.upload_host,
        token_realms: args.token_realm,
        ca_bundle: args.ca_bundle,
        proxies,
        observe: Arc::new(move |request: &Observation| {
            observed.requested(&request.registry, request.method, request.status, request.elapsed);
        }),
        user_agent: concat!("multiarch-operator/", env!("CARGO_PKG_VERSION")).into(),
        ..Options::default()
    })?;

    let stop = CancellationToken::new();
    let listener = TcpListener::bind(args.admin_listen)
        .await
        .with_context(|| format!("failed to listen on {} (--admin-listen)", args.admin_listen))?;
    info!(admin = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "listening");
    let admin = Admin::new(Arc::clone(&metrics));
    let server = tokio::spawn(admin.clone().serve(listener, stop.clone()));

    let options = controller::Options {
        namespaces: args.watch_namespace,
        allowed: args.allowed_registries,
        providers,
        concurrent: args.concurrent,
    };
    let controller = controller::run(client, registry, options, metrics, admin, stop.clone());
    let stopped = async {
        signalled().await?;
        info!("stopping: the runs at hand end first");
        stop.cancel();
        tokio::time::sleep(GRACE).await;
        warn!(
            "some runs did not end within {GRACE:?}; what they pushed stays, and the next start goes on"
        );
        Ok(())
    };
    tokio::select! {
        () = controller => {}
        ended = stopped => return ended,
    }
    stop.cancel();
    server.await.context("the admin server panicked")?.context("the admin server failed")?;
    info!("stopped");
    Ok(())
}

/// Those of the kubelet's config, where there is one.
fn credential_providers(args: &Args) -> anyhow::Result<Vec<Provider>> {
    let (config, bin) = (&args.credential_provider_config, &args.credential_provider_bin_dir);
    let (Some(config), Some(bin)) = (config, bin) else { return Ok(Vec::new()) };
    Provider::read(config, bin).context("failed to use --credential-provider-config")
}

async fn signalled() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("failed to wait for SIGINT")?,
    }
    Ok(())
}

fn start_log(args: &Args) -> anyhow::Result<()> {
    // What the watch says of its failures, we say with a hint.
    let directives = format!("kube_runtime::watcher=off,{}", args.log_level);
    let filter = EnvFilter::try_new(directives).with_context(|| {
        format!("--log-level: {:?} is neither a level nor a directive", args.log_level)
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}
