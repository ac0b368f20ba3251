//! pure: a duration as Go writes it, `12h` or `1h30m`: the form of a kubelet's config and of what a plugin answers.
//!
//! kube's own type panics where a number is too large, and a plugin's answer must not.

use std::time::Duration;

/// Its units, in nanoseconds; one that another one begins with comes after it.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The duration that `text` says, and whether it is negative; `None` where it says none.
pub(super) fn parse(text: &str) -> Option<(bool, Duration)> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some((negative, Duration::ZERO));
    }
    let mut nanos = 0_u64;
    loop {
        let digit = |char: char| char.is_ascii_digit();
        let (whole, after) = rest.split_at(rest.find(|c| !digit(c)).unwrap_or(rest.len()));
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.find(|c| !digit(c)).unwrap_or(after.len())),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, scale) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        nanos =
            nanos.checked_add(whole.checked_mul(*scale)?)?.checked_add(part(fraction, *scale))?;
        rest = &after[unit.len()..];
        if rest.is_empty() {
            break;
        }
    }
    // Go's are signed.
    i64::try_from(nanos).ok()?;
    Some((negative, Duration::from_nanos(nanos)))
}

/// The digits behind a dot, of a unit of `scale` nanoseconds.
fn part(digits: &str, scale: u64) -> u64 {
    let (mut nanos, mut scale) = (0, u128::from(scale) * 1_000_000_000);
    for digit in digits.bytes().take(18) {
        scale /= 10;
        nanos += u128::from(digit - b'0') * scale;
    }
    u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn reads_what_go_writes(hours in 0..2_000_000_u64, minutes in 0..60_u64, seconds in 0..60_u64) {
            let read = parse(&format!("{hours}h{minutes}m{seconds}s"));
            prop_assert_eq!(read, Some((false, Duration::from_secs((hours * 60 + minutes) * 60 + seconds))));
        }
    }
}
