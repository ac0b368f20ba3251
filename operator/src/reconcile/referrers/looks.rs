//! pure: when referrers of which images were looked for → when they are again, and what is told of it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::{oci::Reference, reconcile::is_within};

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
        // A clock that was set back puts nothing off.
        let is_due = |look: &Look| now >= look.next || look.next.duration_since(now) > EVERY;
        look.is_none_or(|look| is_due(look) || (edited && !look.notes.is_empty()))
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
        let told = if is_within(EVERY, told, now) { told } else { now };
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

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn image() -> Reference {
        let digest = crate::oci::Digest::of(b"image");
        format!("r.example/app@{digest}").parse().unwrap()
    }

    fn skipped(notes: &[&str], may_pass: bool) -> Skipped {
        Skipped { notes: notes.iter().map(ToString::to_string).collect(), may_pass }
    }

    fn after(minutes: i64) -> Timestamp {
        START + SignedDuration::from_mins(minutes)
    }

    #[test]
    fn all_is_looked_at_every_six_hours() {
        let mut looks = Looks::default();
        assert!(looks.are_due(&image(), START, false), "it is new");
        assert!(looks.record(&image(), Skipped::default(), START).is_empty());
        for edited in [false, true] {
            assert!(!looks.are_due(&image(), after(359), edited));
            assert!(looks.are_due(&image(), after(360), edited));
        }
    }

    #[test]
    fn a_clock_that_was_set_back_puts_no_look_off() {
        let mut looks = Looks::default();
        looks.record(&image(), skipped(&["x"], false), after(60 * 24));
        assert!(!looks.are_due(&image(), after(60 * 24), false));
        assert!(looks.are_due(&image(), START, false));
        let told = looks.record(&image(), skipped(&["x"], false), START);
        assert_eq!(told, ["x"], "it is told as what is new");
    }

    #[test]
    fn what_may_pass_is_tried_soon_and_less_and_less_often() {
        let mut looks = Looks::default();
        let mut now = START;
        for minutes in [10, 20, 40, 80, 160, 320, 360, 360] {
            looks.record(&image(), skipped(&["x"], true), now);
            let next = now + SignedDuration::from_mins(minutes);
            assert!(!looks.are_due(&image(), next - SignedDuration::from_secs(1), false));
            assert!(looks.are_due(&image(), next, false), "{minutes}");
            now = next;
        }
        looks.record(&image(), Skipped::default(), now);
        looks.record(&image(), skipped(&["x"], true), now);
        assert!(looks.are_due(&image(), now + SOON, false), "a success starts anew");
    }

    #[test]
    fn what_does_not_pass_by_itself_waits_for_an_edit() {
        let mut looks = Looks::default();
        looks.record(&image(), skipped(&["x"], false), START);
        assert!(!looks.are_due(&image(), after(359), false));
        assert!(looks.are_due(&image(), after(1), true));
    }

    #[test]
    fn the_same_is_told_every_six_hours() {
        let mut looks = Looks::default();
        let mut tell =
            |notes: &[&str], minutes| looks.record(&image(), skipped(notes, true), after(minutes));
        assert_eq!(tell(&["x"], 0), ["x"]);
        assert!(tell(&["x"], 10).is_empty());
        assert_eq!(tell(&["x", "y"], 30), ["x", "y"], "what is new");
        assert!(tell(&["x", "y"], 389).is_empty());
        assert_eq!(tell(&["x", "y"], 390), ["x", "y"]);
        assert!(tell(&["x", "y"], 400).is_empty());
        assert!(tell(&[], 410).is_empty());
        assert_eq!(tell(&["x", "y"], 420), ["x", "y"], "it is wrong again");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut looks, mut skipped) = (Looks::default(), Skipped::default());
        for note in 0..1000 {
            skipped.add(note.to_string(), note == 999);
        }
        let told = looks.record(&image(), skipped, START);
        assert_eq!((told.len(), told[NOTES].as_str()), (9, "there is more of the same image"));
        assert!(looks.are_due(&image(), START + SOON, false), "all that failed counts");
        looks.prune(after(369));
        assert_eq!(looks.notes(&image()).len(), 9);
        looks.prune(after(370));
        assert!(looks.notes(&image()).is_empty(), "it is not looked at any more");
    }
}
