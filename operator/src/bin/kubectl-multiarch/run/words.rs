//! pure: what the operator says of a run → the same for who has run a command: it waits for nothing, and has flags where an object has fields.

use super::results::SourceResult;

/// What was asked for, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Objects, which have the fields.
    Objects,
    /// Images of a list.
    Images,
    /// Images in archives.
    Archives,
}

/// A field that advice names, and what stands in its place.
const FLAGS: [(&str, &str, &[Asks]); 5] = [
    ("removalPolicy", "--removal-policy retain or remove", &[Asks::Images, Asks::Archives]),
    ("the source's platforms", "correct --archive, or --trust", &[Asks::Archives]),
    ("platformPolicy", "--archive PLATFORM=PATH with --trust", &[Asks::Archives]),
    ("the source's platforms", "correct --platform", &[Asks::Images]),
    ("plainHTTP", "--plain-http HOST", &[Asks::Objects, Asks::Images, Asks::Archives]),
];

/// What the operator calls what is not there yet.
const WAITING: &str = "waiting for ";

impl Asks {
    /// `message` with the flags that do what it advises.
    pub(crate) fn advised(self, message: String) -> String {
        let fits = |(field, _, asks): &&(&str, &str, &[Asks])| {
            asks.contains(&self) && message.contains(field)
        };
        let flags: Vec<_> = FLAGS.iter().filter(fits).map(|(_, flag, _)| *flag).collect();
        if flags.is_empty() { message } else { format!("{message} (here: {})", flags.join("; ")) }
    }
}

/// `message`, where nobody waits any more for what it names: what `sources` lack stands in the place of their names.
pub(super) fn ended(message: &str, sources: &[SourceResult]) -> String {
    let Some(lacking) = message.strip_prefix(WAITING) else { return message.into() };
    let mut said = lacking.to_owned();
    let mut begins = false;
    for SourceResult { name, image, message, .. } in sources {
        let Some(absence) = message else { continue };
        let alone = format!("source {name} ({image})");
        begins |= said.starts_with(&alone);
        said = said.replace(&alone, absence);
        said = said.replace(&format!("(source {name}, {image})"), &format!("({absence})"));
    }
    if begins { said } else { format!("lacking {said}") }
}

#[cfg(test)]
mod tests {
    use multiarch_crds::v1alpha1::SourceState;
    use rstest::rstest;

    use super::*;

    fn source(name: &str, message: Option<&str>) -> SourceResult {
        SourceResult {
            name: name.into(),
            image: format!("r/{name}:1"),
            state: SourceState::Missing,
            digest: None,
            message: message.map(Into::into),
        }
    }

    #[rstest]
    #[case::gone("waiting for source a (r/a:1)", "r/a:1 is not there (HTTP 404)")]
    #[case::two(
        "waiting for source a (r/a:1), linux/arm64 (source b, r/b:1)",
        "r/a:1 is not there (HTTP 404), linux/arm64 (r/b:1 is not there)"
    )]
    #[case::declared(
        "waiting for linux/arm64 (source b, r/b:1), linux/riscv64 (no source provides it)",
        "lacking linux/arm64 (r/b:1 is not there), linux/riscv64 (no source provides it)"
    )]
    #[case::fine("waiting for source c (r/c:1)", "lacking source c (r/c:1)")]
    #[case::other("a source failed", "a source failed")]
    fn nothing_is_waited_for(#[case] message: &str, #[case] expected: &str) {
        let sources = [
            source("a", Some("r/a:1 is not there (HTTP 404)")),
            source("b", Some("r/b:1 is not there")),
            source("c", None),
        ];
        assert_eq!(ended(message, &sources), expected);
    }

    #[rstest]
    #[case(Asks::Images, "set removalPolicy to Retain", "--removal-policy retain or remove")]
    #[case(Asks::Archives, "set removalPolicy to Retain", "--removal-policy retain or remove")]
    #[case(Asks::Objects, "set removalPolicy to Retain", "")]
    #[case(Asks::Archives, "correct the source's platforms, or", "correct --archive, or --trust")]
    #[case(Asks::Objects, "(is plainHTTP missing?)", "--plain-http HOST")]
    #[case(Asks::Images, "HTTP 500", "")]
    fn flags_are_named(#[case] asks: Asks, #[case] message: &str, #[case] flag: &str) {
        let here = if flag.is_empty() { String::new() } else { format!(" (here: {flag})") };
        assert_eq!(asks.advised(message.into()), format!("{message}{here}"));
    }
}
