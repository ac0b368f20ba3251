//! pure: lines of a list of images → what each is mirrored from, and to.

use std::{collections::BTreeMap, time::Duration};

use multiarch_crds::{
    condition::Reason,
    v1alpha1::{Attestations, MultiArchImageSpec, Referrers, RemovalPolicy, Source, Target},
};
use multiarch_operator::{
    oci::{Prefix, Reference},
    reconcile::sources::Sources,
    set::lines::{self, Image, LineError, Route},
};

use crate::run::{Asked, Task};

/// How long one image may take: who waits for it can end it.
pub(crate) const TIMEOUT: Duration = Duration::from_hours(24);

/// What the one source of each is called.
const SOURCE: &str = "image";

/// A line with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `images.txt:3`, or the image, where it is an argument.
    pub(super) name: String,
    pub(super) image: String,
}

/// What holds for all of them.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) from: Prefix,
    pub(super) to: Prefix,
    pub(super) platforms: Vec<String>,
    pub(super) referrers: Referrers,
    pub(super) attestations: Attestations,
    pub(super) removal: RemovalPolicy,
}

/// The lines of `text`, a list in `file`, that have an image.
pub(super) fn lines(file: &str, text: &str) -> Vec<Line> {
    let named = |(number, image): (usize, &str)| Line {
        name: format!("{file}:{number}"),
        image: image.into(),
    };
    lines::of_text(text).map(named).collect()
}

impl Line {
    pub(super) fn argument(image: &str) -> Self {
        Self { name: image.into(), image: image.trim().into() }
    }
}

/// What is to be done for lines.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) tasks: Vec<Task>,
    /// What people are told beside.
    pub(super) notes: Vec<String>,
}

impl Rules {
    /// What is to be done for `given`: each image once, and neither of two that would become one tag.
    pub(super) fn read(&self, given: &[Line]) -> Read {
        let from = self.from.to_string();
        let (to, prefix) = (self.to.host(), self.to.path());
        let route = Route { from: &from, to, prefix, objects: false };
        let texts = given.iter().enumerate().map(|(at, line)| (at, line.image.as_str()));
        let read = lines::read(texts, route);
        let mut writers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for line in &read {
            if let Err(LineError::Same { line: first, .. }) = line.image {
                writers.entry(first).or_insert_with(|| vec![first]).push(line.number);
            }
        }
        let names = |all: &[usize], but: usize, between: &str| {
            let others = all.iter().filter(|at| **at != but);
            let names: Vec<_> = others.map(|at| given[*at].name.as_str()).collect();
            names.join(between)
        };
        let refused = |at: usize, first: usize, target: &str| {
            let others = names(&writers[&first], at, " and by ");
            let message =
                format!("{target} is written by {others}, too: take one of the lines out");
            let (target, reason) = (target.into(), Reason::TargetConflict);
            let asked = Asked::Refused { target, reason, message };
            Task { name: given[at].name.clone(), asked }
        };
        let task = |line: &lines::Line| {
            let at = line.number;
            match &line.image {
                Ok(image) if writers.contains_key(&at) => {
                    refused(at, at, &image.target.to_string())
                }
                Ok(image) => self.task(&given[at].name, image),
                Err(LineError::Same { target, line }) => refused(at, *line, target),
                Err(error) => Task::refused(&given[at].name, "", why(&line.text, error)),
            }
        };
        let note = |line: &lines::Line| {
            let (first, again) = (&given[line.number].name, names(&line.again, line.number, ", "));
            let told = !again.is_empty() && !writers.contains_key(&line.number);
            told.then(|| format!("{first} is given again by {again}: it is run once"))
        };
        Read {
            tasks: read.iter().map(task).collect(),
            notes: read.iter().filter_map(note).collect(),
        }
    }

    /// What is to be done for `image`, which is given at `name`.
    fn task(&self, name: &str, image: &Image) -> Task {
        let target = image.target.to_string();
        if image.source == image.target {
            let message = format!("source and target are the same: {target}");
            return Task::refused(name, &target, message);
        }
        let spec = MultiArchImageSpec {
            target: Target { image: target.clone(), ..Target::default() },
            sources: vec![Source {
                name: SOURCE.into(),
                image: image.source.to_string(),
                platforms: self.platforms.clone(),
                ..Source::default()
            }],
            referrers: self.referrers,
            attestations: self.attestations,
            removal_policy: self.removal,
            timeout: TIMEOUT.into(),
            ..MultiArchImageSpec::default()
        };
        match Sources::parse(&spec) {
            Ok(sources) => {
                // A Docker manifest list keeps its digest, too.
                let sources = Sources { any_format: true, ..sources };
                Task { name: name.into(), asked: Asked::Run(Box::new(sources)) }
            }
            Err(error) => Task::refused(name, &target, error.to_string()),
        }
    }
}

