//! Which tags other objects keep, and who is woken when one of them lets go.

use futures::{Stream, StreamExt, channel::mpsc, stream};
use kube::runtime::reflector::{ObjectRef, Store};
use multiarch_crds::{
    condition::Reason,
    v1alpha1::{MultiArchImage, MultiArchImageStatus},
};

use super::{Context, Watched};
use crate::{
    oci::{Reference, Repository},
    reconcile::{
        claims::{Claimant, Claims},
        status::ready_reason,
    },
    registry::Registry,
};

impl<R: Registry> Context<R> {
    /// The tags of `repository` that objects other than `object`, whose status is `status`, keep.
    pub(super) fn claims(
        &self,
        object: &MultiArchImage,
        status: &MultiArchImageStatus,
        repository: &Repository,
    ) -> Claims {
        let others = of_repository(&self.objects, repository);
        let others: Vec<_> = others
            .iter()
            .filter_map(|other| other.0.as_ref().ok())
            .map(|other| (other, self.sessions.status(other)))
            .collect();
        let others = others.iter().map(|(object, status)| Claimant { object, status });
        Claims::against(Claimant { object, status }, repository, others)
    }
}

/// Told of repositories in which an object has let go of tags.
#[derive(Clone, Debug)]
pub(super) struct Freed(mpsc::UnboundedSender<Repository>);

impl Freed {
    /// `object` is deleted.
    pub(super) fn of(&self, object: &Watched) {
        if let Ok(object) = &object.0 {
            self.of_target(&object.spec.target.image);
        }
    }

    /// The object that publishes to `target` keeps fewer tags.
    pub(super) fn of_target(&self, target: &str) {
        if let Ok(target) = target.parse::<Reference>() {
            // Nobody listens any more where the process ends.
            let _ = self.0.unbounded_send(target.repository().clone());
        }
    }
}

/// Where letting go is told, and the objects that it wakes: those that waited for it.
pub(super) fn channel(
    objects: Store<Watched>,
) -> (Freed, impl Stream<Item = ObjectRef<Watched>> + Send + 'static) {
    let (sender, freed) = mpsc::unbounded();
    let waiting = freed.flat_map(move |repository| {
        let others = of_repository(&objects, &repository);
        let waits = |object: &Watched| {
            let status = object.0.as_ref().ok()?.status.as_ref()?;
            (ready_reason(status) == Some(Reason::TargetConflict)).then_some(())
        };
        let waiting: Vec<_> = others
            .iter()
            .filter(|object| waits(object).is_some())
            .map(|object| ObjectRef::from_obj(&**object))
            .collect();
        stream::iter(waiting)
    });
    (Freed(sender), waiting)
}

/// The objects that publish to `repository`.
fn of_repository(
    objects: &Store<Watched>,
    repository: &Repository,
) -> Vec<std::sync::Arc<Watched>> {
    // Most are of another one, which is seen without parsing them.
    let last = repository.path().rsplit('/').next().unwrap_or_default();
    let is_there = |object: &Watched| {
        let Ok(object) = &object.0 else { return false };
        let target = &object.spec.target.image;
        target.contains(last)
            && target.parse::<Reference>().is_ok_and(|target| target.repository() == repository)
    };
    objects.state().into_iter().filter(|object| is_there(object)).collect()
}
