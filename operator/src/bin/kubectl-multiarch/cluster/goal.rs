//! pure: what is waited for, and what an object lacks of it.

use std::str::FromStr;

use multiarch_crds::{
    condition::Type,
    v1alpha1::{MultiArchImage, MultiArchImageStatus},
};
use multiarch_operator::oci::Platform;

use super::state::{State, is_current};

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// A condition has a status: `condition=PlatformsComplete`, `condition=Stalled=False`.
    Condition {
        /// The condition.
        kind: Type,
        /// Its status.
        status: String,
    },
    /// What is published has the platform: `platform=linux/arm64`.
    Platform(Platform),
}

impl Goal {
    /// What `object` lacks, in words; `None` where it is as it is waited for.
    pub(crate) fn lacks(&self, object: &MultiArchImage) -> Option<String> {
        let status = object.status.clone().unwrap_or_default();
        if !is_current(object, &status) {
            return State::of(object).says().or_else(|| Some("its status is not current".into()));
        }
        match self {
            Self::Condition { kind, status: wanted } => {
                let all = status.conditions.iter();
                let found = all.into_iter().find(|it| it.type_ == kind.as_str());
                match found {
                    Some(found) if found.status == *wanted => None,
                    // Shown only while True.
                    None if wanted == "False"
                        && matches!(kind, Type::Reconciling | Type::Stalled) =>
                    {
                        None
                    }
                    Some(found) => Some(format!(
                        "{kind} is {}, {}: {}",
                        found.status, found.reason, found.message
                    )),
                    None => Some(format!("it has no condition {kind}")),
                }
            }
            Self::Platform(platform) => lacks_platform(&status, platform, object),
        }
    }
}

fn lacks_platform(
    status: &MultiArchImageStatus,
    wanted: &Platform,
    object: &MultiArchImage,
) -> Option<String> {
    let has = |published: &str| {
        published.parse::<Platform>().is_ok_and(|published| published.covers(wanted))
    };
    let state = State::of(object);
    let mut published = status.platforms.iter().map(|it| it.platform.as_str());
    if published.any(has) && state.published {
        return None;
    }
    let all: Vec<_> = status.platforms.iter().map(|it| it.platform.as_str()).collect();
    let has = if all.is_empty() { "nothing".into() } else { all.join(", ") };
    Some(format!("{has} is published, and not {wanted}: {}", state.message))
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let condition = |kind| Ok(Self::Condition { kind, status: "True".into() });
        match text.split_once('=') {
            None if text.eq_ignore_ascii_case("ready") => condition(Type::Ready),
            None if text.eq_ignore_ascii_case("published") => condition(Type::Published),
            Some(("platform", platform)) => {
                platform.parse().map(Self::Platform).map_err(|error| format!("{error}"))
            }
            Some(("condition", condition)) => {
                let (kind, status) = condition.split_once('=').unwrap_or((condition, "True"));
                let same = |known: &&Type| known.as_str().eq_ignore_ascii_case(kind);
                let all = Type::ALL.iter();
                let kind = all.into_iter().find(same).copied().ok_or_else(|| {
                    let all: Vec<_> = Type::ALL.iter().map(|known| known.as_str()).collect();
                    format!("the conditions are {}", all.join(", "))
                })?;
                let words = ["True", "False", "Unknown"];
                let status = words.iter().find(|word| word.eq_ignore_ascii_case(status));
                let status = status.ok_or("a condition is True, False or Unknown")?;
                Ok(Self::Condition { kind, status: (*status).into() })
            }
            _ => Err("write ready, published, condition=TYPE[=STATUS] or platform=PLATFORM".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{
        super::state::tests::{conditions, object},
        *,
    };

    fn status(generation: i64) -> Value {
        json!({"observedGeneration": generation,
            "conditions": conditions(&[("Ready", "Unknown", "WaitingForPlatforms"), ("Published", "True", "Succeeded")]),
            "platforms": [{"platform": "linux/amd64", "digest": "sha256:a"}, {"platform": "windows(10.0.17763.5458)/amd64", "digest": "sha256:b"}]})
    }

    #[rstest]
    #[case("ready", Some("Ready is Unknown, WaitingForPlatforms: says WaitingForPlatforms"))]
    #[case("published", None)]
    #[case("condition=published=true", None)]
    #[case("condition=Ready=Unknown", None)]
    #[case("condition=Stalled=False", None)]
    #[case("condition=Stalled", Some("it has no condition Stalled"))]
    #[case("platform=linux/x86_64", None)]
    #[case("platform=windows(10.0.17763)/amd64", None)]
    #[case(
        "platform=linux/arm64",
        Some(
            "linux/amd64, windows(10.0.17763.5458)/amd64 is published, and not linux/arm64: says WaitingForPlatforms"
        )
    )]
    fn what_is_lacking(#[case] goal: &str, #[case] lacks: Option<&str>) {
        let goal: Goal = goal.parse().unwrap();
        assert_eq!(goal.lacks(&object(&status(2))).as_deref(), lacks);
        // What is said of an earlier spec says nothing.
        assert!(goal.lacks(&object(&status(1))).is_some());
        assert!(goal.lacks(&object(&Value::Null)).is_some());
    }

    #[rstest]
    #[case("")]
    #[case("Progressing")]
    #[case("condition=Progressing")]
    #[case("condition=Ready=Maybe")]
    #[case("platform=arm64")]
    #[case("delete")]
    fn no_goals(#[case] text: &str) {
        text.parse::<Goal>().unwrap_err();
    }
}
