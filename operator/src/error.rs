//! What failed, why (the reason), and what to do next (the retry): one table, read by conditions, Events, metrics and the queue.

use std::time::Duration;

use multiarch_crds::{condition::Reason, v1alpha1::SourceState};

use crate::{
    keychain::KeychainError,
    oci::{Digest, Reference},
    reconcile::{
        plan::Held, publish::PublishError, resolve::ResolveError, sources::SpecError, tags::shown,
    },
    registry::{Pause, RegistryError},
};

/// When an object is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// At the end of its interval.
    Interval,
    /// After this long, as the registry asks.
    After(Duration),
    /// After a delay that grows with each failure in a row, up to the interval.
    Backoff,
    /// After a delay that grows past the interval: a registry refused to write something, and goes on to refuse it
    /// until somebody changes something. `soon`: at first it may be something that passes.
    Refused {
        /// From a few seconds on, and not from the interval on.
        soon: bool,
    },
}

/// Whether waiting helps, or a person must act. It informs people and never stops the retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stalled {
    /// Waiting may help.
    No,
    /// A person must act, it seems, after three tries.
    AfterTries,
    /// A person must act.
    Now,
}

/// What a failure means for the object: the row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consequence {
    /// Reason of Ready.
    pub reason: Reason,
    /// Whether a person must act.
    pub stalled: Stalled,
    /// When to look again.
    pub retry: Retry,
}

/// A failure of the run, in words, with its consequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it means.
    pub consequence: Consequence,
    /// What failed, where, and what to do.
    pub message: String,
}

/// Tries after which [`Stalled::AfterTries`] is Stalled.
pub const TRIES: u32 = 3;

const fn stalled(reason: Reason) -> Consequence {
    Consequence { reason, stalled: Stalled::Now, retry: Retry::Interval }
}

const fn tried(reason: Reason) -> Consequence {
    Consequence { reason, stalled: Stalled::AfterTries, retry: Retry::Backoff }
}

const fn retried(reason: Reason) -> Consequence {
    Consequence { reason, stalled: Stalled::No, retry: Retry::Backoff }
}

const fn waiting(reason: Reason) -> Consequence {
    Consequence { reason, stalled: Stalled::No, retry: Retry::Interval }
}

impl Failure {
    /// A failure with the words of `error`.
    #[must_use]
    pub fn new(consequence: Consequence, error: &dyn std::error::Error) -> Self {
        Self { consequence, message: error.to_string() }
    }

    /// The object's own `timeout` ran out. `again`: the blob that it was at, where the run before
    /// was cut off in the same one, so that its bytes would be sent for ever.
    #[must_use]
    pub fn timed_out(timeout: Duration, at: &str, again: Option<&Digest>) -> Self {
        let message = format!("the run took longer than spec.timeout ({timeout:?}), {at}");
        let Some(blob) = again else {
            return Self { consequence: retried(Reason::TimedOut), message };
        };
        let message =
            format!("{message}, for the second time in the blob {blob}: raise spec.timeout");
        Self { consequence: stalled(Reason::TimedOut), message }
    }

    /// `tag` no longer names `published`. One answer may be a stale replica's: it
    /// counts when a look a minute later says so too.
    #[must_use]
    pub fn drifted(tag: &Reference, published: &Digest, named: Option<&Digest>) -> Self {
        let now = shown(named);
        let message =
            format!("{tag} names {now} instead of {published}: looking again in a minute");
        let retry = Retry::After(Duration::from_mins(1));
        Self { consequence: Consequence { retry, ..retried(Reason::DriftDetected) }, message }
    }
}

impl Consequence {
    /// How much a person must know of it, against others of the same run.
    #[must_use]
    pub fn weight(&self) -> u8 {
        match (self.stalled, self.reason) {
            (Stalled::Now, _) => 3,
            (Stalled::AfterTries, _) => 2,
            (Stalled::No, Reason::WaitingForPlatforms) => 0,
            (Stalled::No, _) => 1,
        }
    }
}

/// Of a spec.
#[must_use]
pub fn of_spec(error: &SpecError) -> Consequence {
    match error {
        SpecError::NotAllowed { .. } => stalled(Reason::RegistryNotAllowed),
        _ => stalled(Reason::InvalidSpec),
    }
}

/// Of a plan that is held.
#[must_use]
pub fn of_held(held: &Held) -> Consequence {
    match held {
        Held::Waiting { .. } | Held::SourceFailed => waiting(Reason::WaitingForPlatforms),
        Held::Differ { .. } => waiting(Reason::WaitingForMatch),
        Held::Format { .. } => stalled(Reason::FormatMismatch),
        Held::Duplicate { .. } => stalled(Reason::DuplicatePlatform),
        Held::WouldShrink { .. } => stalled(Reason::WouldShrink),
        Held::NoImage | Held::TooLarge { .. } => stalled(Reason::UnsupportedContent),
        Held::Tags { .. } => stalled(Reason::InvalidSpec),
        Held::TooMany { .. } => stalled(Reason::TooManyPlatforms),
    }
}

