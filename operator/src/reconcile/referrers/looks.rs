//! pure: when referrers of which images were looked for → when they are again, and what is told of it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::oci::Reference;

/// How often what refers to an image is looked for.
const EVERY: SignedDuration = SignedDuration::from_hours(6);

/// After a failure that may pass it is looked for so much later, then twice that, up to [`EVERY`].
const SOON: SignedDuration = SignedDuration::from_mins(10);

/// How many notes of one image are kept, so that a hostile list does not fill the memory.
const NOTES: usize = 8;

/// What was not copied of what refers to an image. It never holds the index back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// What, and why, in words.
    notes: Vec<String>,
    /// Another look soon may help.
    may_pass: bool,
}

/// The looks at what refers to an object's images, by the image where it came from. They are
/// forgotten with the process: then all are looked at once more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looks(BTreeMap<Reference, Look>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    next: Timestamp,
    failures: u32,
    notes: Vec<String>,
    told: Timestamp,
}

impl Skipped {
    /// One thing more, and why. `may_pass`: another look soon may help.
    pub fn add(&mut self, note: String, may_pass: bool) {
        self.may_pass |= may_pass;
        match self.notes.len() {
            ..NOTES => self.notes.push(note),
            NOTES => self.notes.push("there is more of the same image".into()),
            _ => {}
        }
    }
}

impl Looks {
    /// Whether it is time to look for what refers to `image`. `edited`: the spec has changed, which
    /// may be what mends a failure.
    #[must_use]
    pub fn are_due(&self, image: &Reference, now: Timestamp, edited: bool) -> bool {
        let look = self.0.get(image);
        look.is_none_or(|look| now >= look.next || (edited && !look.notes.is_empty()))
    }

    /// Remembers a look at `image`, and returns what is to be told of it: what is the same as last
    /// time only with the look of every six hours, since the Event of it is forgotten by then.
    pub fn record(&mut self, image: &Reference, skipped: Skipped, now: Timestamp) -> Vec<String> {
        let Skipped { notes, may_pass } = skipped;
        let before = self.0.get(image);
        let failures = before.map_or(0, |before| before.failures) + 1;
        let failures = if may_pass { failures } else { 0 };
        let next = match failures {
            0 => EVERY,
            failures => (SOON * 2_i32.pow((failures - 1).min(16))).min(EVERY),
        };
        let same = before.filter(|before| before.notes == notes);
        let told = same.map_or(now, |before| before.told);
        let told = if now.duration_since(told) < EVERY { told } else { now };
        let tell = if told == now { notes.clone() } else { Vec::new() };
        self.0.insert(image.clone(), Look { next: now + next, failures, notes, told });
        tell
    }

    /// What was not copied at the last look at `image`.
    #[must_use]
    pub fn notes(&self, image: &Reference) -> &[String] {
        self.0.get(image).map_or(&[], |look| &look.notes)
    }

    /// Forgets images that are not looked at any more.
    pub fn prune(&mut self, now: Timestamp) {
        self.0.retain(|_, look| now.duration_since(look.next) < EVERY);
    }
}
