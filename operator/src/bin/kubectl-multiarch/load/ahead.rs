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
    oci::{Digest, RawManifest, Reference},
    reconcile::{
        Stage,
        access::AccessMap,
        adopt,
        publish::PublishError,
        sources::{Source, Sources},
    },
    registry::{
        Registry,
        archive::{Archives, Lacking},
        dry_run::Blob,
    },
};

use crate::run::{Asked, First, Runner, Task};

/// Finds images that are there, makes the manifests of all others, and sends what packed archives have in one reading of each.
pub(super) struct Ahead {
    /// How many targets are looked at at once.
    pub(super) at_once: NonZeroUsize,
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
        let archives = &runner.registry;
        let is_packed = |source: &Source| {
            source.reference.repository().archive().is_some_and(|it| archives.is_compressed(it))
        };
        let all = tasks.iter().filter_map(Task::sources);
        let all = all.filter(|sources| sources.sources.iter().any(is_packed));
        let looks: Vec<_> = all.map(|sources| lacking(runner, sources)).collect();
        let lacking: Vec<Vec<Lacking>> =
            stream::iter(looks).buffered(self.at_once.get()).collect().await;
        for (archive, blobs) in archives.in_order(lacking.into_iter().flatten().collect()) {
            let stage = Arc::new(Stage::default());
            let _shown = runner.progress.begin(&archive, &stage);
            stage.copying(blobs.len(), blobs.iter().map(|it| it.size).sum(), 0);
            for blob in &blobs {
                let _sending = stage.sending(&blob.digest);
                let copied = archives.copy_ahead(blob, &stage.progress()).await;
                // What fails is told by the run of its image.
                let Ok(Some(how)) = copied else { continue };
                stage.copied(how, blob.size);
            }
            archives.rest(&archive);
        }
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

/// The blobs of archives that the target of `sources` lacks.
async fn lacking<R: Registry>(runner: &Runner<'_, Archives<R>>, sources: &Sources) -> Vec<Lacking> {
    let (sources, keychain) = runner.registries.prepare(sources.clone()).await;
    let Ok(writes) = AccessMap::new(&sources, &keychain).target().cloned() else {
        return Vec::new();
    };
    let blobs = runner.lacking(&sources, &keychain).await.unwrap_or_default();
    let to = sources.target.repository();
    // Whichever of them has it.
    let all = blobs.iter().flat_map(|blob| sources.sources.iter().map(move |it| (blob, it)));
    let of = |(blob, source): (&Blob, &Source)| Lacking {
        from: source.reference.repository().clone(),
        to: to.clone(),
        writes: writes.clone(),
        digest: blob.digest.clone(),
        size: blob.size,
    };
    all.map(of).collect()
}
