//! pure: the other objects → which tags of a repository belong to one of them.

use std::collections::HashMap;

use jiff::Timestamp;
use kube::ResourceExt;
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageStatus};

use crate::oci::Repository;

/// The tags of one repository that objects other than the one at hand have written, and keep.
///
/// Only what was written counts, by an object that has pushed to that repository: whoever may not push cannot hold
/// a tag that others may, by naming it first, or by naming just what it has already. Of two that
/// have both written it, the older one keeps it.
#[derive(Clone, Debug, Default)]
pub struct Claims(HashMap<String, Owner>);

/// Who keeps a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The object called so, in the same namespace.
    Neighbour(String),
    /// An object of another namespace, of which nothing more is told.
    Stranger,
}

/// What is compared of an object.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// The object.
    pub object: &'a MultiArchImage,
    /// Its status, as it is now.
    pub status: &'a MultiArchImageStatus,
}

impl Claims {
    /// What `others` keep of `repository` from `own`.
    #[must_use]
    pub fn against<'a>(
        own: Claimant<'_>,
        repository: &Repository,
        others: impl IntoIterator<Item = Claimant<'a>>,
    ) -> Self {
        let name = repository.to_string();
        let ours = own.written(&name);
        let mut claims = HashMap::new();
        for other in others {
            if other.object.metadata.uid == own.object.metadata.uid {
                continue;
            }
            for tag in other.written(&name) {
                if ours.contains(tag) && own.seniority() < other.seniority() {
                    continue;
                }
                claims.insert(tag.clone(), other.as_owner(own));
            }
        }
        Self(claims)
    }

    /// Who keeps `tag`.
    #[must_use]
    pub fn owner(&self, tag: &str) -> Option<&Owner> {
        self.0.get(tag)
    }
}

impl Owner {
    /// The object of that namespace and name, as one of the namespace `own` may be told.
    #[must_use]
    pub fn of((namespace, name): (&str, &str), own: &str) -> Self {
        if namespace == own { Self::Neighbour(name.into()) } else { Self::Stranger }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Neighbour(name) => write!(f, "the MultiArchImage {name}"),
            Self::Stranger => f.write_str("a MultiArchImage of another namespace"),
        }
    }
}

impl<'a> Claimant<'a> {
    /// The tags that it has written of the repository called `name`. What is in a status is spelled as that is.
    fn written(&self, name: &str) -> &'a [String] {
        let pushed = self.status.pushed_to.as_deref() == Some(name);
        let published = self.status.reference.as_deref().and_then(|r| r.strip_prefix(name));
        let here = published.is_some_and(|rest| rest.starts_with([':', '@']));
        if here && pushed { &self.status.tags } else { &[] }
    }

    fn as_owner(&self, own: Claimant<'_>) -> Owner {
        let namespace = |it: &MultiArchImage| it.namespace().unwrap_or_default();
        let (theirs, name) = (namespace(self.object), self.object.name_any());
        Owner::of((theirs.as_str(), name.as_str()), &namespace(own.object))
    }

    /// Older ones come first.
    fn seniority(&self) -> (Timestamp, Option<String>, String) {
        let created = self.object.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let created = created.unwrap_or(Timestamp::MAX);
        (created, self.object.namespace(), self.object.name_any())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use multiarch_crds::v1alpha1::MultiArchImageSpec;

    use super::*;
    use crate::oci::{Digest, Reference};

    /// An object of `namespace`, created at `created`, that has written `tags`.
    fn object(
        namespace: &str,
        name: &str,
        created: i64,
        path: &str,
        tags: &[&str],
    ) -> MultiArchImage {
        let mut object = MultiArchImage::new(name, MultiArchImageSpec::default());
        object.metadata.namespace = Some(namespace.into());
        object.metadata.uid = Some(format!("{namespace}/{name}"));
        let created = Timestamp::from_second(created).unwrap();
        object.metadata.creation_timestamp = Some(Time(created));
        object.status = Some(MultiArchImageStatus {
            reference: Some(format!("r.example/{path}:1@{}", Digest::of(b"index"))),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            pushed_to: Some(format!("r.example/{path}")),
            ..MultiArchImageStatus::default()
        });
        object
    }

    fn claimant(object: &MultiArchImage) -> Claimant<'_> {
        Claimant { object, status: object.status.as_ref().unwrap() }
    }

    fn owner(own: &MultiArchImage, other: &MultiArchImage, tag: &str) -> Option<Owner> {
        let repository = format!("r.example/app:{tag}").parse::<Reference>().unwrap();
        let others = [claimant(own), claimant(other)];
        let claims = Claims::against(claimant(own), repository.repository(), others);
        claims.owner(tag).cloned()
    }

    #[test]
    fn what_another_has_written_is_its_own() {
        let mut own = object("team-a", "own", 1, "app", &[]);
        let other = object("team-a", "other", 2, "app", &["1.0", "latest"]);
        assert_eq!(owner(&own, &other, "latest"), Some(Owner::Neighbour("other".into())));
        assert_eq!(owner(&own, &other, "2.0"), None, "it did not write that one");
        own.status = Some(MultiArchImageStatus::default());
        assert!(owner(&own, &other, "1.0").is_some(), "although it is younger");
    }

    #[test]
    fn of_two_that_have_written_it_the_older_keeps_it() {
        let old = object("team-a", "z", 1, "app", &["1.0"]);
        let young = object("team-a", "a", 2, "app", &["1.0"]);
        assert_eq!(owner(&old, &young, "1.0"), None);
        assert!(owner(&young, &old, "1.0").is_some());
        let twin = object("team-a", "b", 2, "app", &["1.0"]);
        assert_eq!(owner(&young, &twin, "1.0"), None, "then by name");
        assert!(owner(&twin, &young, "1.0").is_some());
    }

    #[test]
    fn what_was_not_written_holds_nobody() {
        let own = object("team-a", "own", 2, "app", &[]);
        let squatter = object("team-b", "squatter", 1, "app", &[]);
        assert_eq!(owner(&own, &squatter, "1.0"), None);
        let mut reader = object("team-b", "reader", 1, "app", &["1.0"]);
        reader.status.as_mut().unwrap().pushed_to = None;
        assert_eq!(owner(&own, &reader, "1.0"), None, "it only names what is there already");
        reader.status.as_mut().unwrap().pushed_to = Some("r.example/its-own".into());
        assert_eq!(owner(&own, &reader, "1.0"), None, "it has pushed elsewhere");
        let elsewhere = object("team-b", "elsewhere", 1, "app2", &["1.0"]);
        assert_eq!(owner(&own, &elsewhere, "1.0"), None);
    }

    #[test]
    fn nothing_is_told_of_another_namespace() {
        let own = object("team-a", "own", 1, "app", &[]);
        let other = object("team-b", "secret-project", 2, "app", &["1.0"]);
        let words = owner(&own, &other, "1.0").unwrap().to_string();
        assert_eq!(words, "a MultiArchImage of another namespace");
    }
}
