//! pure: lines of a list of images → what each is mirrored from, and to.

use std::time::Duration;

use multiarch_crds::v1alpha1::{
    Attestations, MultiArchImageSpec, Referrers, RemovalPolicy, Source, Target,
};
use multiarch_operator::{
    oci::{Prefix, Reference},
    reconcile::sources::Sources,
};

use crate::run::{Asked, Task};

/// How long one image may take: who waits for it can end it.
pub(crate) const TIMEOUT: Duration = Duration::from_hours(24);

/// What the one source of each is called.
const SOURCE: &str = "source";

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
    let image = |line: &str| {
        let line = line.trim_start_matches('\u{feff}');
        // No reference has a `#`.
        line.split_once('#').map_or(line, |(image, _)| image).trim().to_owned()
    };
    let named =
        |(at, line): (usize, &str)| Line { name: format!("{file}:{}", at + 1), image: image(line) };
    text.lines().enumerate().map(named).filter(|line| !line.image.is_empty()).collect()
}

impl Line {
    pub(super) fn argument(image: &str) -> Self {
        Self { name: image.into(), image: image.trim().into() }
    }
}

impl Rules {
    /// What is to be done for `line`.
    pub(super) fn task(&self, line: &Line) -> Task {
        let (source, target) = match self.places(&line.image) {
            Ok(places) => places,
            Err(why) => return Task::refused(&line.name, "", format!("{:?}: {why}", line.image)),
        };
        let spec = MultiArchImageSpec {
            target: Target { image: target.clone(), ..Target::default() },
            sources: vec![Source {
                name: SOURCE.into(),
                image: source,
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
                Task { name: line.name.clone(), asked: Asked::Run(Box::new(sources)) }
            }
            Err(error) => Task::refused(&line.name, &target, error.to_string()),
        }
    }

    /// From where, and to where.
    fn places(&self, image: &str) -> Result<(String, String), String> {
        let short = is_short(image);
        let spelled = if short { format!("{}/{image}", self.from) } else { image.to_owned() };
        let source: Reference = spelled.parse().map_err(why)?;
        let Some(tag) = source.tag() else {
            return Err(
                "it is to have a tag at the target, so write repository:tag@sha256:…".into()
            );
        };
        let path = source.repository().path();
        // Where it was below a path, that is no part of its name.
        let below = path.strip_prefix(self.from.path()).filter(|_| short);
        let path = below.map_or(path, |below| below.trim_start_matches('/'));
        let path = match self.to.path() {
            "" => path.to_owned(),
            before => format!("{before}/{path}"),
        };
        let target: Reference = format!("{}/{path}:{tag}", self.to.host()).parse().map_err(why)?;
        Ok((source.to_string(), target.to_string()))
    }
}

fn why(error: impl std::error::Error) -> String {
    error.to_string()
}

/// Whether it names no host: the part before its first slash has neither a dot nor a port, and is not localhost.
fn is_short(image: &str) -> bool {
    match image.split_once('/') {
        Some((host, _)) => !host.contains(['.', ':']) && host != "localhost",
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

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

    #[test]
    fn reads_lines_with_comments() {
        let text = "\u{feff}# k3s\nrancher/pause:3.1  # why\r\n\n  \t\nquay.io/a/b:1\n#x";
        let read: Vec<_> = lines("list.txt", text);
        let shown = read.iter().map(|line| (line.name.as_str(), line.image.as_str()));
        let expected = [("list.txt:2", "rancher/pause:3.1"), ("list.txt:5", "quay.io/a/b:1")];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[rstest]
    #[case::short(
        "docker.io",
        "r.local:5000",
        "rancher/pause:3.1",
        "docker.io/rancher/pause:3.1",
        "r.local:5000/rancher/pause:3.1"
    )]
    #[case::official(
        "docker.io",
        "r.local",
        "alpine:3",
        "docker.io/library/alpine:3",
        "r.local/library/alpine:3"
    )]
    #[case::whole(
        "docker.io",
        "r.local/mirror",
        "quay.io/a/b:1",
        "quay.io/a/b:1",
        "r.local/mirror/a/b:1"
    )]
    #[case::below_a_path(
        "r.example/hub",
        "r.local",
        "a/b:1",
        "r.example/hub/a/b:1",
        "r.local/a/b:1"
    )]
    #[case::local(
        "docker.io",
        "r.local",
        "localhost:5000/a:1",
        "localhost:5000/a:1",
        "r.local/a:1"
    )]
    fn spells_names_out(
        #[case] from: &str,
        #[case] to: &str,
        #[case] image: &str,
        #[case] source: &str,
        #[case] target: &str,
    ) {
        let places = rules(from, to).places(image);
        assert_eq!(places, Ok((source.into(), target.into())));
    }

    #[test]
    fn a_digest_goes_along_and_wants_a_tag() {
        let rules = rules("docker.io", "r.local");
        let places = rules.places(&format!("a/b:1@{DIGEST}"));
        let source = format!("docker.io/a/b:1@{DIGEST}");
        assert_eq!(places, Ok((source, "r.local/a/b:1".into())));
        let told = rules.places(&format!("a/b@{DIGEST}")).unwrap_err();
        assert!(told.contains("repository:tag@sha256:"), "{told}");
        let told = rules.places("a/b").unwrap_err();
        assert!(told.contains("name a tag or a digest"), "{told}");
    }

    /// One bad line is named, and is no other's.
    #[rstest]
    #[case::no_reference("A b:1")]
    #[case::no_tag("a/b")]
    #[case::itself("r.local/a:1")]
    fn a_bad_line_is_named(#[case] image: &str) {
        let line = Line { name: "list.txt:7".into(), image: image.into() };
        let task = rules("docker.io", "r.local").task(&line);
        assert_eq!(task.name, "list.txt:7");
        assert!(matches!(task.asked, Asked::Refused { .. }), "{task:?}");
    }

    #[test]
    fn is_mirrored_whole_unless_platforms_are_chosen() {
        let line = Line::argument("rancher/pause:3.1");
        let mut rules = rules("docker.io", "r.local");
        let sources = |rules: &Rules| match rules.task(&line).asked {
            Asked::Run(sources) => sources,
            other => panic!("{other:?}"),
        };
        assert!(sources(&rules).mirrors());
        rules.platforms = vec!["linux/amd64".into()];
        assert!(!sources(&rules).mirrors());
    }
}
