//! The operator's own controller and registry client in this process, with limits that a test can wait for.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use kube::Client;
use multiarch_e2e::{namespace::Namespace, objects::Objects, proxy::client};
use multiarch_operator::{
    admin::Admin,
    controller,
    leader::Term,
    metrics::Metrics,
    registry::remote::{Limits, Options, Remote},
    shutdown::Shutdown,
};
use tokio::task::JoinHandle;

/// A controller at work in a namespace of its own. It ends when it is dropped.
pub(crate) struct Engine {
    pub(crate) namespace: Namespace,
    client: Client,
    shutdown: Shutdown,
    _controller: JoinHandle<()>,
}

impl Engine {
    /// Starts one that works on so many objects at once.
    pub(crate) async fn start(
        kubernetes: &Client,
        concurrent: u16,
        limits: Limits,
    ) -> Result<Self> {
        // Installs a TLS provider, which the client wants even where no TLS is spoken.
        client()?;
        let namespace = Namespace::create(kubernetes).await?;
        let registries = Remote::new(Options {
            allow_loopback: true,
            allow_http: true,
            limits,
            ..Options::default()
        })?;
        let options = controller::Options {
            namespaces: vec![namespace.name.clone()],
            selector: None,
            providers: Arc::default(),
            allowed: Vec::new(),
            concurrent: NonZeroU16::new(concurrent).context("no object at once")?,
            spread: Duration::ZERO,
            node_platforms: false,
            sets: false,
            shelf: Arc::default(),
        };
        let (metrics, shutdown) = (Arc::new(Metrics::new()), Shutdown::default());
        let admin = Admin::new(Arc::clone(&metrics));
        let (client, term) = (kubernetes.clone(), Term::alone(&shutdown));
        let run = controller::run(client.clone(), registries, options, metrics, admin, term);
        Ok(Self { namespace, client, shutdown, _controller: tokio::spawn(run) })
    }

    /// The objects that it works on.
    pub(crate) fn objects(&self) -> Objects {
        Objects::of(&self.client, &self.namespace.name)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown.stop.cancel();
    }
}

/// Limits of which the longest is a few seconds: longer than a busy machine stands still for.
pub(crate) fn short() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        first_byte: Duration::from_secs(5),
        first_byte_most: Duration::from_secs(6),
        idle: Duration::from_secs(4),
        rate_window: Duration::from_secs(3),
        backoff: Duration::from_millis(50),
        ..Limits::default()
    }
}