/// Of a source, and the state that it is shown in. `was_resolved`: it answered before, so that
/// "denied" cannot mean "not there yet".
#[must_use]
pub fn of_source(error: &ResolveError, was_resolved: bool) -> (SourceState, Consequence) {
    use ResolveError as E;
    match error {
        E::Credential { source } => (SourceState::Unauthorized, of_keychain(source)),
        E::Registry { source: RegistryError::Denied { .. }, .. } if !was_resolved => {
            (SourceState::Denied, waiting(Reason::WaitingForPlatforms))
        }
        E::Registry { source, .. } => (state_of(source), of_registry(source)),
        E::Mismatch { .. }
        | E::IndexMismatch { .. }
        | E::NotInIndex { .. }
        | E::SingleImage { .. } => {
            (SourceState::PlatformMismatch, stalled(Reason::PlatformMismatch))
        }
        E::Incomplete { .. } | E::ConfigGone { .. } => {
            (SourceState::Incomplete, waiting(Reason::WaitingForPlatforms))
        }
        E::Content { .. } | E::TooMuch { .. } => {
            (SourceState::Invalid, stalled(Reason::UnsupportedContent))
        }
        E::Format { .. } => (SourceState::Unsupported, stalled(Reason::FormatMismatch)),
        E::ChildWithoutPlatform { .. }
        | E::NoImages { .. }
        | E::NotAnIndex { .. }
        | E::Nested { .. }
        | E::NoPlatform { .. } => (SourceState::Unsupported, stalled(Reason::UnsupportedContent)),
        E::NotCopied { source } => (state_of_copy(source), of_publish(source)),
    }
}

/// Of the target.
#[must_use]
pub fn of_publish(error: &PublishError) -> Consequence {
    let consequence = of_write(error);
    let refused = match error {
        PublishError::Push { source, .. } | PublishError::Copy { source, .. } => {
            source.is_refused_write()
        }
        PublishError::ForeignLayer { .. } => true,
        _ => false,
    };
    let soon = consequence.stalled != Stalled::Now;
    if refused {
        Consequence { retry: Retry::Refused { soon }, ..consequence }
    } else {
        consequence
    }
}

/// The same, where nothing that was refused is put off.
fn of_write(error: &PublishError) -> Consequence {
    use RegistryError as R;
    match error {
        PublishError::Credential { source } => of_keychain(source),
        PublishError::Push {
            source: R::Refused { .. } | R::Unavailable { retry_after: None, .. },
            ..
        }
        | PublishError::Push { source: R::Protocol { .. }, .. } => retried(Reason::PushFailed),
        PublishError::Look { source, .. } | PublishError::Push { source, .. } => {
            of_registry(source)
        }
        PublishError::ReadBack { source, .. } => match of_registry(source) {
            // It was pushed, and waiting may help.
            passing if passing.stalled == Stalled::No => {
                Consequence { reason: Reason::ReadingBack, ..passing }
            }
            other => other,
        },
        PublishError::Lagging { .. } => retried(Reason::ReadingBack),
        PublishError::Copy { source: R::Refused { .. } | R::Protocol { .. }, .. } => {
            retried(Reason::PushFailed)
        }
        PublishError::Copy { source, .. } => of_registry(source),
        PublishError::BlobGone { .. } => waiting(Reason::WaitingForPlatforms),
        PublishError::ForeignLayer { .. } => stalled(Reason::UnsupportedContent),
        PublishError::ChildGone { .. } => retried(Reason::ChildMissing),
        PublishError::ChildLost { source, .. } => {
            Consequence { reason: Reason::ChildMissing, ..of_write(source) }
        }
        PublishError::Mismatch { .. } => retried(Reason::ReadBackMismatch),
        PublishError::Moved { .. } => retried(Reason::Progressing),
        PublishError::Yielded { .. } => waiting(Reason::DriftDetected),
        PublishError::DriftLoop { .. } => stalled(Reason::DriftLoop),
        PublishError::Immutable { .. } => stalled(Reason::TagImmutable),
        PublishError::Claimed { .. } | PublishError::TagTaken { .. } => {
            stalled(Reason::TargetConflict)
        }
    }
}