/// Why `text` gives no image, and what to do.
fn why(text: &str, error: &LineError) -> String {
    let latest = format!("{text}:latest");
    match error {
        LineError::NoReference { source } if latest.parse::<Reference>().is_ok() => {
            format!("{source}: write {latest} if that is meant")
        }
        LineError::NoReference { source } => source.to_string(),
        error => format!("{text:?}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn rules(from: &str, to: &str) -> Rules {
        Rules {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            platforms: Vec::new(),
            referrers: Referrers::Ignore,
            attestations: Attestations::Keep,
            removal: RemovalPolicy::Refuse,
        }
    }

    fn all(text: &str) -> Read {
        rules("docker.io", "r.local").read(&lines("list.txt", text))
    }

    fn said(task: &Task) -> &str {
        match &task.asked {
            Asked::Refused { message, .. } => message,
            _ => "",
        }
    }

    #[test]
    fn a_line_is_called_by_its_file_and_number() {
        let text = "\u{feff}# k3s\nrancher/pause:3.1  # why\r\n\n  \t\nquay.io/a/b:1\n#x";
        let Read { tasks, notes } = all(text);
        let shown = tasks.iter().map(|task| {
            let sources = task.sources().unwrap();
            (task.name.as_str(), sources.sources[0].reference.to_string())
        });
        let expected = [
            ("list.txt:2", "docker.io/rancher/pause:3.1".into()),
            ("list.txt:5", "quay.io/a/b:1".into()),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert_eq!(notes, [""; 0]);
    }

    #[test]
    fn an_image_that_is_given_twice_is_run_once_and_that_is_told() {
        let Read { tasks, notes } = all("a:1\nb:1\ndocker.io/library/a:1\na:1");
        let names: Vec<_> = tasks.iter().map(|task| task.name.as_str()).collect();
        assert_eq!(names, ["list.txt:1", "list.txt:2"]);
        assert!(tasks.iter().all(|task| task.sources().is_some()), "{tasks:?}");
        let note = "list.txt:1 is given again by list.txt:3, list.txt:4: it is run once";
        assert_eq!(notes, [note]);
    }

    #[test]
    fn of_different_images_for_one_tag_none_is_run() {
        let Read { tasks, .. } = all("a/b:1\nquay.io/a/b:1\nc:1\nghcr.io/a/b:1");
        let said: Vec<_> = tasks.iter().map(said).collect();
        let both = "r.local/a/b:1 is written by list.txt:2 and by list.txt:4, too: take one of the lines out";
        assert_eq!((said[0], said[2]), (both, ""));
        for at in [1, 3] {
            assert!(said[at].starts_with("r.local/a/b:1 is written by list.txt:1"), "{said:?}");
        }
        let reasons = tasks.iter().filter(|task| {
            matches!(&task.asked, Asked::Refused { reason, .. } if *reason == Reason::TargetConflict)
        });
        assert_eq!(reasons.count(), 3);
    }

    /// One bad line is named with what is wrong, and is no other's.
    #[rstest]
    #[case::no_reference("A b:1", "\"A b:1\" is not an image reference")]
    #[case::no_tag("a/b", "write a/b:latest if that is meant")]
    #[case::itself("r.local/a:1", "source and target are the same: r.local/a:1")]
    fn a_bad_line_is_named(#[case] image: &str, #[case] words: &str) {
        let Read { tasks, .. } = all(&format!("\n{image}\nb:1"));
        let [bad, good] = tasks.as_slice() else { panic!("{tasks:?}") };
        assert_eq!(bad.name, "list.txt:2");
        assert!(said(bad).contains(words), "{bad:?}");
        assert_eq!(said(bad).matches("a/b\"").count(), usize::from(image == "a/b"));
        assert!(good.sources().is_some());
    }

    #[test]
    fn is_mirrored_whole_unless_platforms_are_chosen() {
        let line = [Line::argument("rancher/pause:3.1")];
        let mut rules = rules("docker.io", "r.local");
        let mirrors = |rules: &Rules| rules.read(&line).tasks[0].sources().unwrap().mirrors();
        assert!(mirrors(&rules));
        rules.platforms = vec!["linux/amd64".into()];
        assert!(!mirrors(&rules));
    }
}
