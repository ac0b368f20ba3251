//! pure: what `--archive` says: a file, and the platform that its images are to be for.

use std::{collections::BTreeSet, str::FromStr};

use anyhow::{Result, bail};
use multiarch_operator::{
    oci::{Platform, Reference, reference::ReferenceError},
    reconcile::sources::Declared,
};

/// The path that is standard input.
pub(super) const STDIN: &str = "-";

/// `[PLATFORM=]PATH`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// As it was given: what messages call it.
    pub(super) text: String,
    pub(super) platform: Option<Declared>,
    /// A path, or [`STDIN`].
    pub(super) path: String,
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (platform, path) = match text.split_once('=') {
            // A file may have a `=` in its name, and no platform looks like a path.
            Some((before, path)) if is_platform(before) => {
                let platform = Declared::parse(before).map_err(|error| error.to_string())?;
                (Some(platform), path)
            }
            Some((before, _)) if is_architecture(before) => {
                return Err(format!(
                    "{before} is no platform: write linux/{text}, or ./{text} for a file"
                ));
            }
            _ => (None, text),
        };
        if path.is_empty() {
            return Err(
                "it names no file: [PLATFORM=]PATH, such as linux/arm64=k3s-arm64.tar".into()
            );
        }
        Ok(Self { text: text.into(), platform, path: path.into() })
    }
}

/// Whether what stands before a `=` is meant as a platform: `linux/arm64`, and not `./a` or `/a/b`.
fn is_platform(text: &str) -> bool {
    !text.starts_with(['.', '/', '~']) && text.contains('/')
}

/// Whether `text` is an architecture without its system: `arm64`.
fn is_architecture(text: &str) -> bool {
    let platform = format!("linux/{text}").parse::<Platform>();
    !text.contains('/') && platform.is_ok_and(|platform| platform.oddity().is_none())
}

/// What `--name` says: a repository with a tag. The digest is the image's own.
pub(super) fn name(text: &str) -> Result<Reference, String> {
    let name: Reference = text.parse().map_err(|error: ReferenceError| error.to_string())?;
    if name.tag().is_none() || name.digest().is_some() {
        return Err("it is to be a repository with a tag, and without a digest: team/app:1".into());
    }
    Ok(name)
}

/// Refuses what cannot be meant.
pub(super) fn check(given: &[Given], trusts: bool, spools: bool) -> Result<()> {
    let mut seen = BTreeSet::new();
    for one in given {
        let text = &one.text;
        if !seen.insert((&one.path, one.platform.as_ref().map(|platform| &platform.text))) {
            bail!("--archive {text} is given twice");
        }
        if trusts && one.platform.is_none() {
            bail!(
                "--trust takes your word for the platform, and --archive {text} has none: write linux/arm64={text}, or \
                 what it is"
            );
        }
        if one.path == STDIN && !spools {
            bail!(
                "--archive {text} is standard input, which cannot be read twice: give --spool to have it written to a \
                 file first"
            );
        }
    }
    if given.iter().filter(|one| one.path == STDIN).count() > 1 {
        bail!("only one --archive can be standard input");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a.tar", None, "a.tar")]
    #[case("linux/arm64=a.tar", Some("linux/arm64"), "a.tar")]
    #[case("linux/arm/v7=a=b.tar", Some("linux/arm/v7"), "a=b.tar")]
    #[case("./dir=x/a.tar", None, "./dir=x/a.tar")]
    #[case("/dir=x/a.tar", None, "/dir=x/a.tar")]
    #[case("a=b.tar", None, "a=b.tar")]
    #[case("./arm64=a.tar", None, "./arm64=a.tar")]
    #[case("linux/arm64=-", Some("linux/arm64"), STDIN)]
    fn parses(#[case] text: &str, #[case] platform: Option<&str>, #[case] path: &str) {
        let given: Given = text.parse().unwrap();
        assert_eq!(given.platform.map(|platform| platform.text).as_deref(), platform);
        assert_eq!((given.path.as_str(), given.text.as_str()), (path, text));
    }

    #[rstest]
    #[case("", "it names no file")]
    #[case("linux/arm64=", "it names no file")]
    #[case("arm64=a.tar", "arm64 is no platform: write linux/arm64=a.tar")]
    #[case("unknown/unknown=a.tar", "attestations")]
    #[case("linux/arm64/v8/x=a.tar", "linux/arm64/v8/x")]
    fn refuses(#[case] text: &str, #[case] words: &str) {
        let error = text.parse::<Given>().unwrap_err();
        assert!(error.contains(words), "{error}");
    }

    #[rstest]
    #[case("team/app:1", Ok("docker.io/team/app:1"))]
    #[case("team/app", Err("a tag"))]
    #[case(
        "team/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        Err("with a tag, and without a digest")
    )]
    fn names(#[case] text: &str, #[case] expected: Result<&str, &str>) {
        match (name(text), expected) {
            (Ok(name), Ok(expected)) => assert_eq!(name.to_string(), expected),
            (Err(error), Err(words)) => assert!(error.contains(words), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[rstest]
    #[case::fine(&["linux/amd64=a.tar", "linux/arm64=b.tar", "c.tar"], false, false, None)]
    #[case::two_platforms_of_one(&["linux/amd64=a.tar", "linux/arm64=a.tar"], true, false, None)]
    #[case::twice(&["a.tar", "a.tar"], false, false, Some("--archive a.tar is given twice"))]
    #[case::trust(&["linux/amd64=a.tar", "b.tar"], true, false, Some("--archive b.tar has none"))]
    #[case::stdin(&["-"], false, false, Some("give --spool"))]
    #[case::spooled(&["-"], false, true, None)]
    #[case::stdin_twice(&["linux/amd64=-", "linux/arm64=-"], false, true, Some("only one"))]
    fn checks(
        #[case] given: &[&str],
        #[case] trusts: bool,
        #[case] spools: bool,
        #[case] words: Option<&str>,
    ) {
        let given: Vec<Given> = given.iter().map(|text| text.parse().unwrap()).collect();
        match (check(&given, trusts, spools), words) {
            (Ok(()), None) => {}
            (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }
}
