//! A list of images → for each line where it comes from and where it goes, or what is wrong with it.

use std::collections::HashMap;

use crate::oci::{
    Reference,
    reference::{ReferenceError, canonical_host, names_host},
};

/// The longest target that a `MultiArchImage` takes, in bytes, and the longest source.
const LONGEST_TARGET: usize = 180;
const LONGEST_SOURCE: usize = 320;

/// A line of a list.
#[derive(Debug)]
pub struct Line {
    /// The line as it was written, without its comment.
    pub text: String,
    /// Its number in the list, from 1 on.
    pub number: usize,
    /// What it means.
    pub image: Result<Image, LineError>,
    /// The numbers of later lines that say the same.
    pub again: Vec<usize>,
}

/// An image of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What is copied, in full.
    pub source: Reference,
    /// What it is called in an archive that does not know it by its source: there, names without registry are Docker Hub's.
    pub name: Reference,
    /// What it becomes.
    pub target: Reference,
}

/// Where the images of a list go.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// `host[:port]` of the registry of names that have none, or `host[:port]/path` of a part of it.
    pub from: &'a str,
    /// `host[:port]` of the registry that they go to.
    pub to: &'a str,
    /// What stands before their repositories there; empty for nothing.
    pub prefix: &'a str,
    /// Whether each image becomes an object, whose references are no longer than the API takes.
    pub objects: bool,
}

/// Why a line gives no image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LineError {
    /// It is no reference.
    #[error("{source}")]
    NoReference {
        /// Why.
        #[source]
        source: ReferenceError,
    },
    /// It names a digest alone.
    #[error(
        "it has no tag, so that there is none to publish it under: write name:tag, or name:tag@digest"
    )]
    NoTag,
    /// Where it would go there is no place for it.
    #[error("it would be published as {target}, which is no image reference: {why}")]
    NoTarget {
        /// What the target would be.
        target: String,
        /// What is wrong with it.
        why: String,
    },
    /// A registry of the list's is none.
    #[error(
        "{host:?}, where images {do_what}, is no registry: a registry's host has a dot or a port, or is localhost: harbor.example.com or harbor:5000, not harbor"
    )]
    NoHost {
        /// As it was written.
        host: String,
        /// `come from` or `go`.
        do_what: &'static str,
    },
    /// Another line comes before it.
    #[error("it would be published as {target}, as line {line} is: leave one of them out")]
    Same {
        /// The target of both.
        target: String,
        /// The other line's number.
        line: usize,
    },
    /// It is longer than the API takes.
    #[error("its name is longer than the API takes: {longest} characters for {what}")]
    TooLong {
        /// `a source` or `a target`.
        what: &'static str,
        /// The most.
        longest: usize,
    },
}

/// The lines of `text` that count, each with its number: not the empty ones, and nothing behind a `#` that begins a word.
pub fn of_text(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // What some editors put at the beginning of a file is no part of a name.
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let lines = lines.map(|(at, line)| (at + 1, without_comment(line)));
    lines.filter(|(_, line)| !line.is_empty())
}

fn without_comment(line: &str) -> &str {
    let begins = line.char_indices().find(|(at, c)| {
        *c == '#' && line[..*at].chars().next_back().is_none_or(char::is_whitespace)
    });
    begins.map_or(line, |(at, _)| &line[..at]).trim()
}

/// What each of `lines` means along `route`. A line that says the same as one before it is that one, and is left out.
pub fn read<'a>(lines: impl Iterator<Item = (usize, &'a str)>, route: Route<'_>) -> Vec<Line> {
    // Where in what was read a target's line is.
    let mut targets: HashMap<Reference, usize> = HashMap::new();
    let mut read: Vec<Line> = Vec::new();
    for (number, text) in lines {
        let mut image = image(text, route);
        if let Ok(it) = &image {
            match targets.get(&it.target).map(|at| &mut read[*at]) {
                Some(first) if first.is_of(&it.source) => {
                    first.again.push(number);
                    continue;
                }
                Some(first) => {
                    let target = it.target.to_string();
                    image = Err(LineError::Same { target, line: first.number });
                }
                None => {
                    targets.insert(it.target.clone(), read.len());
                }
            }
        }
        read.push(Line { text: text.to_owned(), number, image, again: Vec::new() });
    }
    read
}

