//! The stage of a test: a namespace, a registry and an operator of its own, whose logs are shown when it fails.

mod secrets;

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
};

use anyhow::{Context, Result};
use futures::FutureExt;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, Client, api::ListParams};
use multiarch_crds::v1alpha1::MultiArchImage;
use serde_json::json;
use tempfile::TempDir;

pub use crate::objects::REQUESTED_AT;
use crate::{
    bin::workspace,
    cluster::Cluster,
    helm::{Helm, Release},
    images::Image,
    maps::Maps,
    namespace::Namespace,
    objects::Objects,
    operator::{NAMESPACE as SYSTEM, Operator, SERVICE_ACCOUNT},
    registry::{BOTH, CI, Login, READER, Registry, Storage},
    spec::Spec,
    tls::Certificates,
};

/// What a test plays with.
pub struct Scenario {
    /// The cluster, shared with other tests.
    pub cluster: Arc<Cluster>,
    /// The administrator's client.
    pub client: Client,
    /// The test's namespace.
    pub namespace: Namespace,
    /// The test's registry.
    pub registry: Registry,
    /// The test's operator.
    pub operator: Operator,
    folder: TempDir,
    flags: Vec<String>,
}

/// What kind of registries a test plays with.
#[derive(Clone, Copy, Debug)]
struct Props {
    login: Option<Login>,
    storage: Storage,
    /// Of the operator.
    flags: &'static [&'static str],
    /// Whether it works only while it holds a Lease, of the test's namespace.
    elected: bool,
    /// Whether it keeps coverage maps, in the test's namespace.
    covers: bool,
}

const OPEN: Props =
    Props { login: None, storage: Storage::Memory, flags: &[], elected: false, covers: false };
const LOCKED: Props = Props { login: Some(CI), ..OPEN };

/// Plays `play` with a registry that lets everyone in.
pub async fn scenario(play: impl AsyncFnOnce(&mut Scenario) -> Result<()>) -> Result<()> {
    on_stage(Cluster::shared().await?, OPEN, play).await
}

/// The same with more flags for the operator.
pub async fn scenario_with(
    flags: &'static [&'static str],
    play: impl AsyncFnOnce(&mut Scenario) -> Result<()>,
) -> Result<()> {
    on_stage(Cluster::shared().await?, Props { flags, ..OPEN }, play).await
}

/// The same where the operator works only while it holds a Lease, as its replicas do ([`Scenario::replica`]).
pub async fn scenario_with_election(
    flags: &'static [&'static str],
    play: impl AsyncFnOnce(&mut Scenario) -> Result<()>,
) -> Result<()> {
    on_stage(Cluster::shared().await?, Props { flags, elected: true, ..OPEN }, play).await
}

/// The same where the operator keeps coverage maps in the test's namespace.
pub async fn scenario_with_maps(
    flags: &'static [&'static str],
    play: impl AsyncFnOnce(&mut Scenario) -> Result<()>,
) -> Result<()> {
    on_stage(Cluster::shared().await?, Props { flags, covers: true, ..OPEN }, play).await
}

/// The same where it works only while it holds a Lease, too.
pub async fn scenario_with_maps_and_election(
    flags: &'static [&'static str],
    play: impl AsyncFnOnce(&mut Scenario) -> Result<()>,
) -> Result<()> {
    let props = Props { flags, covers: true, elected: true, ..OPEN };
    on_stage(Cluster::shared().await?, props, play).await
}

/// The same on a control plane that it may break.
pub async fn scenario_with_election_on_a_cluster_of_its_own(
    flags: &'static [&'static str],
    play: impl AsyncFnOnce(&mut Scenario) -> Result<()>,
) -> Result<()> {
    let cluster = Arc::new(Cluster::start(&workspace().join("crds")).await?);
    on_stage(cluster, Props { flags, elected: true, ..OPEN }, play).await
}

/// Plays `play` with a registry that asks for a password.
pub async fn scenario_with_password(
    play: impl AsyncFnOnce(&mut Scenario) -> Result<()>,
) -> Result<()> {
    on_stage(Cluster::shared().await?, LOCKED, play).await
}

/// Plays `play` with a registry that lets everyone in, and one more elsewhere.
pub async fn scenario_of_two_registries(
    play: impl AsyncFnOnce(&mut Scenario, &Registry) -> Result<()>,
) -> Result<()> {
    with_one_elsewhere(Cluster::shared().await?, OPEN, None, play).await
}

/// The same with more flags for the operator.
pub async fn scenario_of_two_registries_with(
    flags: &'static [&'static str],
    play: impl AsyncFnOnce(&mut Scenario, &Registry) -> Result<()>,
) -> Result<()> {
    with_one_elsewhere(Cluster::shared().await?, Props { flags, ..OPEN }, None, play).await
}

