//! pure: a MultiArchImage → the little that the coverage maps need of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use multiarch_crds::{
    condition::{self, Type},
    v1alpha1::{MultiArchImage, MultiArchImageSpec, MultiArchImageStatus},
};

use super::{
    key::Key,
    value::{Object, Value, Words},
};
use crate::{
    oci::{Digest, Platform, Reference, Repository, reference::is_tag},
    reconcile::tags::Template,
};

/// What is kept of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The object.
    pub object: Object,
    /// Its uid.
    pub uid: String,
    /// When it was made, as Unix time in seconds. Of two the older one keeps a tag.
    pub created: i64,
    /// What it has to say of images; `None` where it does not deserialise, and nothing is known.
    pub claims: Option<Vec<Claim>>,
}

/// What an object has to say of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The image, and for whom.
    pub key: Key,
    /// What it says.
    pub value: Value,
    /// Of a tag that it keeps it cannot be told any more what it names: what was known of it stands, and where
    /// nothing was, nothing is said.
    pub guessed: bool,
}

/// What an object has published.
struct Published<'a> {
    object: &'a MultiArchImage,
    status: &'a MultiArchImageStatus,
    repository: &'a Repository,
    tag: &'a str,
    index: Value,
}

impl Facts {
    /// Those of `object`.
    #[must_use]
    pub fn of(object: &MultiArchImage) -> Self {
        let empty = MultiArchImageStatus::default();
        let status = object.status.as_ref().unwrap_or(&empty);
        let of = named(&object.metadata);
        let everywhere = |repository: &Repository| {
            // Whoever has pushed there may, and speaks for everybody's Pods.
            status.pushed_to.as_deref() == Some(&repository.to_string())
        };
        let scoped = |repository: &Repository, key: Key| {
            if everywhere(repository) { key } else { key.within(&of.namespace) }
        };
        let mut claims = BTreeMap::new();
        let reference = status.reference.as_deref().and_then(|it| it.parse::<Reference>().ok());
        if let Some(reference) = &reference
            && let (Some(tag), Some(digest)) = (reference.tag(), reference.digest())
        {
            let repository = reference.repository();
            let index = index(&object.spec, status, of.clone(), digest);
            let published = Published { object, status, repository, tag, index };
            for (key, value, guessed) in published.claims() {
                let key = scoped(repository, key);
                claims.insert(key.clone(), Claim { key, value, guessed });
            }
        }
        let target = object.spec.target.image.parse::<Reference>().ok();
        if let Some(target) = &target
            && let Some(tag) = target.tag()
        {
            let repository = target.repository();
            let additional = object.spec.target.additional_tags.iter().map(String::as_str);
            for tag in [tag].into_iter().chain(additional).filter(|tag| is_tag(tag)) {
                let key = scoped(repository, Key::of_tag(repository, tag));
                claims.entry(key.clone()).or_insert_with(|| {
                    let value = Value { missing: missing(status), ..Value::awaited(of.clone()) };
                    Claim { key, value, guessed: false }
                });
            }
        }
        Self { claims: Some(claims.into_values().collect()), ..Self::unknown(&object.metadata) }
    }

    /// Those of an object that does not deserialise.
    #[must_use]
    pub fn unknown(meta: &ObjectMeta) -> Self {
        let created = meta.creation_timestamp.as_ref().map(|time| time.0.as_second());
        Self {
            object: named(meta),
            uid: meta.uid.clone().unwrap_or_default(),
            created: created.unwrap_or(i64::MAX),
            claims: None,
        }
    }

    /// Older ones come first, as in `reconcile::claims`.
    pub(super) fn seniority(&self) -> (i64, &Object) {
        (self.created, &self.object)
    }
}

fn named(meta: &ObjectMeta) -> Object {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    Object { namespace: part(&meta.namespace), name: part(&meta.name) }
}

