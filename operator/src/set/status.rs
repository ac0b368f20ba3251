//! What became of the images of a list → the status of their set.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use multiarch_crds::{
    condition::{self, Reason, Status, Type, cut},
    v1alpha1::{Counts, FailingLine, MultiArchImageSetStatus, MultiArchImageStatus},
};

use super::lines::{self, LineError};
use crate::oci::printable;

/// How many lines are named, and how much is said of each, in bytes.
const NAMED: usize = 20;
const SAID: usize = 256;
const SHOWN: usize = 320;

/// What a set's run is about.
#[derive(Clone, Debug)]
pub struct About {
    /// The generation of the set.
    pub generation: Option<i64>,
    /// The annotation that asks for a run.
    pub requested_at: Option<String>,
    /// Now.
    pub now: Timestamp,
}

/// A line, and what became of it.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The line.
    pub text: &'a str,
    /// What it is.
    pub what: What<'a>,
}

/// What became of a line.
#[derive(Debug)]
pub enum What<'a> {
    /// It is no image.
    Invalid(&'a LineError),
    /// It has no object yet, and what it waits for.
    Waits {
        /// In one word.
        reason: Reason,
        /// In a sentence.
        message: String,
    },
    /// It has no object, and why.
    Refused {
        /// In one word.
        reason: Reason,
        /// In a sentence.
        message: String,
    },
    /// What has the name of its object is on its way out.
    Leaving {
        /// Name.
        name: String,
    },
    /// Its object.
    Object {
        /// Name.
        name: String,
        /// Generation, where it is there.
        generation: Option<i64>,
        /// Status, where it has one.
        status: Option<Cow<'a, MultiArchImageStatus>>,
    },
}

/// Why the list, or what some of its images come from, is not known now: then what was applied stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// In one word.
    pub reason: Reason,
    /// In a sentence.
    pub message: String,
    /// Whether a person must act.
    pub stalled: bool,
}

/// What an image of the list is.
enum State {
    Ready,
    Waiting,
    Failing,
}