/// The same on a control plane of which each request is the test's.
pub async fn scenario_of_two_registries_on_a_cluster_of_its_own(
    flags: &'static [&'static str],
    play: impl AsyncFnOnce(&mut Scenario, &Registry) -> Result<()>,
) -> Result<()> {
    let cluster = Arc::new(Cluster::start(&workspace().join("crds")).await?);
    with_one_elsewhere(cluster, Props { flags, ..OPEN }, None, play).await
}

/// The same with a password on each, and not the same one.
pub async fn scenario_of_two_passwords(
    play: impl AsyncFnOnce(&mut Scenario, &Registry) -> Result<()>,
) -> Result<()> {
    with_one_elsewhere(Cluster::shared().await?, LOCKED, Some(READER), play).await
}

/// Plays `play` with a registry that lets in two, each with a password.
pub async fn scenario_of_two_tenants(
    play: impl AsyncFnOnce(&mut Scenario) -> Result<()>,
) -> Result<()> {
    let props = Props { login: Some(BOTH), ..OPEN };
    on_stage(Cluster::shared().await?, props, play).await
}

/// The same with room for layers that fill a memory.
pub async fn scenario_of_two_stores(
    play: impl AsyncFnOnce(&mut Scenario, &Registry) -> Result<()>,
) -> Result<()> {
    let props = Props { storage: Storage::Files, ..OPEN };
    with_one_elsewhere(Cluster::shared().await?, props, None, play).await
}

/// Plays `play` on a control plane that it may break.
pub async fn scenario_on_a_cluster_of_its_own(
    play: impl AsyncFnOnce(&mut Scenario) -> Result<()>,
) -> Result<()> {
    let cluster = Arc::new(Cluster::start(&workspace().join("crds")).await?);
    on_stage(cluster, OPEN, play).await
}

/// The same where the operator looks at nodes, by the chart's right to.
pub async fn scenario_that_sees_nodes(
    play: impl AsyncFnOnce(&mut Scenario) -> Result<()>,
) -> Result<()> {
    let cluster = Arc::new(Cluster::start(&workspace().join("crds")).await?);
    let values = json!({"nodePlatforms": {"enabled": true}});
    let release = Release { name: SERVICE_ACCOUNT, namespace: SYSTEM, values: &values };
    cluster.apply_text(&Helm::new()?.template(release, &["rbac-nodes.yaml"]).await?).await?;
    on_stage(cluster, Props { flags: &["--node-platforms"], ..OPEN }, play).await
}

async fn with_one_elsewhere(
    cluster: Arc<Cluster>,
    props: Props,
    login: Option<Login>,
    play: impl AsyncFnOnce(&mut Scenario, &Registry) -> Result<()>,
) -> Result<()> {
    on_stage(cluster, props, async |s| {
        let folder = s.folder.path().join("elsewhere");
        let elsewhere = Registry::start(&folder, login, props.storage).await?;
        let played = AssertUnwindSafe(play(s, &elsewhere)).catch_unwind().await;
        if !matches!(played, Ok(Ok(()))) {
            show(&elsewhere);
        }
        played.unwrap_or_else(|panic| resume_unwind(panic))
    })
    .await
}

async fn on_stage(
    cluster: Arc<Cluster>,
    props: Props,
    play: impl AsyncFnOnce(&mut Scenario) -> Result<()>,
) -> Result<()> {
    let client = cluster.client().await?;
    let namespace = Namespace::create(&client).await?;
    let mut scenario = Scenario::set(cluster, client, namespace, props).await?;
    let played = AssertUnwindSafe(play(&mut scenario)).catch_unwind().await;
    if !matches!(played, Ok(Ok(()))) {
        scenario.show();
    }
    let deleted = scenario.namespace.delete().await;
    played.unwrap_or_else(|panic| resume_unwind(panic))?;
    deleted
}

/// The requests to a registry, which tell why a test failed.
#[expect(
    clippy::print_stderr,
    reason = "the test harness captures it, and shows it of the tests that fail"
)]
pub fn show(registry: &Registry) {
    eprintln!("--- requests to {}", registry.host());
    for seen in registry.proxy.seen() {
        eprintln!("{} {} {} {}", seen.method, seen.path, seen.query, seen.status);
    }
}