fn missing(status: &MultiArchImageStatus) -> Words {
    let coverage = status.coverage.iter();
    Words::shown(coverage.flat_map(|coverage| &coverage.missing).map(String::as_str))
}

/// What `spec` names and the published index lacks: where the sources have everything, it waits to be pushed.
fn unpublished(spec: &MultiArchImageSpec, published: &[Platform]) -> Words {
    let sources = spec.sources.iter().filter(|source| !source.optional);
    let named = spec.required_platforms.iter().chain(sources.flat_map(|source| &source.platforms));
    let named = named.filter_map(|text| text.parse::<Platform>().ok());
    let lacks = named.filter(|named| !published.iter().any(|platform| platform.covers(named)));
    let lacks: Vec<_> = lacks.map(|platform| platform.normalized().to_string()).collect();
    Words::shown(lacks.iter().map(String::as_str))
}

/// What `status` says of the index that it has published.
fn index(
    spec: &MultiArchImageSpec,
    status: &MultiArchImageStatus,
    object: Object,
    digest: &Digest,
) -> Value {
    let is = |kind| condition::get(&status.conditions, kind).is_some_and(|it| it.status == "True");
    let parsed = status.platforms.iter().filter_map(|it| it.platform.parse().ok());
    let platforms: Vec<Platform> = parsed.collect();
    let (complete, mut missing) = (is(Type::PlatformsComplete), missing(status));
    if !complete && missing == Words::default() {
        missing = unpublished(spec, &platforms);
    }
    let coverage = status.coverage.iter();
    let nodes = coverage.flat_map(|coverage| &coverage.nodes_missing).map(String::as_str);
    Value {
        digest: Some(digest.clone()),
        published: is(Type::Published),
        complete,
        platforms: Words::of_nodes(&platforms),
        missing,
        nodes_missing: Words::shown(nodes),
        ..Value::awaited(object)
    }
}

impl Published<'_> {
    /// Of each tag that it keeps, and of the index by digest; and whether what a tag names is a guess.
    fn claims(&self) -> Vec<(Key, Value, bool)> {
        let Self { object, status, repository, tag, index } = self;
        let additional = &object.spec.target.additional_tags;
        let of_index: HashSet<&str> = additional.iter().map(String::as_str).chain([*tag]).collect();
        let images = self.images();
        let tags = status.tags.iter().filter(|tag| is_tag(tag)).map(|tag| {
            let key = Key::of_tag(repository, tag);
            match images.get(tag) {
                _ if of_index.contains(tag.as_str()) => (key, index.clone(), false),
                Some(image) => (key, image.clone(), false),
                // One that was taken out of the spec just now, or of a template that was changed.
                None => (key, index.clone(), true),
            }
        });
        let mut claims: Vec<_> = tags.collect();
        if let Some(digest) = &index.digest {
            claims.push((Key::of_digest(repository, digest), index.clone(), false));
        }
        claims
    }

    /// The tags of single images, and what to say of those: each has the one platform that it is for, and lacks none.
    fn images(&self) -> HashMap<String, Value> {
        let template = self.object.spec.target.platform_tags.as_deref();
        let template = template.and_then(|text| Template::parse(text).ok());
        let mut images = HashMap::new();
        for image in template.iter().flat_map(|_| &self.status.platforms) {
            let Ok(platform) = image.platform.parse::<Platform>() else { continue };
            let Ok(digest) = image.digest.parse::<Digest>() else { continue };
            let tag = template.as_ref().and_then(|it| it.fill(self.tag, &platform).ok());
            let value = || Value {
                digest: Some(digest),
                complete: true,
                platforms: Words::of_nodes([&platform]),
                missing: Words::default(),
                nodes_missing: Words::default(),
                ..self.index.clone()
            };
            // Of images of one platform the first one is tagged.
            if let Some(tag) = tag {
                images.entry(tag).or_insert_with(value);
            }
        }
        images
    }
}

#[cfg(test)]
mod tests;
