//! A registry over another one that writes nothing: it remembers what would be written, and shows it to who reads it back.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{Access, BlobSource, Copied, Identity, Place, Progress, Put, Registry, RegistryError};
use crate::oci::{Descriptor, Digest, RawManifest, Reference, Repository, TagOrDigest};

/// A registry that reads from another one, and writes nothing.
#[derive(Debug)]
pub struct DryRun<R> {
    inner: Arc<R>,
    written: Mutex<Written>,
}

/// What would be there.
#[derive(Debug, Default)]
struct Written {
    manifests: HashMap<(Repository, TagOrDigest), RawManifest>,
    referrers: HashMap<(Repository, Digest), Vec<Descriptor>>,
    blobs: BTreeMap<(String, Digest), Blob>,
    pushes: Vec<Push>,
    deleted: BTreeSet<(String, String)>,
}

/// A blob of which the target would have been asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// What would have to be done. A mount is the registry's to refuse; the bytes are sent then.
    pub how: Copied,
}

/// A manifest that would be pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Under which tag, or as which digest.
    pub reference: Reference,
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// In bytes.
    pub size: u64,
}

impl<R: Registry> DryRun<R> {
    /// Over `inner`, of which nothing but reads is asked.
    #[must_use]
    pub fn over(inner: Arc<R>) -> Self {
        Self { inner, written: Mutex::default() }
    }

    /// The manifests that would be pushed, in that order. Those that are there are not among them.
    #[must_use]
    pub fn pushes(&self) -> Vec<Push> {
        self.written().pushes.clone()
    }

    /// The blobs that the target's repository would be asked about.
    #[must_use]
    pub fn blobs(&self) -> Vec<Blob> {
        self.written().blobs.values().cloned().collect()
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was written under `reference` of `repository`.
    fn overlaid(&self, repository: &Repository, reference: &TagOrDigest) -> Option<RawManifest> {
        self.written().manifests.get(&(repository.clone(), reference.clone())).cloned()
    }

    fn is_deleted(&self, repository: &Repository, reference: &TagOrDigest) -> bool {
        let TagOrDigest::Tag(tag) = reference else { return false };
        self.written().deleted.contains(&(repository.to_string(), tag.clone()))
    }

    /// `manifest` is there now, as who reads it back is to see.
    fn write(&self, repository: &Repository, reference: &TagOrDigest, manifest: &RawManifest) {
        let mut written = self.written();
        let by_digest = TagOrDigest::Digest(manifest.digest().clone());
        for reference in [reference.clone(), by_digest] {
            if let TagOrDigest::Tag(tag) = &reference {
                written.deleted.remove(&(repository.to_string(), tag.clone()));
            }
            written.manifests.insert((repository.clone(), reference), manifest.clone());
        }
    }

    fn pushes_now(&self, reference: Reference, manifest: &RawManifest) {
        let Descriptor { digest, media_type, size, .. } = manifest.descriptor();
        self.written().pushes.push(Push { reference, digest, media_type, size });
    }

    /// A blob would come to `to` so.
    fn moves(&self, to: Place<'_>, blob: &Descriptor, how: Copied) -> Copied {
        let key = (to.repository.to_string(), blob.digest.clone());
        let told = Blob { digest: blob.digest.clone(), size: blob.size, how };
        // What would be there since is there the second time.
        let mut written = self.written();
        if written.blobs.contains_key(&key) {
            return Copied::Present;
        }
        written.blobs.insert(key, told);
        how
    }
}

impl<R: Registry> Registry for DryRun<R> {
    async fn head_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Descriptor>, RegistryError> {
        if let Some(manifest) = self.overlaid(repository, reference) {
            return Ok(Some(manifest.descriptor()));
        }
        if self.is_deleted(repository, reference) {
            return Ok(None);
        }
        self.inner.head_manifest(access, repository, reference).await
    }

    async fn get_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        if let Some(manifest) = self.overlaid(repository, reference) {
            return Ok(Some(manifest));
        }
        if self.is_deleted(repository, reference) {
            return Ok(None);
        }
        self.inner.get_manifest(access, repository, reference).await
    }