fn of_keychain(error: &KeychainError) -> Consequence {
    match error {
        // What has the credentials is not there to the operator, and one message names both.
        KeychainError::NotFound { .. }
        | KeychainError::Forbidden { .. }
        | KeychainError::NoCertificates { .. }
        | KeychainError::NoAccount { .. } => tried(Reason::SecretNotFound),
        KeychainError::OfAccount { source, .. } => of_keychain(source),
        KeychainError::WrongType { .. }
        | KeychainError::NoName { .. }
        | KeychainError::Malformed { .. }
        | KeychainError::BadCertificates { .. }
        | KeychainError::NoMatch { .. } => tried(Reason::SecretInvalid),
        // The operator's admin has to act, whatever the object's owner waits for.
        KeychainError::ProviderNotAllowed { .. } | KeychainError::NoProvider { .. } => {
            stalled(Reason::RegistryNotAllowed)
        }
        KeychainError::NoneGiven { .. }
        | KeychainError::Provider { .. }
        | KeychainError::Helper { .. } => tried(Reason::AuthenticationFailed),
    }
}

/// Of what a registry answered, or an archive.
#[must_use]
pub fn of_registry(error: &RegistryError) -> Consequence {
    use RegistryError as R;
    let after = |consequence: Consequence, retry_after: &Option<Duration>| Consequence {
        retry: retry_after.map_or(Retry::Backoff, Retry::After),
        ..consequence
    };
    match error {
        R::Unauthorized { .. } => tried(Reason::AuthenticationFailed),
        R::Denied { .. } => tried(Reason::AccessDenied),
        R::RateLimited { retry_after, .. } => after(retried(Reason::RateLimited), retry_after),
        R::Paused { pause, retry_after, .. } => {
            let reason = match pause {
                Pause::NoneLeft | Pause::Asked { status: 429 } => Reason::RateLimited,
                Pause::Asked { .. } => Reason::RegistryUnreachable,
            };
            after(retried(reason), retry_after)
        }
        R::Unavailable { retry_after, .. } => {
            after(retried(Reason::RegistryUnreachable), retry_after)
        }
        R::Unreachable { .. } | R::TooSlow { .. } | R::Refused { .. } | R::Protocol { .. } => {
            retried(Reason::RegistryUnreachable)
        }
        R::WrongDigest { .. }
        | R::WrongSize { .. }
        | R::TooLarge { .. }
        | R::Unusable { .. }
        | R::Archive { .. } => stalled(Reason::UnsupportedContent),
        R::ArchiveAwaited { after, .. } => {
            Consequence { retry: Retry::After(*after), ..waiting(Reason::WaitingForPlatforms) }
        }
        R::RealmNotTrusted { .. } => stalled(Reason::TokenRealmNotTrusted),
        R::ForbiddenAddress { .. } | R::ArchiveNotAllowed { .. } => {
            stalled(Reason::RegistryNotAllowed)
        }
        R::InsecureNotAllowed { .. } => stalled(Reason::InsecureNotAllowed),
        R::RepositoryNotFound { .. } => stalled(Reason::RepositoryNotFound),
        R::TagImmutable { .. } => stalled(Reason::TagImmutable),
    }
}

fn state_of_copy(error: &PublishError) -> SourceState {
    match error {
        PublishError::Copy { source, .. } => state_of(source),
        PublishError::ForeignLayer { .. } => SourceState::Unsupported,
        _ => SourceState::Incomplete,
    }
}

fn state_of(error: &RegistryError) -> SourceState {
    use RegistryError as R;
    match error {
        R::Unauthorized { .. } | R::RealmNotTrusted { .. } => SourceState::Unauthorized,
        R::Denied { .. } | R::ArchiveNotAllowed { .. } => SourceState::Denied,
        R::RateLimited { .. }
        | R::Paused { pause: Pause::NoneLeft | Pause::Asked { status: 429 }, .. } => {
            SourceState::RateLimited
        }
        R::Paused { .. }
        | R::Unavailable { .. }
        | R::Unreachable { .. }
        | R::TooSlow { .. }
        | R::Refused { .. }
        | R::Protocol { .. }
        | R::RepositoryNotFound { .. }
        | R::TagImmutable { .. }
        | R::ForbiddenAddress { .. }
        | R::InsecureNotAllowed { .. } => SourceState::Unreachable,
        R::WrongDigest { .. } | R::WrongSize { .. } | R::TooLarge { .. } | R::Archive { .. } => {
            SourceState::Invalid
        }
        R::ArchiveAwaited { .. } => SourceState::Incomplete,
        R::Unusable { .. } => SourceState::Unsupported,
    }
}

/// `error` and what caused it, in one line; a cause that is told already is not told twice.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !told.contains(&words) {
            told = format!("{told}: {words}");
        }
        next = cause.source();
    }
    told
}

#[cfg(test)]
mod tests;
