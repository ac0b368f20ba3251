//! What is done for all images before each is published: those that are there are found, and archives are read in their order.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroUsize,
    sync::Arc,
};

use futures::{StreamExt, stream};
use multiarch_operator::{
    error::of_publish,
    keychain::Keychain,
    oci::{Descriptor, Digest, RawManifest, Reference, Repository},
    reconcile::{Stage, access::AccessMap, adopt, publish::PublishError, sources::Sources},
    registry::{Access, Copied, Place, Registry, RegistryError, archive::Archives, dry_run::Blob},
};

use crate::run::{Asked, First, Runner, Task};

/// Finds images that are there, makes the manifests of all others, and sends what packed archives have in one reading of each.
pub(super) struct Ahead {
    /// How many targets are looked at at once.
    pub(super) at_once: NonZeroUsize,
}

/// A blob of a packed archive that a target lacks.
struct Wanted {
    /// Where it is in the archive.
    at: u64,
    digest: Digest,
    size: u64,
    /// The image that it is of.
    from: Repository,
    to: Repository,
    writes: Access,
}

impl<R: Registry> First<Archives<R>> for Ahead {
    async fn prepare(&self, runner: &Runner<'_, Archives<R>>, tasks: &mut [Task]) {
        tokio::select! {
            () = self.all(runner, tasks) => {}
            () = runner.stop.cancelled() => {}
        }
    }
}

impl Ahead {
    async fn all<R: Registry>(&self, runner: &Runner<'_, Archives<R>>, tasks: &mut [Task]) {
        let looks = tasks.iter_mut().map(|task| adopt(runner, task));
        stream::iter(looks).for_each_concurrent(self.at_once.get(), |look| look).await;
        make(runner, tasks).await;
        // Nothing is sent where nothing is written.
        if runner.writes() {
            self.send(runner, tasks).await;
        }
    }

    /// Sends the blobs of packed archives that are lacking, one archive after another, each in its order.
    async fn send<R: Registry>(&self, runner: &Runner<'_, Archives<R>>, tasks: &[Task]) {
        let packed = |source: &Reference| {
            source.repository().archive().is_some_and(|it| runner.registry.is_compressed(it))
        };
        let all = tasks.iter().filter_map(Task::sources);
        let all = all.filter(|it| it.sources.iter().any(|source| packed(&source.reference)));
        let looks = all.map(|sources| lacking(runner, sources));
        let looks: Vec<_> = looks.collect();
        let lacking: Vec<Vec<(String, Wanted)>> =
            stream::iter(looks).buffered(self.at_once.get()).collect().await;
        let mut by_archive: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
        for (archive, wanted) in lacking.into_iter().flatten() {
            by_archive.entry(archive).or_default().push(wanted);
        }
        for (archive, mut wanted) in by_archive {
            wanted.sort_by(|a, b| (a.at, &a.to).cmp(&(b.at, &b.to)));
            wanted.dedup_by(|a, b| (&a.digest, &a.to) == (&b.digest, &b.to));
            let stage = Arc::new(Stage::default());
            let _shown = runner.progress.begin(&archive, &stage);
            stage.copying(wanted.len(), wanted.iter().map(|it| it.size).sum(), 0);
            for blob in &wanted {
                // The run of its image tells what fails.
                let Ok(Some(how)) = blob.copy(&runner.registry, &stage).await else { continue };
                stage.copied(how, blob.size);
            }
            runner.registry.rest(&archive);
        }
    }
}

impl Wanted {
    async fn copy<R: Registry>(
        &self,
        archives: &Archives<R>,
        stage: &Stage,
    ) -> Result<Option<Copied>, RegistryError> {
        let nobody = Access::default();
        let from = Place { access: &nobody, repository: &self.from };
        let to = Place { access: &self.writes, repository: &self.to };
        let blob = Descriptor {
            media_type: "application/octet-stream".into(),
            digest: self.digest.clone(),
            size: self.size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        };
        let _sending = stage.sending(&self.digest);
        archives.copy_ahead(from, to, &blob, &stage.progress()).await
    }
}

/// Takes images that the target of `task` has for those of its archives with the same configs.
async fn adopt<R: Registry>(runner: &Runner<'_, Archives<R>>, task: &mut Task) {
    let Some(sources) = task.sources() else { return };
    let archives = &runner.registry;
    let saved = sources.sources.iter().map(|source| &source.reference);
    let saved: Vec<(Reference, Digest)> =
        saved.filter_map(|name| Some((name.clone(), archives.config_of(name)?))).collect();
    if saved.is_empty() {
        return;
    }
    let configs: BTreeSet<Digest> = saved.iter().map(|(_, config)| config.clone()).collect();
    let (sources, keychain) = runner.registries.prepare(sources.clone()).await;
    match find(&**archives, &sources, &keychain, &configs).await {
        Ok(found) => {
            for (name, config) in saved {
                if let Some(manifest) = found.get(&config) {
                    archives.adopt(name, manifest.clone());
                }
            }
        }
        Err(error) => {
            let (target, reason) = (sources.target.to_string(), of_publish(&error).reason);
            task.asked = Asked::Refused { target, reason, message: error.to_string() };
        }
    }
}

async fn find<R: Registry>(
    registry: &R,
    sources: &Sources,
    keychain: &Keychain,
    configs: &BTreeSet<Digest>,
) -> Result<HashMap<Digest, RawManifest>, PublishError> {
    let access = AccessMap::new(sources, keychain);
    let access = access.target().map_err(|source| PublishError::Credential { source })?;
    adopt::find(registry, access, &sources.target, configs).await
}

/// Makes the manifests that images lack.
async fn make<R: Registry>(runner: &Runner<'_, Archives<R>>, tasks: &[Task]) {
    let all = tasks.iter().filter_map(Task::sources).flat_map(|sources| &sources.sources);
    let mut by_archive: BTreeMap<&str, Vec<Reference>> = BTreeMap::new();
    for source in all {
        if let Some(archive) = source.reference.repository().archive()
            && runner.registry.is_to_be_made(&source.reference)
        {
            by_archive.entry(archive).or_default().push(source.reference.clone());
        }
    }
    for (archive, names) in by_archive {
        let stage = Arc::new(Stage::default());
        stage.at("while packing layers to learn their digests");
        let _shown = runner.progress.begin(&archive, &stage);
        runner.registry.make(&names).await;
    }
}

/// The blobs of packed archives that the target of `sources` lacks, each with its archive.
async fn lacking<R: Registry>(
    runner: &Runner<'_, Archives<R>>,
    sources: &Sources,
) -> Vec<(String, Wanted)> {
    let (sources, keychain) = runner.registries.prepare(sources.clone()).await;
    let Ok(writes) = AccessMap::new(&sources, &keychain).target().cloned() else {
        return Vec::new();
    };
    let blobs = runner.lacking(&sources, &keychain).await.unwrap_or_default();
    let of = |blob: Blob| {
        sources.sources.iter().find_map(|source| {
            let from = source.reference.repository();
            let archive = from.archive()?;
            let at = runner.registry.place(archive, &blob.digest)?;
            let (from, to) = (from.clone(), sources.target.repository().clone());
            let (digest, size, writes) = (blob.digest.clone(), blob.size, writes.clone());
            Some((archive.to_owned(), Wanted { at, digest, size, from, to, writes }))
        })
    };
    blobs.into_iter().filter_map(of).collect()
}