    async fn get_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        self.inner.get_blob(access, repository, blob).await
    }

    /// Remembers it, unless the registry has just it there.
    async fn put_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<Put, RegistryError> {
        let there = self.head_manifest(access, repository, reference).await?;
        if there.is_none_or(|there| there.digest != *manifest.digest()) {
            let of = match reference {
                TagOrDigest::Tag(tag) => repository.tag(tag),
                TagOrDigest::Digest(digest) => repository.digest(digest),
            };
            self.pushes_now(of, manifest);
        }
        self.write(repository, reference, manifest);
        Ok(Put::Taken)
    }

    async fn blob_exists(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<bool, RegistryError> {
        let key = (repository.to_string(), blob.digest.clone());
        if self.written().blobs.contains_key(&key) {
            return Ok(true);
        }
        self.inner.blob_exists(access, repository, blob).await
    }

    /// Looks at both ends, and tells what would be done.
    async fn copy_blob(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        blob: &Descriptor,
        _progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        if self.blob_exists(to.access, to.repository, blob).await? {
            return Ok(Some(self.moves(to, blob, Copied::Present)));
        }
        if !self.inner.blob_exists(from.access, from.repository, blob).await? {
            return Ok(None);
        }
        let how = if is_mounted(from, to) { Copied::Mounted } else { Copied::Uploaded };
        Ok(Some(self.moves(to, blob, how)))
    }

    async fn push_blob(
        &self,
        to: Place<'_>,
        blob: &Descriptor,
        source: &dyn BlobSource,
        _progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        if self.blob_exists(to.access, to.repository, blob).await? {
            return Ok(Some(self.moves(to, blob, Copied::Present)));
        }
        let is_there = source.open().await?.is_some();
        Ok(is_there.then(|| self.moves(to, blob, Copied::Uploaded)))
    }

    async fn delete_tag(
        &self,
        access: &Access,
        repository: &Repository,
        tag: &str,
    ) -> Result<bool, RegistryError> {
        let reference = TagOrDigest::Tag(tag.into());
        let there = self.head_manifest(access, repository, &reference).await?;
        let mut written = self.written();
        written.manifests.remove(&(repository.clone(), reference));
        written.deleted.insert((repository.to_string(), tag.into()));
        Ok(there.is_some())
    }

    async fn list_referrers(
        &self,
        access: &Access,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let mut list = self.inner.list_referrers(access, repository, subject).await?;
        let key = (repository.clone(), subject.clone());
        for more in self.written().referrers.get(&key).into_iter().flatten() {
            if !list.iter().any(|known| known.digest == more.digest) {
                list.push(more.clone());
            }
        }
        Ok(list)
    }

    async fn put_referrer(
        &self,
        access: &Access,
        repository: &Repository,
        manifest: &RawManifest,
        subject: &Digest,
    ) -> Result<(), RegistryError> {
        let by_digest = TagOrDigest::Digest(manifest.digest().clone());
        self.put_manifest(access, repository, &by_digest, manifest).await?;
        let key = (repository.clone(), subject.clone());
        self.written().referrers.entry(key).or_default().push(manifest.descriptor());
        Ok(())
    }
}

