//! Says in the status of each object which node platforms it lacks, at once and without a run.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::ready, stream};
use kube::runtime::reflector::ObjectRef;
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageStatus};
use tokio::{
    sync::watch::Receiver,
    time::{Interval, MissedTickBehavior, interval, sleep},
};
use tracing::{debug, info, warn};

use super::super::{Context, Known, Watched, report::Written};
use crate::{error::causes, nodes::View, registry::Registry};

/// How many statuses are written at once, and how many in a second: ten thousand in three and a half minutes, which an API server does not feel.
const AT_ONCE: usize = 8;
const APART: Duration = Duration::from_millis(20);
/// When those are looked at again that could not be written, and how long it takes at most where that goes on.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_mins(1);

/// What became of an object.
enum Told {
    /// Its status says what is so.
    AsItIs,
    /// It was written.
    Now,
    /// A run of it is under way, which says it by itself, or something else has written its status just now.
    Later,
    /// The API server did not take it.
    Failed(kube::Error),
}

/// Tells all objects, each time that the nodes' platforms change, until the term is cut off; none begins after it was told to stop. It never ends
/// by itself.
pub(in super::super) async fn tell<R: Registry>(context: Arc<Context<R>>) {
    let mut views = context.objects.nodes.views();
    let each_time = async {
        loop {
            if *views.borrow_and_update() == View::Unseen {
                let _ = views.changed().await;
                continue;
            }
            let store = &context.objects.store;
            let mut objects: Vec<_> =
                store.state().iter().map(|object| ObjectRef::from_obj(&**object)).collect();
            let mut pause = AGAIN;
            loop {
                objects = context.tell_all(objects, views.clone()).await;
                if objects.is_empty() {
                    let _ = views.changed().await;
                    break;
                }
                tokio::select! {
                    _ = views.changed() => break,
                    () = sleep(pause) => pause = (pause * 2).min(AGAIN_AT_MOST),
                }
            }
        }
    };
    tokio::select! {
        () = each_time => {}
        () = context.term.stop().cancelled() => {}
        () = context.term.cut().cancelled() => {}
    }
    std::future::pending::<()>().await;
}

impl<R: Registry> Context<R> {
    /// Those of `objects` that are to be looked at again. Where `views` brings another one meanwhile, what has not begun is left: all are to be
    /// told of that.
    async fn tell_all(
        self: &Arc<Self>,
        objects: Vec<ObjectRef<Watched>>,
        views: Receiver<View>,
    ) -> Vec<ObjectRef<Watched>> {
        let looking = Arc::clone(self);
        let differs = move |of: ObjectRef<Watched>| {
            let context = Arc::clone(&looking);
            async move {
                // Thousands of looks are not to hold up who runs beside.
                tokio::task::yield_now().await;
                context.is_to_be_told(&of).then_some(of)
            }
        };
        let telling = Arc::clone(self);
        let tell = move |(of, ()): (ObjectRef<Watched>, ())| {
            let context = Arc::clone(&telling);
            async move { (context.tell(&of).await, of) }
        };
        let goes_on = move |_: &_| ready(!views.has_changed().unwrap_or_default());
        let told =
            stream::iter(objects).filter_map(differs).zip(turns()).take_while(goes_on).map(tell);
        let (mut written, mut failed, mut later) = (0_usize, None, Vec::new());
        let mut told = std::pin::pin!(told.buffer_unordered(AT_ONCE));
        while let Some((told, of)) = told.next().await {
            match told {
                Told::AsItIs => {}
                Told::Now => written += 1,
                Told::Later => later.push(of),
                Told::Failed(error) => {
                    later.push(of);
                    failed.get_or_insert(error);
                }
            }
        }
        if written > 0 {
            info!(objects = written, "said in their status which platforms of nodes they have");
        }
        if let Some(error) = failed {
            let error = causes(&error);
            warn!(error, "failed to say in a status which platforms of nodes it has; trying again");
        }
        later
    }

    /// Whether the status of `of` does not say what is so, or may be another one soon.
    fn is_to_be_told(&self, of: &ObjectRef<Watched>) -> bool {
        let Some(object) = self.objects.store.get(of) else { return false };
        let Ok(object) = &object.0 else { return false };
        object.metadata.deletion_timestamp.is_none()
            && (self.sessions.turn(object).try_lock().is_err() || self.news(object).is_some())
    }

    /// The status of `object`, and what it is to be.
    fn news(&self, object: &MultiArchImage) -> Option<(Known, MultiArchImageStatus)> {
        let known = self.sessions.known(object);
        let next = self.with_nodes(&known.status);
        (next != known.status).then_some((known, next))
    }

    async fn tell(&self, of: &ObjectRef<Watched>) -> Told {
        let Some(object) = self.objects.store.get(of) else { return Told::AsItIs };
        let Ok(object) = &object.0 else { return Told::AsItIs };
        let turn = self.sessions.turn(object);
        let Ok(_turn) = turn.try_lock() else { return Told::Later };
        let Some((known, next)) = self.news(object) else { return Told::AsItIs };
        if !self.term.holds() {
            return Told::Later;
        }
        match self.reporter.write(object, &known, &next).await {
            Ok(Written::At(version)) => {
                self.sessions.remember(object, version.as_deref(), next);
                Told::Now
            }
            Ok(Written::Gone) => Told::AsItIs,
            Ok(Written::Stale) => {
                debug!(object = %of, "its status is not what it was thought to be; looking again");
                Told::Later
            }
            Err(error) => Told::Failed(error),
        }
    }
}

/// One at once, and then one after the other.
fn turns() -> impl futures::Stream<Item = ()> {
    let mut every = interval(APART);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let tick = |mut every: Interval| async move {
        every.tick().await;
        Some(((), every))
    };
    stream::unfold(every, tick)
}
