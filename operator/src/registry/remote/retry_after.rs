//! `Retry-After` in both of its forms.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, fmt::rfc2822};

/// The longest wait that is honoured.
pub(super) const CAP: Duration = Duration::from_mins(15);

/// How long a `Retry-After` header asks to wait: `120`, or `Wed, 21 Oct 2015 07:28:00 GMT` counted
/// from `now`.
pub(super) fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 has are a long wait, not an error.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)).min(CAP));
    }
    let at: Timestamp = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    let wait = SystemTime::from(at).duration_since(now).unwrap_or(Duration::ZERO);
    Some(wait.min(CAP))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", Some(0))]
    #[case(" 120 ", Some(120))]
    #[case("86400", Some(900))]
    #[case("99999999999999999999999", Some(900))]
    #[case("Wed, 21 Oct 2015 07:28:00 GMT", Some(60))]
    #[case("Wed, 21 Oct 2015 07:26:00 GMT", Some(0))]
    #[case("Thu, 22 Oct 2015 07:27:00 GMT", Some(900))]
    #[case("-5", None)]
    #[case("1.5", None)]
    #[case("soon", None)]
    #[case("", None)]
    fn both_forms(#[case] value: &str, #[case] seconds: Option<u64>) {
        let now: Timestamp = "2015-10-21T07:27:00Z".parse().unwrap();
        assert_eq!(parse(value, now.into()), seconds.map(Duration::from_secs));
    }
}