/// Whether a mount would be asked for: of one registry, by one identity.
fn is_mounted(from: Place<'_>, to: Place<'_>) -> bool {
    let who = |place: Place<'_>| place.access.credential.as_ref().map(Identity::of);
    let (source, target) = (from.repository, to.repository);
    source != target && source.is_beside(target) && who(from) == who(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        oci::Manifest,
        registry::memory::{Image, Store},
    };

    struct Scene {
        store: Store,
        dry: DryRun<Store>,
        from: Repository,
        to: Repository,
        access: Access,
    }

    fn repository(text: &str) -> Repository {
        format!("{text}:x").parse::<Reference>().unwrap().repository().clone()
    }

    fn scene(from: &str, to: &str) -> Scene {
        let store = Store::new();
        store.push("from", Some("1"), &Image::of("linux/amd64"));
        Scene {
            dry: DryRun::over(Arc::new(store.clone())),
            store,
            from: repository(from),
            to: repository(to),
            access: Access::default(),
        }
    }

    fn tag(tag: &str) -> TagOrDigest {
        TagOrDigest::Tag(tag.into())
    }

    impl Scene {
        async fn manifest(&self) -> RawManifest {
            let got = self.store.get_manifest(&self.access, &self.from, &tag("1")).await;
            got.unwrap().unwrap()
        }

        async fn copy(&self, blob: &Descriptor) -> Option<Copied> {
            let place = |repository| Place { access: &self.access, repository };
            let progress: Progress = Arc::new(|_| panic!("nothing is sent"));
            let copied =
                self.dry.copy_blob(place(&self.from), place(&self.to), blob, &progress).await;
            copied.unwrap()
        }

        /// What the registry was asked that is no read.
        fn writes(&self) -> Vec<String> {
            let log = self.store.requests().into_iter().map(|request| request.to_string());
            log.filter(|it| !it.starts_with("HEAD ") && !it.starts_with("GET ")).collect()
        }
    }

    #[tokio::test]
    async fn what_would_be_written_is_read_back_and_nothing_is() {
        let scene = scene("r.example/from", "r.example/to");
        let manifest = scene.manifest().await;
        let Scene { dry, to, access, .. } = &scene;
        let by_digest = TagOrDigest::Digest(manifest.digest().clone());
        for reference in [&by_digest, &tag("2")] {
            assert!(dry.head_manifest(access, to, reference).await.unwrap().is_none());
            let put = dry.put_manifest(access, to, reference, &manifest).await.unwrap();
            assert_eq!(put, Put::Taken);
            let read = dry.get_manifest(access, to, reference).await.unwrap().unwrap();
            assert_eq!(read, manifest);
        }
        let pushed = dry.pushes().into_iter().map(|push| push.reference.to_string());
        let expected = [to.digest(manifest.digest()), to.tag("2")].map(|it| it.to_string());
        assert_eq!(pushed.collect::<Vec<_>>(), expected);
        assert!(dry.delete_tag(access, to, "2").await.unwrap());
        assert!(dry.head_manifest(access, to, &tag("2")).await.unwrap().is_none());
        assert!(!dry.delete_tag(access, to, "2").await.unwrap());
        assert_eq!(scene.writes(), [""; 0]);
    }

    /// What the registry has already would not be pushed.
    #[tokio::test]
    async fn what_is_there_is_no_push() {
        let scene = scene("r.example/from", "r.example/from");
        let manifest = scene.manifest().await;
        let Scene { dry, to, access, .. } = &scene;
        dry.put_manifest(access, to, &tag("1"), &manifest).await.unwrap();
        assert_eq!(dry.pushes(), []);
        // A tag that names something else is.
        dry.put_manifest(access, to, &tag("other"), &manifest).await.unwrap();
        assert_eq!(dry.pushes().len(), 1);
    }

    #[tokio::test]
    async fn each_blob_is_told_by_what_would_move() {
        for (to, how) in [
            ("r.example/to", Copied::Mounted),
            ("s.example/to", Copied::Uploaded),
            ("s.example/from", Copied::Present),
        ] {
            let scene = scene("r.example/from", to);
            let manifest = scene.manifest().await.parse().unwrap();
            let Manifest::Image(manifest) = manifest else { panic!("it is an image") };
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                assert_eq!(scene.copy(blob).await, Some(how), "{to}");
                assert_eq!(scene.copy(blob).await, Some(Copied::Present), "the second time");
            }
            let told = scene.dry.blobs();
            assert!(told.len() == 2 && told.iter().all(|blob| blob.how == how), "{told:?}");
            assert_eq!(scene.writes(), [""; 0]);
            let gone = RawManifest::new("application/octet-stream", Bytes::from_static(b"gone"));
            assert_eq!(scene.copy(&gone.descriptor()).await, None);
        }
    }

    #[tokio::test]
    async fn referrers_would_be_listed() {
        let scene = scene("r.example/from", "r.example/to");
        let manifest = scene.manifest().await;
        let subject = Digest::of(b"subject");
        let Scene { dry, to, access, .. } = &scene;
        dry.put_referrer(access, to, &manifest, &subject).await.unwrap();
        let listed = dry.list_referrers(access, to, &subject).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(dry.pushes().len(), 1);
        assert_eq!(scene.writes(), [""; 0]);
    }
}
