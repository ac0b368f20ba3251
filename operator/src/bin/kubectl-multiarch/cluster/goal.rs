//! pure: what is waited for, and what an object lacks of it.

use std::{fmt, str::FromStr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use multiarch_crds::{condition::Type, v1alpha1::MultiArchImage};
use multiarch_operator::oci::Platform;

use super::{
    name::{Kind, Name},
    object::Object,
    state::State,
};

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
    pub(crate) fn lacks(&self, object: &Object) -> Option<String> {
        if !object.is_current() {
            return object.says().or_else(|| Some("its status is not current".into()));
        }
        match (self, object) {
            (Self::Condition { kind, status }, _) => {
                lacks_condition(object.conditions(), *kind, status)
            }
            (Self::Platform(platform), Object::Image(image)) => lacks_platform(image, platform),
            (Self::Platform(platform), Object::Set(_)) => {
                Some(format!("a set has no {platform} itself"))
            }
        }
    }

    /// Refuses to wait for what the object called `name` can never be.
    pub(crate) fn fits(&self, name: &Name) -> Result<(), String> {
        let of_sets = [Type::Ready, Type::Reconciling, Type::Stalled];
        match self {
            _ if name.kind == Kind::MultiArchImage => Ok(()),
            Self::Condition { kind, .. } if of_sets.contains(kind) => Ok(()),
            _ => Err(format!(
                "{name} is a set, which has no {self}: wait for it to be ready, for condition=Reconciling or condition=Stalled, or for \
                 one of its images, which `kubectl multiarch tree {name}` names"
            )),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Condition { kind, .. } => write!(f, "condition {kind}"),
            Self::Platform(platform) => write!(f, "platform {platform}"),
        }
    }
}

fn lacks_condition(conditions: &[Condition], kind: Type, wanted: &str) -> Option<String> {
    match conditions.iter().find(|it| it.type_ == kind.as_str()) {
        Some(found) if found.status == wanted => None,
        // Shown only while True.
        None if wanted == "False" && matches!(kind, Type::Reconciling | Type::Stalled) => None,
        Some(found) => {
            Some(format!("{kind} is {}, {}: {}", found.status, found.reason, found.message))
        }
        None => Some(format!("it has no condition {kind}")),
    }
}

fn lacks_platform(object: &MultiArchImage, wanted: &Platform) -> Option<String> {
    let has = |published: &str| {
        published.parse::<Platform>().is_ok_and(|published| published.covers(wanted))
    };
    let state = State::of(object);
    let published = object.status.iter().flat_map(|status| &status.platforms);
    let all: Vec<_> = published.map(|it| it.platform.as_str()).collect();
    if all.iter().copied().any(has) && state.published {
        return None;
    }
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
        super::{
            set::tests::{failing, set},
            state::tests::{conditions, object},
        },
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
        assert_eq!(goal.lacks(&object(&status(2)).into()).as_deref(), lacks);
        // What is said of an earlier spec says nothing.
        assert!(goal.lacks(&object(&status(1)).into()).is_some());
        assert!(goal.lacks(&object(&Value::Null).into()).is_some());
        goal.fits(&"app".parse().unwrap()).unwrap();
    }

    #[rstest]
    #[case("ready", Some("Ready is False, ImagesFailing: says ImagesFailing"))]
    #[case("condition=Ready=False", None)]
    #[case("condition=Stalled=False", None)]
    #[case("condition=Reconciling", Some("it has no condition Reconciling"))]
    fn what_a_set_is_lacking(#[case] goal: &str, #[case] lacks: Option<&str>) {
        let goal: Goal = goal.parse().unwrap();
        goal.fits(&"mais/k3s".parse().unwrap()).unwrap();
        assert_eq!(goal.lacks(&set(&failing(2)).into()).as_deref(), lacks);
        assert!(goal.lacks(&set(&failing(1)).into()).is_some());
    }

    #[rstest]
    #[case("published", "mais/k3s is a set, which has no condition Published: wait for")]
    #[case("condition=NodesCovered", "which has no condition NodesCovered")]
    #[case("platform=linux/arm64", "which has no platform linux/arm64")]
    fn what_a_set_never_is(#[case] goal: &str, #[case] says: &str) {
        let goal: Goal = goal.parse().unwrap();
        let refused = goal.fits(&"mais/k3s".parse().unwrap()).unwrap_err();
        assert!(refused.contains(says), "{refused}");
        assert!(goal.lacks(&set(&failing(2)).into()).is_some());
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
