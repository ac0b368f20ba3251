//! Condition types and their reasons, as closed lists, and pure functions over the conditions of a status.

use std::{borrow::Cow, fmt};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// How long a condition's message may be, in bytes.
pub const MAX_MESSAGE: usize = 1024;

/// Declares an enum whose variants are written as they are named.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name as it stands in a condition.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|known| known.as_str() == text).ok_or(())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// The conditions of a `MultiArchImage`.
    Type {
        /// The spec is served, and the tag was read back. Always shown.
        Ready,
        /// What `status.reference` names is whole in the registry. Always shown; gates read it.
        Published,
        /// The published index has every required platform. Always shown; gates read it.
        PlatformsComplete,
        /// Every source answered. Always shown.
        SourcesResolved,
        /// The published index has the platform of each node. Shown where the operator looks at nodes.
        NodesCovered,
        /// At work, waiting or retrying. Shown only while True, never with Stalled.
        Reconciling,
        /// Waiting will not help, a person must act. Shown only while True.
        Stalled,
    }
}

names! {
    /// Whether a condition holds.
    Status {
        /// It holds.
        True,
        /// It does not hold.
        False,
        /// It cannot be told now.
        Unknown,
    }
}

names! {
    /// Why a condition is what it is. Ready names one of these; each has its section in the troubleshooting page.
    Reason {
        /// Published and complete.
        Succeeded,
        /// Published under publishPolicy Partial, with required platforms missing.
        PublishedPartial,
        /// spec.suspend is set.
        Suspended,
        /// Sources or required platforms are not there yet.
        WaitingForPlatforms,
        /// Images differ in a label that they must share.
        WaitingForMatch,
        /// At work for the first time on this spec.
        Progressing,
        /// Pushed, and the registry does not give it back yet.
        ReadingBack,
        /// The spec cannot be understood.
        InvalidSpec,
        /// A Secret that the spec names is not there.
        SecretNotFound,
        /// A Secret that the spec names holds no registry credentials.
        SecretInvalid,
        /// The registry, or its token endpoint, refuses the credential itself.
        AuthenticationFailed,
        /// The registry refuses what the credential asks for.
        AccessDenied,
        /// An image is for another platform than declared.
        PlatformMismatch,
        /// Two sources have the same platform.
        DuplicatePlatform,
        /// A source cannot be put in an index.
        UnsupportedContent,
        /// Publishing would take away platforms, and removalPolicy is Refuse.
        WouldShrink,
        /// The tag has other content, and may not be overwritten.
        TagImmutable,
        /// Something else moves the tag again and again.
        DriftLoop,
        /// A tag belongs to something else.
        TargetConflict,
        /// A Docker manifest list cannot have this image.
        FormatMismatch,
        /// spec.registries asks for plain HTTP, and the operator does not allow it.
        InsecureNotAllowed,
        /// The registry's name or address is one that the operator does not go to.
        RegistryNotAllowed,
        /// A registry sends its credentials elsewhere for a token, and nobody has allowed that.
        TokenRealmNotTrusted,
        /// The target's repository is not there, and the registry makes none by itself.
        RepositoryNotFound,
        /// The index would have more platforms than a status can hold.
        TooManyPlatforms,
        /// The registry answers 429.
        RateLimited,
        /// No connection, no answer in time, or 5xx.
        RegistryUnreachable,
        /// The registry refuses what is pushed.
        PushFailed,
        /// The registry gives back something else than what was pushed.
        ReadBackMismatch,
        /// An image of the published index is gone from the registry.
        ChildMissing,
        /// Something else has moved the tag.
        DriftDetected,
        /// The run took longer than spec.timeout.
        TimedOut,
        /// Images of a set are not ready yet.
        WaitingForImages,
        /// A person must act for images of a set.
        ImagesFailing,
        /// The ConfigMap that a set names, or the key in it, is not there.
        ListNotFound,
        /// An archive that a set names is not there, is being written, or is none.
        ArchiveNotReady,
        /// An object of the name that a set gives to one of its images is somebody else's.
        NotOwned,
        /// The API server refuses the object that a set would make for one of its images.
        ObjectRefused,
    }
}

/// The condition of this type, where there is one.
#[must_use]
pub fn get(conditions: &[Condition], r#type: Type) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == r#type.as_str())
}

/// Sets the condition of this type, in its place or at the end, and leaves all others as they are.
///
/// `lastTransitionTime` moves to `now` only when the status is another one than before. A message that is too long is cut.
pub fn set(
    conditions: &mut Vec<Condition>,
    r#type: Type,
    status: Status,
    reason: impl fmt::Display,
    message: &str,
    generation: i64,
    now: Timestamp,
) {
    let mut next = Condition {
        type_: r#type.to_string(),
        status: status.to_string(),
        reason: reason.to_string(),
        message: cut(message, MAX_MESSAGE).into_owned(),
        observed_generation: Some(generation),
        last_transition_time: Time(now),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == next.type_) {
        Some(old) => {
            if old.status == next.status {
                next.last_transition_time = old.last_transition_time.clone();
            }
            *old = next;
        }
        None => conditions.push(next),
    }
}

