//! One object over registries by HTTP, run after run as the controller does it: status → Memory → run → status.

#![allow(dead_code, reason = "each suite uses its own part")]

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use multiarch_crds::{
    condition::{self, Type},
    v1alpha1::{
        MultiArchImageSpec, MultiArchImageStatus, Registry as Host, SecretRef, Source, Target,
    },
};
use multiarch_operator::{
    keychain::{DockerConfig, Keychain},
    nodes::View,
    reconcile::{
        self, Job, Stage,
        claims::Claims,
        memory::Memory,
        referrers::Looks,
        since::Since,
        sources::Sources,
        status::{self, About, Outcome, Run},
        tags::Corrections,
        writer::Writer,
    },
    registry::{Registry, remote::Remote},
};
use tokio::time::Instant;

/// The Secret with every credential that an object has.
pub(crate) const SECRET: &str = "push";

/// An object, and what the cluster knows of it.
pub(crate) struct Object {
    pub(crate) spec: MultiArchImageSpec,
    pub(crate) status: MultiArchImageStatus,
    now: Timestamp,
    /// Docker config files, by the name of their Secret.
    logins: HashMap<String, String>,
    /// Certificates, by the name of theirs.
    certificates: Vec<(String, Secret)>,
}

impl Object {
    /// With a source for each of `sources`, called `s0`, `s1`, …
    pub(crate) fn new(target: &str, sources: &[String]) -> Self {
        let source = |(at, image): (usize, &String)| Source {
            name: format!("s{at}"),
            image: image.clone(),
            ..Source::default()
        };
        let target = Target { image: target.into(), ..Target::default() };
        let sources = sources.iter().enumerate().map(source).collect();
        Self {
            spec: MultiArchImageSpec { target, sources, ..MultiArchImageSpec::default() },
            status: MultiArchImageStatus {
                observed_generation: Some(-1),
                ..MultiArchImageStatus::default()
            },
            now: Timestamp::constant(1_800_000_000, 0),
            logins: HashMap::new(),
            certificates: Vec::new(),
        }
    }

    /// These registries are asked without TLS.
    pub(crate) fn by_http<'a>(mut self, hosts: impl IntoIterator<Item = &'a str>) -> Self {
        let host = |host: &str| Host { host: host.into(), plain_http: true, ..Host::default() };
        self.spec.registries.extend(hosts.into_iter().map(host));
        self
    }

    /// These hosts have certificates in a Secret each.
    pub(crate) fn with_certificates(mut self, of: &[(String, Secret)]) -> Self {
        for (at, (host, secret)) in of.iter().enumerate() {
            let name = format!("tls-{at}");
            let cert_secret_ref = Some(SecretRef { name: name.clone() });
            self.spec.registries.push(Host {
                host: host.clone(),
                cert_secret_ref,
                ..Host::default()
            });
            self.certificates.push((name, secret.clone()));
        }
        self
    }

    /// With the credentials of a Docker config file, for the sources and where it `pushes` for the
    /// target.
    pub(crate) fn with_logins(mut self, config: String, pushes: bool) -> Self {
        let secret = || SecretRef { name: SECRET.into() };
        self.spec.image_pull_secrets = vec![secret()];
        self.spec.target.secret_ref = pushes.then(secret);
        self.with_secret(SECRET, config)
    }

    /// With a Docker config file in a Secret called `name`.
    pub(crate) fn with_secret(mut self, name: &str, config: String) -> Self {
        self.logins.insert(name.into(), config);
        self
    }

    /// A run, an interval after the last one.
    pub(crate) async fn run<R: Registry>(&mut self, registry: &R) -> Run {
        self.now += SignedDuration::from_mins(10);
        self.run_at(self.now, registry, Since::anew(Instant::now())).await
    }

    /// A run at `now`.
    pub(crate) async fn run_at<R: Registry>(
        &mut self,
        now: Timestamp,
        registry: &R,
        since: Since,
    ) -> Run {
        let generation = Some(1);
        let sources = Sources::parse(&self.spec).unwrap();
        let parse = |(name, json): (&String, &String)| {
            (name.clone(), DockerConfig::parse(name, json.as_bytes()))
        };
        let logins = self.logins.iter().map(parse).collect();
        let certificates = self.certificates.iter();
        let certificates = certificates.map(|(name, secret)| (name.as_str(), secret.clone()));
        let job = Job {
            registry,
            sources: &sources,
            keychain: &Keychain::with(logins).with_certificates(certificates),
            memory: &Memory::of(&self.status, generation, &sources),
            requested: false,
            put_off: false,
            looks: &Looks::default(),
            claims: &Claims::default(),
            writer: &Writer::default(),
            corrections: &Corrections::default(),
            now,
            since,
            stage: &Stage::default(),
        };
        let run = Box::pin(reconcile::run(&job)).await;
        let repository = Some(sources.target.repository().clone());
        let about = About {
            generation,
            requested_at: None,
            failures: 0,
            repository,
            nodes: View::Off,
            now,
        };
        self.status = status::next(&self.status, &about, &run);
        run
    }

    /// Reason and message of Ready.
    pub(crate) fn ready(&self) -> (String, String) {
        let ready = condition::get(&self.status.conditions, Type::Ready).unwrap();
        (ready.reason.clone(), ready.message.clone())
    }

    /// Runs and is served, by a push or without.
    pub(crate) async fn serves(&mut self, remote: &Remote, pushes: bool) {
        let run = self.run(remote).await;
        let Outcome::Served { published, .. } = &run.outcome else { panic!("{run:#?}") };
        assert_eq!(published.pushed(), pushes, "{run:#?}");
        assert_eq!(self.ready().0, "Succeeded");
    }

    /// Runs and finds everything as it was.
    pub(crate) async fn rests(&mut self, remote: &Remote) {
        let before = self.status.clone();
        let run = self.run(remote).await;
        assert!(matches!(run.outcome, Outcome::Unchanged), "{run:#?}");
        assert_eq!(self.status, before, "an idle object costs no write");
    }
}