impl Scenario {
    async fn set(
        cluster: Arc<Cluster>,
        client: Client,
        namespace: Namespace,
        props: Props,
    ) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder for the test")?;
        let registry = Registry::start(folder.path(), props.login, props.storage).await?;
        let mut flags: Vec<_> = props.flags.iter().map(ToString::to_string).collect();
        if props.elected || props.covers {
            namespace.grant_leases(&client, SYSTEM, SERVICE_ACCOUNT).await?;
            flags.push(format!("--leader-election-namespace={}", namespace.name));
        }
        if props.elected {
            flags.push("--leader-elect".into());
        }
        if props.covers {
            namespace.grant_maps(&client, SYSTEM, SERVICE_ACCOUNT).await?;
            flags.push("--coverage-maps".into());
        }
        let watched = Some(namespace.name.as_str());
        let operator = Operator::start_with(&cluster, folder.path(), watched, &flags).await?;
        Ok(Self { cluster, client, namespace, registry, operator, folder, flags })
    }

    /// One more operator like the test's own.
    pub async fn replica(&self, name: &str) -> Result<Operator> {
        self.replica_with(name, &self.flags).await
    }

    /// One more, with flags of its own. Its files lie in a folder called `name`.
    pub async fn replica_with(&self, name: &str, flags: &[impl AsRef<str>]) -> Result<Operator> {
        let (folder, watched) = (self.folder.path().join(name), Some(self.namespace.name.as_str()));
        Operator::start_with(&self.cluster, &folder, watched, flags).await
    }

    /// The coverage maps in the test's namespace.
    #[must_use]
    pub fn maps(&self) -> Maps {
        Maps::of(&self.client, &self.namespace.name)
    }

    /// The flags of its operator.
    #[must_use]
    pub fn flags(&self) -> &[String] {
        &self.flags
    }

    /// The objects in the test's namespace.
    #[must_use]
    pub fn objects(&self) -> Objects {
        Objects::of(&self.client, &self.namespace.name)
    }

    /// The same, as the API server has them.
    #[must_use]
    pub fn images(&self) -> Api<MultiArchImage> {
        self.objects().api
    }

    /// Pushes an OCI image for each of `platforms`, under `repository:tag-architecture` with the variant after it.
    pub async fn push(&self, repository_and_tag: &str, platforms: &[&str]) -> Result<()> {
        for platform in platforms {
            let image = Image::oci(platform, repository_and_tag)?;
            self.registry.push(&tag_of(repository_and_tag, platform), &image).await?;
        }
        Ok(())
    }

    /// An object of one source for each of `platforms`, named as [`Scenario::push`] tags them.
    #[must_use]
    pub fn spec(&self, name: &str, repository_and_tag: &str, platforms: &[&str]) -> Spec {
        platforms.iter().fold(
            Spec::new(&self.registry, name, repository_and_tag),
            |spec, platform| {
                spec.source(&suffix(platform), &tag_of(repository_and_tag, platform), &[platform])
            },
        )
    }

    /// Applies `spec`, whole, as `kubectl apply --server-side` does.
    pub async fn apply(&self, spec: &Spec) -> Result<MultiArchImage> {
        self.objects().apply(spec).await
    }

    /// Waits until `holds` holds for the object, whose status speaks of its current spec.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&MultiArchImage) -> bool,
    ) -> Result<MultiArchImage> {
        self.objects().until(name, what, holds).await
    }

    /// Waits until Ready is `ready`, as `True/Succeeded`.
    pub async fn until_ready(&self, name: &str, ready: &str) -> Result<MultiArchImage> {
        self.objects().until_ready(name, ready).await
    }

    /// Applies `spec` and waits until Ready is `ready`.
    pub async fn apply_until(&self, spec: &Spec, ready: &str) -> Result<MultiArchImage> {
        self.objects().apply_until(spec, ready).await
    }

    /// A registry of the test's that speaks TLS.
    pub async fn start_with_tls(
        &self,
        certificates: &Certificates,
        asks_clients: bool,
    ) -> Result<Registry> {
        let folder = self.folder.path().join("tls");
        Registry::start_with_tls(&folder, certificates, asks_clients).await
    }

    /// Asks for a run at once by annotation, and waits for its end: the status echoes what was asked.
    pub async fn request(&self, name: &str) -> Result<MultiArchImage> {
        self.objects().request(name).await
    }

    /// The note of an Event for `reason`, where there is one. An Event is told after the status that it is about.
    pub async fn told(&self, reason: &str) -> Result<Option<String>> {
        Ok(self.all_told(reason).await?.pop())
    }

    /// The notes of all Events for `reason`.
    pub async fn all_told(&self, reason: &str) -> Result<Vec<String>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace.name);
        let events = events.list(&ListParams::default()).await.context("failed to list Events")?;
        let of = events.items.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
        Ok(of.filter_map(|event| event.note).collect())
    }

    /// Everything that tells why a test failed.
    #[expect(
        clippy::print_stderr,
        reason = "the test harness captures it, and shows it of the tests that fail"
    )]
    fn show(&self) {
        show(&self.registry);
        let logs = self.operator.logs().unwrap_or_else(|error| format!("{error:#}"));
        eprintln!("--- operator in {}\n{logs}---", self.namespace.name);
    }
}

/// `team/app:1.0-armv7`, for `team/app:1.0` and `linux/arm/v7`.
#[must_use]
pub fn tag_of(repository_and_tag: &str, platform: &str) -> String {
    format!("{repository_and_tag}-{}", suffix(platform))
}

fn suffix(platform: &str) -> String {
    platform.split('/').skip(1).collect()
}
