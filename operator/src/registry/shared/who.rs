//! Who asks, as far as answers are told apart by it.

use crate::registry::{Access, Identity, tls::Fingerprint};

/// Nothing passes from one of these to another. Who has no credential is one of them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Who {
    identity: Option<Identity>,
    /// Where the credential may be sent to beside the registry: one that is not sent is answered
    /// something else.
    token_realm: Option<String>,
    certificates: Option<Fingerprint>,
    plain_http: bool,
}

impl Who {
    pub(super) fn of(access: &Access) -> Self {
        let credential = access.credential.as_ref();
        Self {
            identity: credential.map(Identity::of),
            token_realm: credential.and_then(|credential| credential.token_realm.clone()),
            certificates: access.certificates.fingerprint(),
            plain_http: access.plain_http,
        }
    }

    /// The bytes that it takes where it is kept.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.token_realm.as_ref().map_or(0, String::len)
    }
}
