//! References: `host[:port]/repository[:tag][@digest]`, in one canonical spelling.

use std::{fmt, str::FromStr};

use super::Digest;

/// A repository on a registry, in canonical spelling: Docker Hub is always `docker.io`, and its
/// official images are under `library/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    host: String,
    path: String,
}

/// A reference to a manifest, in canonical spelling; it has a tag, a digest or both (then the
/// digest decides).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// What a manifest is asked for by: `<reference>` in the distribution spec.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagOrDigest {
    /// A name that can move.
    Tag(String),
    /// Content.
    Digest(Digest),
}

/// Why a string is no reference.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not an image reference: {why}")]
pub struct ReferenceError {
    /// The string as it was given, cut to a length that is safe to show.
    pub text: String,
    /// What is wrong with it, for people.
    pub why: String,
}

impl Repository {
    /// `host[:port]`, lower case, as the user names it (`docker.io`, not the API's host).
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path below the host, `library/debian`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `host[:port]` to connect to: `registry-1.docker.io` for Docker Hub, else the host.
    #[must_use]
    pub fn api_host(&self) -> &str {
        todo!()
    }

    /// The reference `self:tag`.
    #[must_use]
    pub fn tag(&self, _tag: &str) -> Reference {
        todo!()
    }

    /// The reference `self@digest`.
    #[must_use]
    pub fn digest(&self, _digest: &Digest) -> Reference {
        todo!()
    }
}

impl Reference {
    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, where there is one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where the reference is pinned.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask the registry for: the digest where there is one, else the tag.
    #[must_use]
    pub fn tag_or_digest(&self) -> TagOrDigest {
        todo!()
    }

    /// The same reference pinned to `digest`: `host/repository:tag@digest`.
    #[must_use]
    pub fn pinned_to(&self, _digest: &Digest) -> Self {
        todo!()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;
    fn from_str(_text: &str) -> Result<Self, ReferenceError> {
        todo!()
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}
