//! pure: what a kubelet means by a pattern of images: globs for the labels of a host, a port, and the beginning of a path.

use crate::oci::Repository;

/// A pattern, `*.dkr.ecr.*.amazonaws.com` or `registry.example.com:5000/team`.
///
/// A kubelet makes a URL of it (k8s.io/kubernetes, pkg/credentialprovider/keyring.go). What of a URL is of no use
/// here, such as a user or a query, is refused instead of passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    labels: Vec<String>,
    port: String,
    path: String,
}

impl Pattern {
    /// Reads one. The error is a sentence for people.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains("://") {
            return Err("leave out the scheme: a pattern begins with a host");
        }
        if let Some(bad) = text.chars().find(|char| char.is_control() || "@?#%\\ ".contains(*char))
        {
            return Err(match bad {
                '@' => "leave out the user: a pattern begins with a host",
                _ => "it is of a host, a port and a path, with * in the host only",
            });
        }
        let end = text.find('/').unwrap_or(text.len());
        let (host, path) = text.split_at(end);
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => {
                rest.split_once("]:").ok_or("an IPv6 address needs its port behind it")?
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("its port is not a number: * stands for no port");
        }
        let address = host.starts_with('[');
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte);
        if name.is_empty() {
            return Err("it names no host");
        } else if !name.bytes().all(|byte| in_name(byte) || (address && byte == b':')) {
            return Err("its host is no name: only * stands for other characters");
        }
        let labels = name.split('.').map(ToOwned::to_owned).collect();
        Ok(Self { labels, port: port.into(), path: path.into() })
    }

    /// Whether it is for `repository`: label by label, so that no `*` spans a dot; the same port; and the path begins
    /// with its path, also within a segment.
    pub(super) fn is_for(&self, repository: &Repository) -> bool {
        let (name, port) = split(repository.host());
        let mut labels = name.split('.');
        let path = self.path.strip_prefix('/').unwrap_or_default();
        self.port == port
            && self.labels.iter().all(|glob| labels.next().is_some_and(|label| fits(glob, label)))
            && labels.next().is_none()
            && repository.path().starts_with(path)
    }
}

/// The name and the port of a host. An IPv6 address has its brackets where there is no port, as a kubelet splits it.
fn split(host: &str) -> (&str, &str) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
            (address.unwrap_or(name), port)
        }
        _ => (host, ""),
    }
}

/// Whether `label` is what `glob` says, in which `*` stands for any characters.
fn fits(glob: &str, label: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else { return glob == label };
    let Some(mut label) = label.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return label.ends_with(part);
        }
        // The earliest place leaves the most for the others.
        match label.find(part) {
            Some(at) => label = &label[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::oci::Reference;

    fn repository(text: &str) -> Repository {
        format!("{text}:x").parse::<Reference>().unwrap().repository().clone()
    }

    /// The kubelet's own table is in operator/tests/fixtures/kubelet.json; these are what it says in words.
    #[rstest]
    #[case::host("r.example.com", "r.example.com/team/app", true)]
    #[case::a_longer_name("r.example.com", "r.example.com.evil.tld/team/app", false)]
    #[case::a_shorter_name("r.example.com", "example.com/team/app", false)]
    #[case::one_label("*.example.com", "r.example.com/app", true)]
    #[case::not_two_labels("*.example.com", "a.r.example.com/app", false)]
    #[case::not_none("*.example.com", "example.com/app", false)]
    #[case::a_part_of_a_label("r*y.example.com", "registry.example.com/app", true)]
    #[case::ends_too_early("r*y.example.com", "registryx.example.com/app", false)]
    #[case::nothing_for_a_star("registry*.example.com", "registry.example.com/app", true)]
    #[case::one_character_is_not_two("a*a.io", "a.io/app", false)]
    #[case::port("r.io:5000", "r.io:5000/app", true)]
    #[case::no_port("r.io", "r.io:5000/app", false)]
    #[case::another_port("r.io:5000", "r.io:50000/app", false)]
    #[case::path("r.io/team", "r.io/team/app", true)]
    #[case::path_within_a_segment("r.io/team", "r.io/team-b/app", true)]
    #[case::a_whole_segment("r.io/team/", "r.io/team-b/app", false)]
    #[case::no_star_in_a_path("r.io/*", "r.io/team", false)]
    fn is_for(#[case] pattern: &str, #[case] image: &str, #[case] expected: bool) {
        assert_eq!(Pattern::parse(pattern).unwrap().is_for(&repository(image)), expected);
    }

    #[rstest]
    #[case("", "no host")]
    #[case(":5000", "no host")]
    #[case("/team", "no host")]
    #[case("https://r.io", "leave out the scheme")]
    #[case("robot@r.io", "leave out the user")]
    #[case("r.io:*", "port is not a number")]
    #[case("r.io:5000:1", "port is not a number")]
    #[case("r[ab].io", "only * stands for")]
    #[case("r?.io", "* in the host only")]
    #[case("r.io/a%2Fb", "* in the host only")]
    #[case("[::1]", "needs its port")]
    #[case("r .io", "* in the host only")]
    #[case("r.io\n", "* in the host only")]
    fn refuses(#[case] text: &str, #[case] why: &str) {
        let said = Pattern::parse(text).unwrap_err();
        assert!(said.contains(why), "{text:?}: {said}");
    }

    proptest! {
        /// A host without a star is for itself and no other.
        #[test]
        fn a_host_is_for_itself(a in "[a-z]{1,5}(\\.[a-z]{1,5}){1,3}", b in "[a-z]{1,5}(\\.[a-z]{1,5}){1,3}") {
            let pattern = Pattern::parse(&a).unwrap();
            let (itself, other) = (format!("{a}/app"), format!("{b}/app"));
            prop_assert!(pattern.is_for(&repository(&itself)));
            prop_assert_eq!(pattern.is_for(&repository(&other)), a == b);
            let longer = repository(&format!("{a}.{b}/app"));
            prop_assert!(!pattern.is_for(&longer));
        }

        /// Whatever a star stands for fits, and no dot does.
        #[test]
        fn a_star_stands_for_a_part_of_a_label(
            parts in prop::collection::vec("[a-z]{0,3}", 2..5),
            gaps in prop::collection::vec("[a-z]{0,3}", 4),
        ) {
            let glob = parts.join("*");
            let mut label = String::new();
            for (part, gap) in parts.iter().zip(&gaps) {
                label = label + part + gap;
            }
            let whole = label.strip_suffix(gaps[parts.len() - 1].as_str()).unwrap();
            prop_assert!(fits(&glob, whole), "{} {}", glob, whole);
            let pattern = Pattern::parse(&format!("x{glob}.io")).unwrap();
            let (one, two) = (format!("x{whole}.io/app"), format!("x{whole}.y.io/app"));
            prop_assert!(pattern.is_for(&repository(&one)));
            prop_assert!(!pattern.is_for(&repository(&two)));
        }

        #[test]
        fn never_panics(text in ".{0,40}", image in "[a-z]{1,4}\\.io/[a-z]{1,4}") {
            if let Ok(pattern) = Pattern::parse(&text) {
                pattern.is_for(&repository(&image));
            }
        }
    }
}
