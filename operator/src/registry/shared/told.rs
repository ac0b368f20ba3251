//! What a registry said to one call, and to which others it may be said.

use tokio::time::Instant;

use crate::{
    oci::{Descriptor, Digest},
    registry::{Access, Origin, RegistryError},
};

/// The answer to the question what a reference names, and when that was asked.
pub(super) struct Told {
    asked: Instant,
    answer: Result<Option<Brief>, Failed>,
    /// What the reference was last known to name, where the answer is a failure.
    before: Option<Brief>,
}

/// A descriptor as a HEAD gives it, in few bytes.
struct Brief {
    media_type: String,
    digest: Digest,
    size: u64,
}

/// A failure, and what its words may name: where the credential came from, and the Secrets of the certificates.
pub(super) struct Failed {
    error: RegistryError,
    origin: Option<Origin>,
    certificates: Vec<String>,
}

impl Told {
    /// `answer` to a question of `access`, which was asked then, after `before` was told.
    pub(super) fn new(
        asked: Instant,
        answer: Result<Option<&Descriptor>, &RegistryError>,
        access: &Access,
        before: Option<Self>,
    ) -> Self {
        let answer = answer.map(|named| named.map(Brief::of));
        let answer = answer.map_err(|error| Failed::new(error, access));
        let before = before.filter(|_| answer.is_err()).and_then(|told| match told.answer {
            Ok(named) => named,
            Err(_) => told.before,
        });
        Self { asked, answer, before }
    }

    /// What is answered to `access`, where this is good for it. Failures are for those only who `waited` for it, and so is that
    /// there is nothing, but for who knew of nothing before: something that is gone is acted upon.
    pub(super) fn answer(
        &self,
        access: &Access,
        waited: bool,
    ) -> Option<Result<Option<Descriptor>, RegistryError>> {
        if access.since.is_none_or(|since| self.asked < since) {
            return None;
        }
        match &self.answer {
            Ok(Some(named)) => Some(Ok(Some(named.descriptor()))),
            Ok(None) => {
                let knows = access.absent_since.is_some_and(|since| self.asked >= since);
                (waited || knows).then_some(Ok(None))
            }
            Err(failed) => failed.told(access).filter(|_| waited).map(Err),
        }
    }

    /// What the reference was last known to name.
    pub(super) fn digest(&self) -> Option<&Digest> {
        let named = self.answer.as_ref().map_or(&self.before, |named| named);
        named.as_ref().map(|named| &named.digest)
    }
}

impl Failed {
    pub(super) fn new(error: &RegistryError, access: &Access) -> Self {
        Self {
            error: error.clone(),
            origin: origin(access).cloned(),
            certificates: access.certificates.secrets().map(Into::into).collect(),
        }
    }

    /// The same failure for `access`, whose login and certificates come from places of the same names:
    /// others are not told them.
    pub(super) fn told(&self, access: &Access) -> Option<RegistryError> {
        let certificates = self.certificates.iter().map(String::as_str);
        let same = origin(access) == self.origin.as_ref()
            && access.certificates.secrets().eq(certificates);
        same.then(|| self.error.clone())
    }
}

fn origin(access: &Access) -> Option<&Origin> {
    access.credential.as_ref().map(|credential| &credential.origin)
}

impl Brief {
    fn of(named: &Descriptor) -> Self {
        let Descriptor { media_type, digest, size, .. } = named.clone();
        Self { media_type, digest, size }
    }

    fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.size,
            urls: Vec::new(),
            annotations: std::collections::BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }
}