impl Image {
    /// What it is called in archives, without its digest: an archive that has the first name does not have it by the second.
    #[must_use]
    pub fn names(&self) -> Vec<Reference> {
        let of = |name: &Reference| name.repository().tag(name.tag().unwrap_or_default());
        let mut names = vec![of(&self.source), of(&self.name)];
        names.dedup();
        names
    }
}

impl Line {
    fn is_of(&self, source: &Reference) -> bool {
        self.image.as_ref().is_ok_and(|image| image.source == *source)
    }
}

fn image(text: &str, route: Route<'_>) -> Result<Image, LineError> {
    let whole = names_host(text);
    let full = if whole { text.to_owned() } else { format!("{}/{text}", route.from) };
    let source: Reference = full.parse().map_err(|source: ReferenceError| {
        // What was written, and not what was made of it.
        LineError::NoReference { source: ReferenceError { text: shown(text), ..source } }
    })?;
    let tag = source.tag().ok_or(LineError::NoTag)?;
    if !whole {
        hold(&source, route.from, "come from")?;
    }
    // It was read as another registry's.
    let name = text.parse().unwrap_or_else(|_| source.clone());
    let path = source.repository().path();
    // Where it was below a path, that is no part of its name.
    let above = route.from.split_once('/').filter(|_| !whole).map(|(_, above)| above);
    let below = above.and_then(|above| path.strip_prefix(above)?.strip_prefix('/'));
    let path = [route.prefix, below.unwrap_or(path)];
    let path: Vec<_> = path.into_iter().filter(|part| !part.is_empty()).collect();
    let target = format!("{}/{}:{tag}", route.to, path.join("/"));
    let target: Reference = target
        .parse()
        .map_err(|error: ReferenceError| LineError::NoTarget { target, why: error.why })?;
    hold(&target, route.to, "go")?;
    for (what, longest, reference) in
        [("a source", LONGEST_SOURCE, &source), ("a target", LONGEST_TARGET, &target)]
    {
        if route.objects && reference.to_string().len() > longest {
            return Err(LineError::TooLong { what, longest });
        }
    }
    Ok(Image { source, name, target })
}

/// Holds `read` to the host that it was made of: what is no host would be read as a namespace of Docker Hub.
fn hold(read: &Reference, end: &str, do_what: &'static str) -> Result<(), LineError> {
    let host = end.split_once('/').map_or(end, |(host, _)| host);
    let is_host = canonical_host(host).is_ok_and(|host| host == read.repository().host());
    is_host.then_some(()).ok_or_else(|| LineError::NoHost { host: shown(host), do_what })
}

