//! writes: in its object's status, that a run is about to write tags which are not the object's own yet; and one run at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use multiarch_crds::v1alpha1::PendingTag;
use tokio::sync::{
    OnceCell,
    mpsc::{self, UnboundedReceiver, UnboundedSender},
    oneshot,
};

use super::{
    busy::{Busy, Who},
    claims::{Claims, Owner},
};
use crate::oci::{Digest, Reference};

/// What a run asks of who keeps its object's status.
#[derive(Debug)]
pub struct Ask {
    /// What is to be said there: tags that are not the object's own yet, and what each is to name.
    pub tags: Vec<PendingTag>,
    /// Told when it says so, with what other objects keep by now. A run that is not told writes nothing,
    /// and is cut off.
    pub said: oneshot::Sender<Claims>,
}

/// A run, as one that writes tags, until what it has written was reported.
#[derive(Debug, Default)]
pub struct Writer {
    busy: Busy,
    who: Who,
    asks: Option<UnboundedSender<Ask>>,
    tags: Mutex<Vec<(Reference, Digest)>>,
    begun: OnceCell<Claims>,
}

impl Writer {
    /// For a run of `who`, beside those in `busy`. Who has the receiver keeps the status.
    #[must_use]
    pub fn new(busy: Busy, who: Who) -> (Self, UnboundedReceiver<Ask>) {
        let (asks, asked) = mpsc::unbounded_channel();
        let (tags, begun) = (Mutex::default(), OnceCell::default());
        (Self { busy, who, asks: Some(asks), tags, begun }, asked)
    }

    /// It is to write `tags`, or some of them, which are not the object's own yet, and what each is to name.
    pub fn intend(&self, tags: impl Iterator<Item = (Reference, Digest)>) {
        *self.tags() = tags.collect();
    }

    /// Waits until no other run is at what is intended, and the status says what it is, so that the next run knows its own tags
    /// should this one be killed. Once a run. Tells what other objects keep by then.
    pub async fn begin(&self) -> &Claims {
        let begin = async || {
            let Some(asks) = &self.asks else { return Claims::default() };
            let intended = self.tags().clone();
            let tags: Vec<_> = intended.iter().map(|(tag, _)| tag.clone()).collect();
            self.busy.enter(&self.who, &tags).await;
            let (said, heard) = oneshot::channel();
            let tags = intended.iter().map(pending).collect();
            if asks.send(Ask { tags, said }).is_ok()
                && let Ok(claims) = heard.await
            {
                return claims;
            }
            std::future::pending().await
        };
        self.begun.get_or_init(begin).await
    }

    /// Who else has just written `tag`.
    #[must_use]
    pub fn other(&self, tag: &Reference) -> Option<Owner> {
        self.busy.has_written(&self.who, tag).map(|other| self.owner(&other))
    }

    /// The registry took what was put under `tag`. Tells who else had just written it.
    #[must_use]
    pub fn wrote(&self, tag: &Reference) -> Option<Owner> {
        self.busy.wrote(&self.who, tag).map(|other| self.owner(&other))
    }

    /// What the status says that this run is to put under the tag called `name`.
    #[must_use]
    pub fn said(&self, name: &str) -> Option<String> {
        self.begun.get()?;
        self.tags().iter().map(pending).find(|tag| tag.name == name)?.intended
    }

    fn owner(&self, other: &Who) -> Owner {
        Owner::of((other.namespace.as_str(), other.name.as_str()), &self.who.namespace)
    }

    fn tags(&self) -> MutexGuard<'_, Vec<(Reference, Digest)>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.busy.leave(&self.who);
    }
}

fn pending((tag, digest): &(Reference, Digest)) -> PendingTag {
    let name = tag.tag().unwrap_or_default().to_owned();
    let content = tag.repository().digest(digest);
    PendingTag { name, digest: None, intended: Some(content.to_string()) }
}
