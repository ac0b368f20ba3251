//! pure: what a registry says is left of a quota, and what that means for GETs of manifests, which it counts as pulls.

use std::time::{Duration, Instant, SystemTime};

/// The longest time for which pulls are not sent because none is left, and then one goes to see.
const LONGEST: Duration = Duration::from_mins(15);
/// How far apart pulls are at most while few are left.
const APART: Duration = Duration::from_secs(5);
/// How long a word that names no time is good for.
const GOOD: Duration = Duration::from_hours(1);
/// Where it does not say of how many, so few are few.
const FEW: u64 = 10;
/// `RateLimit-Reset` is a date where it is no delay: GitLab's is.
const A_DATE: u64 = 1_000_000_000;

/// What it says is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Left {
    pub(in super::super) remaining: u64,
    limit: Option<u64>,
    /// What the limit is for.
    window: Option<Duration>,
    /// When there is more.
    reset: Option<Duration>,
}

/// What was last said, and when.
#[derive(Debug, Default)]
pub(super) struct Quota(Option<(Left, Instant)>);

/// How pulls are to be spared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spare {
    /// Not at all.
    Plenty,
    /// They go so far apart.
    Apart(Duration),
    /// None is left until then.
    Nothing { until: Instant },
}

impl Left {
    /// Of an answer's headers, in the forms that are in use: Docker Hub's, which is the first draft's with a window
    /// (`ratelimit-remaining: 76;w=21600`), the later drafts' three or four fields, and the one field of the last
    /// drafts (draft-ietf-httpapi-ratelimit-headers).
    pub(in super::super) fn of<'a>(
        header: impl Fn(&str) -> Option<&'a str>,
        now: SystemTime,
    ) -> Option<Self> {
        if let Some(field) = header("ratelimit") {
            return Self::of_one(field, header("ratelimit-policy"));
        }
        let remaining = header("ratelimit-remaining")?;
        let limit = header("ratelimit-limit").unwrap_or_default();
        let window = parameter(limit, "w").or_else(|| parameter(remaining, "w"));
        let reset = header("ratelimit-reset").and_then(number).map(|reset| {
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(reset.min(u64::from(u32::MAX)));
            match reset {
                A_DATE.. => date.duration_since(now).unwrap_or_default(),
                _ => Duration::from_secs(reset),
            }
        });
        let (remaining, limit) = (number(remaining)?, number(limit));
        Some(Self { remaining, limit, window: window.map(Duration::from_secs), reset })
    }

    /// `"default";r=50;t=30`, of several the one of which the least is left; or `limit=100, remaining=50, reset=50`.
    fn of_one(field: &str, policy: Option<&str>) -> Option<Self> {
        if let Some(remaining) = parameter(field, "remaining") {
            let reset = parameter(field, "reset").map(Duration::from_secs);
            return Some(Self { remaining, limit: parameter(field, "limit"), window: None, reset });
        }
        let name = |item: &str| item.split(';').next().unwrap_or_default().trim().to_owned();
        let policies = || policy.unwrap_or_default().split(',');
        let left = field.split(',').filter_map(|item| {
            let remaining = parameter(item, "r")?;
            let policy = policies().find(|policy| name(policy) == name(item)).unwrap_or_default();
            let seconds = |of, name| parameter(of, name).map(Duration::from_secs);
            let (window, reset) = (seconds(policy, "w"), seconds(item, "t"));
            Some(Self { remaining, limit: parameter(policy, "q"), window, reset })
        });
        left.min_by_key(|left| left.remaining)
    }

    fn is_few(self) -> bool {
        match self.limit {
            Some(limit) => self.remaining <= limit / 4,
            None => self.remaining < FEW,
        }
    }

    /// How long it takes until there is one more.
    fn refill(self) -> Duration {
        let per = |of: Duration, many: u64| of / u32::try_from(many.max(1)).unwrap_or(u32::MAX);
        match self {
            Self { reset: Some(reset), .. } => per(reset, self.remaining.saturating_add(1)),
            Self { window: Some(window), limit: Some(limit), .. } => per(window, limit),
            _ => APART,
        }
    }
}

impl Quota {
    /// It said what is left.
    pub(super) fn told(&mut self, left: Left, now: Instant) {
        self.0 = Some((left, now));
    }

    /// How pulls are to be spared now.
    pub(super) fn spare(&self, now: Instant) -> Spare {
        let Some((left, told)) = self.0.filter(|(left, _)| left.is_few()) else {
            return Spare::Plenty;
        };
        let age = now.saturating_duration_since(told);
        if age >= left.reset.or(left.window).unwrap_or(GOOD) {
            return Spare::Plenty;
        }
        let refill = left.refill();
        if left.remaining == 0 && age < refill.min(LONGEST) {
            return Spare::Nothing { until: told + refill.min(LONGEST) };
        }
        Spare::Apart(refill.min(APART))
    }