/// `text` as it may be shown.
pub(super) fn shown(text: &str) -> String {
    text.parse::<Reference>().err().map_or_else(|| text.to_owned(), |error| error.text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const ROUTE: Route<'_> =
        Route { from: "docker.io", to: "registry.local:5000", prefix: "mirror", objects: true };

    fn only(text: &str, route: Route<'_>) -> Result<(String, String), String> {
        let mut read = read([(1, text)].into_iter(), route);
        let image = read.remove(0).image.map_err(|error| error.to_string())?;
        Ok((image.source.to_string(), image.target.to_string()))
    }

    #[rstest]
    #[case("rancher/pause:3.1", "docker.io/rancher/pause:3.1", "rancher/pause:3.1")]
    #[case("busybox:1.32", "docker.io/library/busybox:1.32", "library/busybox:1.32")]
    #[case("quay.io/coreos/etcd:v3", "quay.io/coreos/etcd:v3", "coreos/etcd:v3")]
    #[case("localhost/a:1", "localhost/a:1", "a:1")]
    fn a_name_without_registry_is_of_the_one_that_images_come_from(
        #[case] text: &str,
        #[case] source: &str,
        #[case] target: &str,
    ) {
        let target = format!("registry.local:5000/mirror/{target}");
        assert_eq!(only(text, ROUTE), Ok((source.into(), target)));
    }

    #[test]
    fn another_registry_has_no_short_names() {
        let route = Route { from: "registry.example.com", prefix: "", ..ROUTE };
        let (source, target) = only("busybox:1.32", route).unwrap();
        assert_eq!(source, "registry.example.com/busybox:1.32");
        assert_eq!(target, "registry.local:5000/busybox:1.32");
    }

    #[test]
    fn the_path_that_images_are_below_is_no_part_of_their_names() {
        let route = Route { from: "registry.example.com/hub", prefix: "", ..ROUTE };
        let (source, target) = only("a/b:1", route).unwrap();
        assert_eq!(source, "registry.example.com/hub/a/b:1");
        assert_eq!(target, "registry.local:5000/a/b:1");
        let (_, target) = only("quay.io/hub/b:1", route).unwrap();
        assert_eq!(target, "registry.local:5000/hub/b:1");
    }

    #[test]
    fn a_digest_decides_what_is_copied_and_the_tag_where_it_goes() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let (source, target) = only(&format!("a/b:1@{digest}"), ROUTE).unwrap();
        assert_eq!(source, format!("docker.io/a/b:1@{digest}"));
        assert_eq!(target, "registry.local:5000/mirror/a/b:1");
        let why = only(&format!("a/b@{digest}"), ROUTE).unwrap_err();
        assert!(why.contains("it has no tag"), "{why}");
    }

    #[rstest]
    #[case("a/b", "name a tag or a digest")]
    #[case("rancher/pause 3.1", "\"rancher/pause 3.1\" is not an image reference")]
    #[case("Rancher/pause:3.1", "is not an image reference")]
    fn a_line_that_is_no_image_says_why(#[case] text: &str, #[case] why: &str) {
        let said = only(text, ROUTE).unwrap_err();
        assert!(said.contains(why), "{said}");
    }

    /// Those that were stored before the API refused them.
    #[rstest]
    #[case::to("docker.io", "harbor", "a/b:1", "\"harbor\", where images go, is no registry")]
    #[case::from(
        "harbor",
        "r.example",
        "a/b:1",
        "\"harbor\", where images come from, is no registry"
    )]
    #[case::from_a_path("harbor/hub", "r.example", "b:1", "\"harbor\", where images come from")]
    fn what_is_no_host_is_no_namespace_of_docker_hub(
        #[case] from: &str,
        #[case] to: &str,
        #[case] text: &str,
        #[case] why: &str,
    ) {
        let said = only(text, Route { from, to, ..ROUTE }).unwrap_err();
        assert!(said.contains(why), "{said}");
    }

    #[rstest]
    #[case("harbor:5000", "localhost", "harbor:5000/a/b:1", "localhost/mirror/a/b:1")]
    #[case("[::1]/hub", "10.0.0.1", "[::1]/hub/a/b:1", "10.0.0.1/mirror/a/b:1")]
    #[case("index.docker.io", "registry-1.docker.io", "docker.io/a/b:1", "docker.io/mirror/a/b:1")]
    fn a_host_is_one_by_each_of_its_names(
        #[case] from: &str,
        #[case] to: &str,
        #[case] source: &str,
        #[case] target: &str,
    ) {
        let route = Route { from, to, ..ROUTE };
        assert_eq!(only("a/b:1", route), Ok((source.into(), target.into())));
    }

    /// A line that names its registry has nothing to do with the one of the others.
    #[test]
    fn a_line_with_a_registry_does_not_mind_where_others_come_from() {
        let route = Route { from: "harbor", ..ROUTE };
        assert!(only("quay.io/a/b:1", route).is_ok());
    }

    #[test]
    fn an_archive_may_know_an_image_by_its_source_or_as_docker_hubs() {
        let names = |text: &str, from: &str| {
            let read = read([(1, text)].into_iter(), Route { from, ..ROUTE }).remove(0);
            let names = read.image.unwrap().names();
            names.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let both = ["quay.io/coreos/etcd:v3", "docker.io/coreos/etcd:v3"];
        assert_eq!(names("coreos/etcd:v3", "quay.io"), both);
        assert_eq!(names("quay.io/coreos/etcd:v3", "docker.io"), both[..1]);
        let pinned = format!("coreos/etcd:v3@sha256:{}", "0".repeat(64));
        assert_eq!(names(&pinned, "docker.io"), both[1..]);
    }

    #[test]
    fn a_target_is_no_longer_than_the_api_takes() {
        let why = only(&format!("{}:1", "a/".repeat(80) + "b"), ROUTE).unwrap_err();
        assert!(why.contains("180 characters for a target"), "{why}");
        let without = Route { objects: false, ..ROUTE };
        assert!(only(&format!("{}:1", "a/".repeat(80) + "b"), without).is_ok());
    }

    proptest! {
        /// Whatever a list says, each line that counts is an image of its own, says what is wrong with it, or says what another one says.
        #[test]
        fn a_list_is_read_line_by_line(text in "([a-zA-Z0-9./:@#_ \\t\\x1b-]{0,24}\n|(a|b|quay.io/a|docker.io/b):(1|2)\n){0,30}") {
            let lines: Vec<_> = of_text(&text).collect();
            let all = read(lines.iter().copied(), ROUTE);
            prop_assert!(all.len() <= lines.len());
            let images: Vec<_> = all.iter().filter_map(|line| line.image.as_ref().ok()).collect();
            let targets: std::collections::HashSet<_> = images.iter().map(|image| &image.target).collect();
            prop_assert_eq!(targets.len(), images.len());
            for image in images {
                prop_assert!(image.source.tag().is_some() && image.target.digest().is_none());
                prop_assert!(image.target.to_string().starts_with("registry.local:5000/mirror/"));
            }
            for (number, text) in lines {
                // Alone it is what it is in the list, but for those before it.
                let alone = read([(number, text)].into_iter(), ROUTE).remove(0).image;
                let here = all.iter().find(|line| line.number == number).map(|line| &line.image);
                match (alone, here) {
                    (Ok(image), Some(Ok(it))) => prop_assert_eq!(&image, it),
                    (Ok(_), Some(Err(error))) => prop_assert!(matches!(error, LineError::Same { .. }), "{}", error),
                    (Ok(image), None) => prop_assert!(all.iter().any(|line| line.image.as_ref() == Ok(&image))),
                    (Err(error), here) => prop_assert_eq!(here.and_then(|it| it.as_ref().err()), Some(&error)),
                }
            }
        }
    }

    #[test]
    fn comments_and_empty_lines_do_not_count() {
        let text = "\u{feff}# images\n\n a:1 # the first\r\nb:2#3\n  #c:3\n";
        assert_eq!(of_text(text).collect::<Vec<_>>(), [(3, "a:1"), (4, "b:2#3")]);
    }

    #[test]
    fn two_lines_for_one_target_are_told_and_one_line_twice_is_one() {
        let lines = ["a/b:1", "quay.io/a/b:1", "a/b:1", "docker.io/a/b:1"];
        let lines = lines.into_iter().enumerate().map(|(at, line)| (at + 1, line));
        let read = read(lines, ROUTE);
        assert_eq!(read.len(), 2);
        assert!(read[0].image.is_ok());
        assert_eq!(read[0].again, [3, 4]);
        let why = read[1].image.as_ref().unwrap_err().to_string();
        assert!(why.contains("registry.local:5000/mirror/a/b:1, as line 1 is"), "{why}");
    }
}
