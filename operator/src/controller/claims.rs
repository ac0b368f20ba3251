//! Which tags other objects keep, those of other shards included, and who waits for one of them.

use std::{borrow::Cow, collections::HashSet, sync::Arc};

use kube::{
    Api, ResourceExt,
    api::ListParams,
    runtime::reflector::{ObjectRef, Store},
};
use multiarch_crds::{
    condition::{Reason, Type, get},
    v1alpha1::{MultiArchImage, MultiArchImageStatus},
};

use super::{Context, ControllerError, Watched, display};
use crate::{
    oci::{Reference, Repository},
    reconcile::{
        claims::{Claimant, Claims},
        status::ready_reason,
    },
    registry::Registry,
};

impl<R: Registry> Context<R> {
    /// The tags of `repository` that objects other than `object`, whose status is `status`, keep. `asks`: also of objects
    /// that this operator does not watch, because they are another shard's.
    pub(super) async fn claims(
        &self,
        object: &MultiArchImage,
        status: &MultiArchImageStatus,
        repository: &Repository,
        asks: bool,
    ) -> Result<Claims, ControllerError> {
        let ours = of_repository(&self.objects.store, repository);
        let ours = ours.iter().filter_map(|other| other.0.as_ref().ok());
        let ours: Vec<_> = ours.map(|other| (other, self.sessions.status(other))).collect();
        let theirs =
            if asks { self.of_other_shards(object, repository).await? } else { Vec::new() };
        let theirs: Vec<_> = theirs.iter().filter_map(|other| other.0.as_ref().ok()).collect();
        // Of those that are watched, their status is known better.
        let watched: HashSet<_> = if theirs.is_empty() {
            HashSet::new()
        } else {
            ours.iter().map(|(object, _)| object.uid()).collect()
        };
        let theirs = theirs.into_iter().filter(|other| !watched.contains(&other.uid()));
        let theirs =
            theirs.map(|other| (other, Cow::Owned(other.status.clone().unwrap_or_default())));
        let others: Vec<_> = ours.into_iter().chain(theirs).collect();
        let others = others.iter().map(|(object, status)| Claimant { object, status });
        Ok(Claims::against(Claimant { object, status }, repository, others))
    }

    /// Whether a run of `object` may write a tag that it has not written, or that something else has moved. Only
    /// then it matters what other shards have. `requested`: a person asks for the run.
    pub(super) fn asks_other_shards(
        &self,
        object: &MultiArchImage,
        status: &MultiArchImageStatus,
        requested: bool,
    ) -> bool {
        let ready = get(&status.conditions, Type::Ready);
        let is_settled = ready.is_some_and(|ready| ready.status == "True")
            && status.observed_generation == object.metadata.generation
            && !requested;
        self.selector.is_some() && !is_settled
    }

    /// The objects that have published to `repository`, in the namespaces that are watched.
    async fn of_other_shards(
        &self,
        object: &MultiArchImage,
        repository: &Repository,
    ) -> Result<Vec<Watched>, ControllerError> {
        let params = ListParams::default().fields(&format!("status.repository={repository}"));
        let mut found = Vec::new();
        for api in self.apis() {
            let listed = api.list(&params).await;
            let listed = listed.map_err(|source| ControllerError::Claims {
                object: display(&object.metadata),
                source,
            })?;
            found.extend(listed.items);
        }
        Ok(found)
    }

    fn apis(&self) -> Vec<Api<Watched>> {
        if self.namespaces.is_empty() {
            return vec![Api::all(self.client.clone())];
        }
        let each = self.namespaces.iter();
        each.map(|namespace| Api::namespaced(self.client.clone(), namespace)).collect()
    }
}

/// The objects that wait until another one lets go of a tag in `repository`.
pub(super) fn waiting(
    objects: &Store<Watched>,
    repository: &Repository,
) -> Vec<ObjectRef<Watched>> {
    let waits = |object: &Watched| {
        let status = object.0.as_ref().ok().and_then(|object| object.status.as_ref());
        status.and_then(ready_reason) == Some(Reason::TargetConflict)
    };
    let others = of_repository(objects, repository);
    let waiting = others.iter().filter(|object| waits(object));
    waiting.map(|object| ObjectRef::from_obj(&**object)).collect()
}

/// The repository that an object with this `target` publishes to.
pub(super) fn repository(target: &str) -> Option<Repository> {
    target.parse::<Reference>().ok().map(|target| target.repository().clone())
}

/// The objects that publish to `repository`.
fn of_repository(objects: &Store<Watched>, repository: &Repository) -> Vec<Arc<Watched>> {
    let name = repository.to_string();
    let is_there = |object: &Watched| {
        let Ok(object) = &object.0 else { return false };
        is_in(&object.spec.target.image, &name, repository)
    };
    objects.state().into_iter().filter(|object| is_there(object)).collect()
}

/// Whether `target` is a tag of `repository`, which is called `name`. Nearly all are spelled as that is, and need not be parsed.
fn is_in(target: &str, name: &str, repository: &Repository) -> bool {
    let last = repository.path().rsplit('/').next().unwrap_or_default();
    target.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
        || target.contains(last)
            && target.parse::<Reference>().is_ok_and(|target| target.repository() == repository)
}