/// Takes the condition of this type away, where there is one.
pub fn remove(conditions: &mut Vec<Condition>, r#type: Type) {
    conditions.retain(|condition| condition.type_ != r#type.as_str());
}

/// `message` in at most `max` bytes: cut between characters, with an ellipsis where something is gone.
#[must_use]
pub fn cut(message: &str, max: usize) -> Cow<'_, str> {
    const ELLIPSIS: &str = "…";
    if message.len() <= max {
        return Cow::Borrowed(message);
    }
    let Some(room) = max.checked_sub(ELLIPSIS.len()) else {
        return Cow::Borrowed(&message[..message.floor_char_boundary(max)]);
    };
    Cow::Owned(format!("{}{ELLIPSIS}", &message[..message.floor_char_boundary(room)]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use rstest::rstest;

    use super::*;

    const T0: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const T1: Timestamp = Timestamp::constant(1_800_000_060, 0);

    fn ready() -> Vec<Condition> {
        let mut conditions = Vec::new();
        set(&mut conditions, Type::Ready, Status::True, Reason::Succeeded, "published", 1, T0);
        conditions
    }

    #[test]
    fn a_new_condition_has_everything() {
        let conditions = ready();
        let expected = Condition {
            type_: "Ready".into(),
            status: "True".into(),
            reason: "Succeeded".into(),
            message: "published".into(),
            observed_generation: Some(1),
            last_transition_time: Time(T0),
        };
        assert_eq!(conditions, std::slice::from_ref(&expected));
        assert_eq!(get(&conditions, Type::Ready), Some(&expected));
        assert_eq!(get(&conditions, Type::Stalled), None);
    }

    #[test]
    fn the_transition_time_stays_while_the_status_stays() {
        let mut conditions = ready();
        set(
            &mut conditions,
            Type::Ready,
            Status::True,
            Reason::PublishedPartial,
            "without linux/arm64",
            2,
            T1,
        );
        let condition = get(&conditions, Type::Ready).unwrap();
        assert_eq!(condition.last_transition_time, Time(T0));
        assert_eq!(
            (condition.reason.as_str(), condition.observed_generation),
            ("PublishedPartial", Some(2))
        );
    }

    #[test]
    fn the_transition_time_moves_with_the_status() {
        let mut conditions = ready();
        set(&mut conditions, Type::Ready, Status::Unknown, Reason::ReadingBack, "", 1, T1);
        assert_eq!(get(&conditions, Type::Ready).unwrap().last_transition_time, Time(T1));
    }

    #[test]
    fn setting_the_same_again_changes_nothing() {
        let mut conditions = ready();
        set(&mut conditions, Type::Ready, Status::True, Reason::Succeeded, "published", 1, T1);
        assert_eq!(conditions, ready());
    }

    #[test]
    fn foreign_conditions_and_the_order_stay() {
        let foreign = Condition {
            type_: "example.com/Scanned".into(),
            status: "True".into(),
            ..ready().remove(0)
        };
        let mut conditions = ready();
        conditions.push(foreign.clone());
        set(&mut conditions, Type::Reconciling, Status::True, Reason::Progressing, "", 1, T1);
        set(&mut conditions, Type::Ready, Status::False, Reason::PushFailed, "", 1, T1);
        let types = |conditions: &[Condition]| {
            conditions.iter().map(|c| c.type_.clone()).collect::<Vec<_>>()
        };
        assert_eq!(types(&conditions), ["Ready", "example.com/Scanned", "Reconciling"]);
        assert_eq!(conditions[1], foreign);

        remove(&mut conditions, Type::Reconciling);
        remove(&mut conditions, Type::Stalled);
        assert_eq!(types(&conditions), ["Ready", "example.com/Scanned"]);
    }

    #[rstest]
    #[case::short("abc", 3, "abc")]
    #[case::long("abcdef", 5, "ab…")]
    #[case::between_characters("aéééé", 7, "aé…")]
    #[case::no_room_for_an_ellipsis("éé", 3, "…")]
    #[case::no_room_for_a_character("éé", 1, "")]
    fn messages_are_cut_between_characters(
        #[case] message: &str,
        #[case] max: usize,
        #[case] expected: &str,
    ) {
        assert_eq!(cut(message, max), expected);
        assert!(cut(message, max).len() <= max);
    }

    #[test]
    fn a_conditions_message_has_at_most_a_kibibyte() {
        let mut conditions = Vec::new();
        let message = "é".repeat(MAX_MESSAGE);
        set(&mut conditions, Type::Ready, Status::False, Reason::PushFailed, &message, 1, T0);
        let message = &conditions[0].message;
        assert!(
            message.len() <= MAX_MESSAGE && message.len() > MAX_MESSAGE - 4,
            "{}",
            message.len()
        );
    }

    #[test]
    fn names_fit_the_apis_conventions() {
        let names =
            Type::ALL.iter().map(|t| t.as_str()).chain(Reason::ALL.iter().map(|r| r.as_str()));
        for name in names {
            assert!(
                name.starts_with(|c: char| c.is_ascii_uppercase())
                    && name.chars().all(|c| c.is_ascii_alphanumeric())
            );
        }
    }
}
