//! A blob to a repository, by what moves the least.

use std::time::Instant;

use super::{
    Remote,
    mounts::{self, Key},
    session::{Mount, Session},
    source::InRepository,
    upload::Upload,
};
use crate::{
    oci::Descriptor,
    registry::{BlobSource, Copied, Place, Progress, RegistryError},
};

impl Remote {
    pub(super) async fn copy(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        blob: &Descriptor,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        let both = mounts::both(from, to);
        let mounting = Place { access: &both, ..to };
        let mut session = None;
        if let Some(key) = Key::of(from, to)
            && !self.mounts.has(&key, Instant::now())
        {
            match self.mount(mounting, from.repository, blob).await? {
                Mount::Done => return Ok(Some(Copied::Mounted)),
                Mount::Refused(instead) => session = instead.map(|it| it.handed_to(to)),
            }
            self.mounts.add(key, Instant::now());
        }
        let source = InRepository { remote: self, place: from, blob };
        self.send_if_absent(to, blob, &source, progress, session).await
    }

    /// Looks, and sends what is not there.
    pub(super) async fn send_if_absent<'a>(
        &'a self,
        to: Place<'a>,
        blob: &'a Descriptor,
        source: &'a dyn BlobSource,
        progress: &'a Progress,
        session: Option<Session<'a>>,
    ) -> Result<Option<Copied>, RegistryError> {
        let looked = self.persist(|| self.look(to.access, to.repository, blob)).await;
        if let Ok(false) = looked {
            let upload = Upload { remote: self, to, blob, source, progress };
            return upload.run(session).await;
        }
        if let Some(session) = session {
            session.cancel().await;
        }
        looked.map(|_| Some(Copied::Present))
    }
}