    /// Whether it could be forgotten, and nobody would notice.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.spare(now) == Spare::Plenty
    }
}

/// The number that `text` begins with.
fn number(text: &str) -> Option<u64> {
    text.trim().split([',', ';', ' ']).next()?.parse().ok()
}

/// The first `name=NUMBER` of `text`.
fn parameter(text: &str, name: &str) -> Option<u64> {
    let mut all = text.split([';', ',']).filter_map(|part| part.split_once('='));
    let found = all.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    found.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn left(remaining: u64, limit: u64, window: u64, reset: u64) -> Left {
        let given = |value: u64| (value > 0).then_some(value);
        let seconds = |value| given(value).map(Duration::from_secs);
        let (window, reset) = (seconds(window), seconds(reset));
        Left { remaining, limit: given(limit), window, reset }
    }

    #[rstest]
    #[case::docker_hub(&[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "76;w=21600")], Some(left(76, 100, 21600, 0)))]
    #[case::draft_02(&[("ratelimit-limit", "100, 100;w=60, 5000;w=3600"), ("ratelimit-remaining", "7"), ("ratelimit-reset", "50")], Some(left(7, 100, 60, 50)))]
    #[case::gitlab(&[("ratelimit-limit", "60"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "1000000030")], Some(left(0, 60, 0, 30)))]
    #[case::a_date_that_was(&[("ratelimit-remaining", "5"), ("ratelimit-reset", "1000000000")], Some(Left { reset: Some(Duration::ZERO), ..left(5, 0, 0, 0) }))]
    #[case::draft_07(&[("ratelimit", "limit=100, remaining=50, reset=5")], Some(left(50, 100, 0, 5)))]
    #[case::draft_08(&[("ratelimit", r#""default";r=50;t=30"#), ("ratelimit-policy", r#""default";q=100;w=60"#)], Some(left(50, 100, 60, 30)))]
    #[case::least_of_several(&[("ratelimit", r#""a";r=50;t=30, "b";r=2;t=900"#), ("ratelimit-policy", r#""a";q=100;w=60,"b";q=9;w=3600"#)], Some(left(2, 9, 3600, 900)))]
    #[case::alone(&[("ratelimit-remaining", "3")], Some(left(3, 0, 0, 0)))]
    #[case::nothing(&[("ratelimit-limit", "100;w=21600")], None)]
    #[case::words(&[("ratelimit-remaining", "many")], None)]
    #[case::negative(&[("ratelimit-remaining", "-1")], None)]
    #[case::empty(&[("ratelimit", "")], None)]
    #[case::huge(&[("ratelimit-remaining", "99999999999999999999999")], None)]
    #[case::huge_date(&[("ratelimit-remaining", "1"), ("ratelimit-reset", "18446744073709551615")], Some(left(1, 0, 0, 4_294_967_295 - 1_000_000_000)))]
    fn forms(#[case] headers: &'static [(&str, &str)], #[case] expected: Option<Left>) {
        let header = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        // A second after GitLab's date would not be one.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert_eq!(Left::of(header, now), expected);
    }

    #[rstest]
    #[case::docker_hub_half(left(50, 100, 21600, 0), 0, None)]
    #[case::docker_hub_few(left(25, 100, 21600, 0), 0, Some(5))]
    #[case::docker_hub_none(left(0, 100, 21600, 0), 0, Some(216))]
    #[case::one_goes_to_see(left(0, 100, 21600, 0), 216, Some(5))]
    #[case::no_word_for_a_window(left(0, 100, 21600, 0), 21600, None)]
    #[case::none_until_its_reset(left(0, 60, 0, 30), 10, Some(20))]
    #[case::after_its_reset(left(0, 60, 0, 30), 30, None)]
    #[case::two_in_a_second(left(1, 60, 0, 2), 0, Some(1))]
    #[case::never_longer_than_a_quarter_of_an_hour(left(0, 10, 0, 86400), 0, Some(900))]
    #[case::of_how_many_it_does_not_say(left(9, 0, 0, 0), 0, Some(5))]
    #[case::not_few(left(10, 0, 0, 0), 0, None)]
    #[case::of_nothing(left(0, 0, 0, 0), 0, Some(5))]
    fn spares(#[case] left: Left, #[case] later: u64, #[case] seconds: Option<u64>) {
        let (mut quota, told) = (Quota::default(), Instant::now());
        quota.told(left, told);
        let now = told + Duration::from_secs(later);
        let spared = match quota.spare(now) {
            Spare::Plenty => None,
            Spare::Apart(apart) => Some(apart),
            Spare::Nothing { until } => Some(until - now),
        };
        assert_eq!(spared, seconds.map(Duration::from_secs));
        let nothing = matches!(quota.spare(now), Spare::Nothing { .. });
        assert_eq!(nothing, left.remaining == 0 && seconds.is_some() && later != 216);
    }
}
