//! pure: what is to be run, and of two that would write one tag neither.

use std::collections::BTreeMap;

use multiarch_crds::condition::Reason;
use multiarch_operator::reconcile::sources::Sources;

/// One image to work on.
#[derive(Debug)]
pub(crate) struct Task {
    /// Where it was asked for: a file and what is in it, or a line.
    pub(crate) name: String,
    /// What was asked.
    pub(crate) asked: Asked,
}

/// What was asked.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A run.
    Run(Box<Sources>),
    /// Something that cannot be.
    Refused {
        /// What is to be published, as far as that is known.
        target: String,
        /// Why, as in a status.
        reason: Reason,
        /// The same for people.
        message: String,
    },
    /// To leave it alone.
    Skipped {
        /// What is to be published.
        target: String,
        /// Why.
        message: String,
    },
}

impl Task {
    /// One that cannot be, because of what was written at `name`.
    pub(crate) fn refused(name: &str, target: &str, message: String) -> Self {
        let (target, reason) = (target.into(), Reason::InvalidSpec);
        Self { name: name.into(), asked: Asked::Refused { target, reason, message } }
    }
}

/// Refuses those of `tasks` that write a tag which another one writes, too: which was meant, nobody knows.
pub(super) fn refuse_doubles(tasks: &mut [Task]) {
    let mut writers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, task) in tasks.iter().enumerate() {
        let Asked::Run(sources) = &task.asked else { continue };
        let repository = sources.target.repository();
        let beside = sources.additional_tags.iter().map(|tag| repository.tag(tag).to_string());
        for tag in [sources.target.to_string()].into_iter().chain(beside) {
            writers.entry(tag).or_default().push(at);
        }
    }
    let names: Vec<String> = tasks.iter().map(|task| task.name.clone()).collect();
    for (tag, writers) in writers.iter().filter(|(_, writers)| writers.len() > 1) {
        for at in writers {
            let Asked::Run(sources) = &tasks[*at].asked else { continue };
            let others = writers.iter().filter(|other| *other != at).map(|at| names[*at].as_str());
            let others: Vec<_> = others.collect();
            let message = format!(
                "{tag} is written by {}, too: take one of them out, or give it another tag",
                others.join(" and by ")
            );
            let target = sources.target.to_string();
            tasks[*at].asked = Asked::Refused { target, reason: Reason::TargetConflict, message };
        }
    }
}

#[cfg(test)]
mod tests {
    use multiarch_crds::v1alpha1::{MultiArchImageSpec, Source, Target};

    use super::*;

    fn task(name: &str, target: &str, tags: &[&str]) -> Task {
        let spec = MultiArchImageSpec {
            target: Target {
                image: target.into(),
                additional_tags: tags.iter().map(|&tag| tag.into()).collect(),
                ..Target::default()
            },
            sources: vec![Source {
                name: "x".into(),
                image: "s.example/a:x".into(),
                ..Source::default()
            }],
            ..MultiArchImageSpec::default()
        };
        let sources = Sources::parse(&spec).unwrap();
        Task { name: name.into(), asked: Asked::Run(Box::new(sources)) }
    }

    #[test]
    fn of_two_that_write_one_tag_neither_is_run() {
        let mut tasks = vec![
            task("list:1", "r.example/a:1", &[]),
            task("list:2", "r.example/a:2", &["1"]),
            task("list:3", "r.example/a:3", &[]),
            task("list:4", "r.example/b:1", &[]),
        ];
        refuse_doubles(&mut tasks);
        let said: Vec<_> = tasks
            .iter()
            .map(|task| match &task.asked {
                Asked::Refused { message, reason, .. } => {
                    assert_eq!(*reason, Reason::TargetConflict);
                    message.as_str()
                }
                _ => "",
            })
            .collect();
        assert!(said[0].starts_with("r.example/a:1 is written by list:2, too"), "{said:?}");
        assert!(said[1].starts_with("r.example/a:1 is written by list:1, too"), "{said:?}");
        assert_eq!(said[2..], ["", ""]);
    }
}
