//! Which tags runs at hand are writing for the first time, or have written and not reported yet.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::oci::Reference;

/// For how long a run waits for others in all. Whoever may not push is never done, and must not hold up who may: of two
/// that write one tag all the same, the one counts whose push the registry took first.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tags of all runs at hand.
#[derive(Clone, Debug, Default)]
pub struct Busy(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    tags: Mutex<HashMap<Reference, Mark>>,
    freed: Notify,
}

/// An object that writes tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

#[derive(Debug)]
struct Mark {
    by: Who,
    /// The registry took something under it.
    written: bool,
}

impl Busy {
    /// Waits until nobody else is at one of `tags`, which `who` is at from now on; but not for ever.
    pub async fn enter(&self, who: &Who, tags: &[Reference]) {
        let alone = async {
            loop {
                let mut freed = pin!(self.0.freed.notified());
                freed.as_mut().enable();
                if self.is_free(who, tags) {
                    return;
                }
                freed.await;
            }
        };
        // What it is told by then is who has written one of them.
        let _ = tokio::time::timeout(PATIENCE, alone).await;
        let mut marks = self.tags();
        for tag in tags {
            let mark = || Mark { by: who.clone(), written: false };
            marks.entry(tag.clone()).or_insert_with(mark);
        }
    }

    /// Who else has written `tag`, and not reported it yet.
    #[must_use]
    pub fn has_written(&self, who: &Who, tag: &Reference) -> Option<Who> {
        let marks = self.tags();
        marks.get(tag).filter(|mark| mark.written && mark.by != *who).map(|mark| mark.by.clone())
    }

    /// A registry took what `who` has put under `tag`. Tells who else has written it before that.
    #[must_use]
    pub fn wrote(&self, who: &Who, tag: &Reference) -> Option<Who> {
        let before = self.has_written(who, tag);
        if before.is_none() {
            self.tags().insert(tag.clone(), Mark { by: who.clone(), written: true });
        }
        before
    }

    /// `who` has reported what it has written, or has written nothing.
    pub fn leave(&self, who: &Who) {
        self.tags().retain(|_, mark| mark.by != *who);
        self.0.freed.notify_waiters();
    }

    fn is_free(&self, who: &Who, tags: &[Reference]) -> bool {
        let marks = self.tags();
        tags.iter().all(|tag| marks.get(tag).is_none_or(|mark| mark.by == *who))
    }

    fn tags(&self) -> MutexGuard<'_, HashMap<Reference, Mark>> {
        self.0.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::Instant;

    use super::*;

    fn who(name: &str) -> Who {
        Who { namespace: "team".into(), name: name.into() }
    }

    fn tags(names: &[&str]) -> Vec<Reference> {
        names.iter().map(|name| format!("r.example/app:{name}").parse().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_for_each_tag() {
        let (busy, began) = (Busy::default(), Instant::now());
        busy.enter(&who("a"), &tags(&["1.0", "latest"])).await;
        busy.enter(&who("b"), &tags(&["2.0"])).await;
        let (c, of_c) = (who("c"), tags(&["3.0", "latest"]));
        let mut waits = Box::pin(busy.enter(&c, &of_c));
        assert!(waits.as_mut().now_or_never().is_none());
        busy.leave(&who("b"));
        assert!(waits.as_mut().now_or_never().is_none());
        // Who waits holds nobody up.
        busy.enter(&who("d"), &tags(&["3.0"])).await;
        busy.leave(&who("d"));
        busy.leave(&who("a"));
        waits.await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_never_done_is_not_waited_for_for_ever() {
        let (busy, latest) = (Busy::default(), tags(&["latest"]));
        busy.enter(&who("hangs"), &latest).await;
        let began = Instant::now();
        busy.enter(&who("a"), &latest).await;
        assert_eq!(began.elapsed(), PATIENCE);
        assert_eq!(busy.has_written(&who("a"), &latest[0]), None, "it has written nothing");
        assert_eq!(busy.wrote(&who("a"), &latest[0]), None);
        assert_eq!(busy.has_written(&who("hangs"), &latest[0]), Some(who("a")));
        assert_eq!(busy.wrote(&who("hangs"), &latest[0]), Some(who("a")), "too late");
        busy.leave(&who("hangs"));
        assert_eq!(busy.has_written(&who("b"), &latest[0]), Some(who("a")), "it has not reported");
        busy.leave(&who("a"));
        assert_eq!(busy.has_written(&who("b"), &latest[0]), None);
    }
}
