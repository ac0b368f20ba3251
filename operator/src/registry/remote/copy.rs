//! A blob from one repository to another, by what moves the least.

use std::time::Instant;

use super::{
    Remote,
    mounts::Key,
    session::{Mount, Session},
    source::InRepository,
    upload::Upload,
};
use crate::{
    oci::Descriptor,
    registry::{Access, Copied, Place, Progress, RegistryError, Scope},
};

impl Remote {
    pub(super) async fn copy(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        blob: &Descriptor,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        // Where a mount is refused, a token of each repository alone is what may be allowed.
        let narrow =
            |place: Place<'_>, scope| Access { scopes: vec![scope], ..place.access.clone() };
        let reads = narrow(from, Scope::pull(from.repository));
        let writes = narrow(to, Scope::push(to.repository));
        let Some(key) = Key::of(from, to) else {
            return self.send_if_absent(from, to, blob, progress, None).await;
        };
        let both = to.access.clone().with_scope(Scope::pull(from.repository));
        let mounting = Place { access: &both, ..to };
        let mut session = None;
        if !self.mounts.refused(&key, Instant::now()) {
            match self.mount(mounting, from.repository, blob).await? {
                Mount::Done => return Ok(Some(Copied::Mounted)),
                Mount::Refused(instead) => session = instead,
            }
            self.mounts.refuse(key, Instant::now());
        }
        let (from, to) = (Place { access: &reads, ..from }, Place { access: &writes, ..to });
        self.send_if_absent(from, to, blob, progress, session.map(|it| it.handed_to(to))).await
    }

    /// Looks, and sends what is not there.
    async fn send_if_absent<'a>(
        &'a self,
        from: Place<'a>,
        to: Place<'a>,
        blob: &'a Descriptor,
        progress: &'a Progress,
        session: Option<Session<'a>>,
    ) -> Result<Option<Copied>, RegistryError> {
        let looked = self.persist(|| self.look(to.access, to.repository, blob)).await;
        if let Ok(false) = looked {
            let source = InRepository { remote: self, place: from, blob };
            let upload = Upload { remote: self, to, blob, source: &source, progress };
            return upload.run(session).await;
        }
        if let Some(session) = session {
            session.cancel().await;
        }
        looked.map(|_| Some(Copied::Present))
    }
}