/// The status after `previous`, of a list that was read, while `left` objects that are not in it are not gone yet, and archives are not read for
/// what `unread` says.
#[must_use]
pub fn next(
    previous: &MultiArchImageSetStatus,
    about: &About,
    lines: &[Seen<'_>],
    left: usize,
    unread: Option<&Unknown>,
) -> MultiArchImageSetStatus {
    let mut counts = Counts::default();
    let (mut failing, mut waiting) = (Vec::new(), Vec::new());
    for line in lines {
        counts.images += 1;
        match state(line) {
            State::Ready => counts.ready += 1,
            State::Waiting => {
                counts.waiting += 1;
                waiting.push(line);
            }
            State::Failing => {
                counts.failing += 1;
                failing.push(line);
            }
        }
    }
    let mut status = MultiArchImageSetStatus {
        summary: Some(format!("{}/{}", counts.ready, counts.images)),
        counts: Some(counts),
        failing: failing.iter().chain(&waiting).take(NAMED).map(|line| named(line)).collect(),
        ..observed(previous, about)
    };
    let conditions = Conditions::of(&counts, left, unread);
    conditions.set(&mut status, about);
    status
}

/// The status after `previous`, of a list that is not known now.
#[must_use]
pub fn unknown(
    previous: &MultiArchImageSetStatus,
    about: &About,
    why: &Unknown,
) -> MultiArchImageSetStatus {
    let mut status = observed(previous, about);
    let (ready, stalled) =
        if why.stalled { (Status::False, true) } else { (Status::Unknown, false) };
    let conditions =
        Conditions { ready, reason: why.reason, message: why.message.clone(), stalled };
    conditions.set(&mut status, about);
    status
}

/// The status after `previous` of a set that is suspended.
#[must_use]
pub fn suspended(previous: &MultiArchImageSetStatus, about: &About) -> MultiArchImageSetStatus {
    let mut status = observed(previous, about);
    let was = condition::get(&status.conditions, Type::Ready);
    let was = was.map_or("Unknown", |ready| ready.status.as_str());
    let ready = match was {
        "True" => Status::True,
        "False" => Status::False,
        _ => Status::Unknown,
    };
    let message = "spec.suspend is true: the list is not read; the MultiArchImages go on";
    set(&mut status, Type::Ready, ready, Reason::Suspended, message, about);
    condition::remove(&mut status.conditions, Type::Reconciling);
    condition::remove(&mut status.conditions, Type::Stalled);
    status
}

fn observed(previous: &MultiArchImageSetStatus, about: &About) -> MultiArchImageSetStatus {
    MultiArchImageSetStatus {
        observed_generation: about.generation,
        last_handled_reconcile_at: about
            .requested_at
            .clone()
            .or_else(|| previous.last_handled_reconcile_at.clone()),
        ..previous.clone()
    }
}

/// The conditions that follow from what became of the images.
struct Conditions {
    ready: Status,
    reason: Reason,
    message: String,
    stalled: bool,
}

impl Conditions {
    fn of(counts: &Counts, left: usize, unread: Option<&Unknown>) -> Self {
        let Counts { images, ready, waiting, failing } = *counts;
        let all = format!("{ready} of {images} images are ready");
        let nothing_under_way = waiting == 0 && left == 0;
        if let Some(Unknown { reason, message, stalled }) = unread {
            if *reason == Reason::ArchiveNotReady && !stalled && ready == images && left == 0 {
                // What it was read for is there.
                let message = format!("{all}; {message}");
                let (ready, reason) = (Status::True, Reason::Succeeded);
                return Self { ready, reason, message, stalled: false };
            }
            let ready = if *stalled || failing > 0 { Status::False } else { Status::Unknown };
            let message = format!("{message}; {all}");
            let stalled = *stalled && nothing_under_way;
            return Self { ready, reason: *reason, message, stalled };
        }
        if failing > 0 {
            let message =
                format!("{all}; a person must act for {failing}: status.failing names them");
            let (ready, reason) = (Status::False, Reason::ImagesFailing);
            return Self { ready, reason, message, stalled: nothing_under_way };
        }
        if waiting > 0 || left > 0 {
            let mut message = format!("{all}; {waiting} wait");
            if left > 0 {
                message = format!(
                    "{message}; {left} that are not in the list any more are being deleted"
                );
            }
            let (ready, reason) = (Status::Unknown, Reason::WaitingForImages);
            return Self { ready, reason, message, stalled: false };
        }
        Self { ready: Status::True, reason: Reason::Succeeded, message: all, stalled: false }
    }

    fn set(&self, status: &mut MultiArchImageSetStatus, about: &About) {
        set(status, Type::Ready, self.ready, self.reason, &self.message, about);
        let [there, gone] = if self.stalled {
            [Type::Stalled, Type::Reconciling]
        } else {
            [Type::Reconciling, Type::Stalled]
        };
        condition::remove(&mut status.conditions, gone);
        if self.ready == Status::True {
            condition::remove(&mut status.conditions, there);
        } else {
            set(status, there, Status::True, self.reason, &self.message, about);
        }
    }
}

fn set(
    status: &mut MultiArchImageSetStatus,
    r#type: Type,
    is: Status,
    reason: Reason,
    message: &str,
    about: &About,
) {
    let generation = about.generation.unwrap_or_default();
    condition::set(&mut status.conditions, r#type, is, reason, message, generation, about.now);
}

fn state(line: &Seen<'_>) -> State {
    let (generation, status) = match &line.what {
        What::Invalid(_) | What::Refused { .. } => return State::Failing,
        What::Waits { .. } | What::Leaving { .. } => return State::Waiting,
        What::Object { generation, status, .. } => (generation, status.as_deref()),
    };
    let Some(status) = status.filter(|status| status.observed_generation == *generation) else {
        return State::Waiting;
    };
    let is =
        |r#type| condition::get(&status.conditions, r#type).is_some_and(|it| it.status == "True");
    if is(Type::Stalled) {
        State::Failing
    } else if is(Type::Ready) {
        State::Ready
    } else {
        State::Waiting
    }
}

/// The line as it is named in the status: a list is anybody's text, and is not to command the terminal of who reads it.
fn named(line: &Seen<'_>) -> FailingLine {
    // A line that is no image may have a password in it.
    let image = cut(&printable(&lines::shown(line.text)), SHOWN).into_owned();
    let (object, reason, message) = match &line.what {
        What::Invalid(error) => (None, "InvalidLine".to_owned(), Some(error.to_string())),
        What::Waits { reason, message } | What::Refused { reason, message } => {
            (None, reason.to_string(), Some(message.clone()))
        }
        What::Leaving { name } => {
            let message = format!(
                "the MultiArchImage {name} of before is being deleted, and is made anew then"
            );
            (Some(name.clone()), Reason::Progressing.to_string(), Some(message))
        }
        What::Object { name, generation, status } => {
            // Of an older spec nothing is said.
            let status = status.as_deref().filter(|it| it.observed_generation == *generation);
            let ready = status.and_then(|it| condition::get(&it.conditions, Type::Ready));
            let reason = ready.map_or(Reason::Progressing.as_str(), |ready| ready.reason.as_str());
            // What one is at changes all the time, and is said in its own status.
            let says = |ready: &&Condition| ready.reason != Reason::Progressing.as_str();
            let message = ready.filter(says).map(|ready| ready.message.clone());
            (Some(name.clone()), reason.to_owned(), message)
        }
    };
    let message = message.filter(|message| !message.is_empty());
    let message = message.map(|message| cut(&printable(&message), SAID).into_owned());
    FailingLine { image, object, reason, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn about() -> About {
        About { generation: Some(3), requested_at: None, now: NOW }
    }

    /// A status of generation 1.
    fn image(ready: Status, reason: Reason, stalled: bool) -> MultiArchImageStatus {
        let mut status = MultiArchImageStatus {
            observed_generation: Some(1),
            ..MultiArchImageStatus::default()
        };
        let conditions = &mut status.conditions;
        condition::set(conditions, Type::Ready, ready, reason, "why", 1, NOW);
        if stalled {
            condition::set(conditions, Type::Stalled, Status::True, reason, "why", 1, NOW);
        }
        status
    }

    fn seen(status: Option<&MultiArchImageStatus>) -> Seen<'_> {
        let status = status.map(Cow::Borrowed);
        let what = What::Object { name: "set-a-12345678".into(), generation: Some(1), status };
        Seen { text: "a:1", what }
    }

    fn shown(status: &MultiArchImageSetStatus) -> Vec<String> {
        let each = status.conditions.iter();
        each.map(|it| format!("{} {} {}", it.type_, it.status, it.reason)).collect()
    }

    #[test]
    fn all_ready_is_ready() {
        let ready = image(Status::True, Reason::Succeeded, false);
        let status =
            next(&MultiArchImageSetStatus::default(), &about(), &[seen(Some(&ready))], 0, None);
        assert_eq!(status.summary.as_deref(), Some("1/1"));
        assert_eq!(shown(&status), ["Ready True Succeeded"]);
        assert_eq!(status.observed_generation, Some(3));
        assert!(status.failing.is_empty());
        // The same again is the same.
        assert_eq!(next(&status, &about(), &[seen(Some(&ready))], 0, None), status);
    }

    #[test]
    fn failing_ones_come_first_and_all_others_go_on() {
        let ready = image(Status::True, Reason::Succeeded, false);
        let wrong = image(Status::False, Reason::PlatformMismatch, true);
        let error = LineError::NoTag;
        let bad = Seen { text: "bad", what: What::Invalid(&error) };
        let lines = [seen(None), seen(Some(&ready)), seen(Some(&wrong)), bad];
        let status = next(&MultiArchImageSetStatus::default(), &about(), &lines, 0, None);
        let counts = Counts { images: 4, ready: 1, waiting: 1, failing: 2 };
        assert_eq!(status.counts, Some(counts));
        let reasons: Vec<_> = status.failing.iter().map(|line| line.reason.as_str()).collect();
        assert_eq!(reasons, ["PlatformMismatch", "InvalidLine", "Progressing"]);
        // Somebody is at work.
        assert_eq!(shown(&status), ["Ready False ImagesFailing", "Reconciling True ImagesFailing"]);
        let status = next(&status, &about(), &lines[1..], 0, None);
        assert_eq!(shown(&status), ["Ready False ImagesFailing", "Stalled True ImagesFailing"]);
    }

    #[test]
    fn a_status_of_an_older_spec_says_nothing() {
        let mut old = image(Status::True, Reason::Succeeded, false);
        old.observed_generation = Some(0);
        let status =
            next(&MultiArchImageSetStatus::default(), &about(), &[seen(Some(&old))], 0, None);
        assert_eq!(
            shown(&status),
            ["Ready Unknown WaitingForImages", "Reconciling True WaitingForImages"]
        );
    }

    /// Else each step of a copy would be a write of the set's status.
    #[test]
    fn what_an_image_is_at_is_not_repeated() {
        let none = MultiArchImageSetStatus::default();
        let [mut early, late] =
            [Status::Unknown; 2].map(|ready| image(ready, Reason::Progressing, false));
        early.conditions[0].message = "copies 1 of 3 layers".into();
        let [early, late] =
            [early, late].map(|it| next(&none, &about(), &[seen(Some(&it))], 0, None));
        assert_eq!(early, late);
        assert_eq!(early.failing[0].message, None);
    }

    #[test]
    fn what_is_known_counts_also_while_an_archive_is_not_read() {
        let ready = image(Status::True, Reason::Succeeded, false);
        let wrong = image(Status::False, Reason::PlatformMismatch, true);
        let none = MultiArchImageSetStatus::default();
        let (reason, message) = (Reason::ArchiveNotReady, "archive a.tar is not there".to_owned());
        let waits = || What::Waits { reason, message: message.clone() };
        let unread = |stalled| Unknown { reason, message: message.clone(), stalled };
        let lines = [seen(Some(&ready)), Seen { text: "b:1", what: waits() }];
        let status = next(&none, &about(), &lines, 0, Some(&unread(false)));
        assert_eq!(
            shown(&status),
            ["Ready Unknown ArchiveNotReady", "Reconciling True ArchiveNotReady"]
        );
        assert_eq!(status.summary.as_deref(), Some("1/2"));
        let says = "archive a.tar is not there; 1 of 2 images are ready";
        assert_eq!(status.conditions[0].message, says);
        // Some of it a person must act for, and the rest goes on.
        let lines = [seen(Some(&wrong)), Seen { text: "b:1", what: waits() }];
        let status = next(&none, &about(), &lines, 0, Some(&unread(true)));
        assert_eq!(
            shown(&status),
            ["Ready False ArchiveNotReady", "Reconciling True ArchiveNotReady"]
        );
        let status = next(&none, &about(), &lines[..1], 0, Some(&unread(true)));
        assert_eq!(shown(&status), ["Ready False ArchiveNotReady", "Stalled True ArchiveNotReady"]);
        let status = next(&none, &about(), &lines[..1], 0, Some(&unread(false)));
        assert_eq!(
            shown(&status),
            ["Ready False ArchiveNotReady", "Reconciling True ArchiveNotReady"]
        );
    }

    #[test]
    fn what_is_on_its_way_out_is_waited_for() {
        let what = What::Leaving { name: "set-a-12345678".into() };
        let lines = [Seen { text: "a:1", what }];
        let status = next(&MultiArchImageSetStatus::default(), &about(), &lines, 0, None);
        assert_eq!(shown(&status)[0], "Ready Unknown WaitingForImages");
        assert!(status.failing[0].message.as_ref().unwrap().contains("made anew"));
    }

    #[test]
    fn a_line_commands_no_terminal() {
        let lines = super::super::lines::read(
            [(1, "\u{1b}[2Ja\u{7}:1")].into_iter(),
            super::super::lines::Route {
                from: "docker.io",
                to: "registry.local",
                prefix: "",
                objects: true,
            },
        );
        let error = lines[0].image.as_ref().unwrap_err();
        let lines = [Seen { text: &lines[0].text, what: What::Invalid(error) }];
        let status = next(&MultiArchImageSetStatus::default(), &about(), &lines, 0, None);
        let FailingLine { image, message, .. } = &status.failing[0];
        assert_eq!(image, "\u{fffd}[2Ja\u{fffd}:1");
        assert!(!message.as_ref().unwrap().contains(char::is_control), "{message:?}");
    }

    #[test]
    fn a_password_in_a_line_is_not_repeated() {
        let text = "u:s3cret@r.io/a:1";
        let route =
            lines::Route { from: "docker.io", to: "registry.local", prefix: "", objects: true };
        let read = lines::read([(1, text)].into_iter(), route);
        let error = read[0].image.as_ref().unwrap_err();
        let seen = [Seen { text: &read[0].text, what: What::Invalid(error) }];
        let status = next(&MultiArchImageSetStatus::default(), &about(), &seen, 0, None);
        assert_eq!(status.failing[0].image, "…@r.io/a:1");
        assert!(!serde_json::to_string(&status).unwrap().contains("s3cret"));
    }

    #[test]
    fn what_is_not_gone_yet_is_waited_for() {
        let ready = image(Status::True, Reason::Succeeded, false);
        let lines = [seen(Some(&ready))];
        let status = next(&MultiArchImageSetStatus::default(), &about(), &lines, 2, None);
        assert_eq!(shown(&status)[0], "Ready Unknown WaitingForImages");
        assert!(status.conditions[0].message.contains("2 that are not in the list any more"));
    }

    #[test]
    fn at_most_twenty_are_named() {
        let lines: Vec<_> = (0..30).map(|_| seen(None)).collect();
        let status = next(&MultiArchImageSetStatus::default(), &about(), &lines, 0, None);
        assert_eq!((status.failing.len(), status.counts.unwrap().waiting), (20, 30));
    }

    #[test]
    fn an_unknown_list_leaves_what_is_known() {
        let ready = image(Status::True, Reason::Succeeded, false);
        let before =
            next(&MultiArchImageSetStatus::default(), &about(), &[seen(Some(&ready))], 0, None);
        let message = "ConfigMap images is not in this namespace".to_owned();
        let why = Unknown { reason: Reason::ListNotFound, message, stalled: true };
        let status = unknown(&before, &about(), &why);
        assert_eq!(shown(&status), ["Ready False ListNotFound", "Stalled True ListNotFound"]);
        assert_eq!(status.summary.as_deref(), Some("1/1"));
        let suspended = suspended(&status, &about());
        assert_eq!(shown(&suspended), ["Ready False Suspended"]);
    }
}
