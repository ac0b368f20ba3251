//! A registry, or a part of one: `host[:port]` or `host[:port]/path`, compared as hosts and by whole path segments.

use std::{fmt, str::FromStr};

use super::{Repository, redacted, reference::canonical_host};

/// A registry, or the repositories of one below a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    host: String,
    path: String,
}

/// The longest path that a repository has, in bytes.
const LONGEST: usize = 255;

impl Prefix {
    /// Of all names of a host, which are one (`index.docker.io` is `docker.io`), and a path, where an
    /// empty one is all of the registry. The error is a sentence for people.
    pub fn new(host: &str, path: &str) -> Result<Self, &'static str> {
        let (host, path) = (canonical_host(host)?, path.trim_matches('/'));
        if path.is_empty() || (path.len() <= LONGEST && path.split('/').all(is_segment)) {
            Ok(Self { host, path: path.into() })
        } else {
            Err("its path is none of a repository: a-z, 0-9, ., _ and - between slashes")
        }
    }

    /// `host[:port]`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path; empty for all of the registry.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether `repository` is in it. A host that only begins or ends with its name is another one.
    #[must_use]
    pub fn covers(&self, repository: &Repository) -> bool {
        let below = repository.path().strip_prefix(&*self.path);
        self.host == repository.host()
            && (self.path.is_empty()
                || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

/// Whether it may stand between the slashes of a repository's path.
fn is_segment(segment: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    segment.bytes().all(|byte| word(byte) || b"._-".contains(&byte))
        && segment.bytes().next().is_some_and(word)
}

impl FromStr for Prefix {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        for scheme in ["http://", "https://"] {
            if let Some(rest) = text.strip_prefix(scheme) {
                let shown = format!("{scheme}{}", redacted(rest));
                return Err(format!("{shown:?}: leave out {scheme}"));
            }
        }
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        Self::new(host, path).map_err(|why| format!("{:?}: {why}", redacted(text)))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, "/{}", self.path) }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::oci::Reference;

    #[rstest]
    #[case("r.example.com", "r.example.com/a", true)]
    #[case("r.example.com", "r.example.com:5000/a", false)]
    #[case("r.example.com:5000", "r.example.com:5000/a", true)]
    #[case("r.example.com", "r.example.com.evil.tld/a", false)]
    #[case("example.com", "r.example.com/a", false)]
    #[case("r.example.com/team", "r.example.com/team", true)]
    #[case("r.example.com/team/", "r.example.com/team/app", true)]
    #[case("r.example.com/team", "r.example.com/team-b/app", false)]
    #[case("r.example.com/team", "r.example.com/other/team", false)]
    #[case("R.Example.com:443", "r.example.com/a", true)]
    #[case("docker.io", "index.docker.io/library/debian", true)]
    #[case("registry-1.docker.io/library", "debian", true)]
    #[case("docker.io/acme", "docker.io/acme/app", true)]
    #[case("docker.io/acme", "debian", false)]
    fn covers(#[case] prefix: &str, #[case] repository: &str, #[case] covered: bool) {
        let prefix: Prefix = prefix.parse().unwrap();
        let reference: Reference = format!("{repository}:x").parse().unwrap();
        assert_eq!(prefix.covers(reference.repository()), covered, "{prefix}");
    }

    #[test]
    fn a_scheme_is_to_be_left_out() {
        let why = "http://user:secret@r.example.com".parse::<Prefix>().unwrap_err();
        assert!(why.ends_with("leave out http://") && !why.contains("secret"), "{why}");
    }

    #[rstest]
    #[case("")]
    #[case("*")]
    #[case("*.example.com")]
    #[case("https://r.example.com")]
    #[case("user@r.example.com")]
    #[case("r.example.com/*")]
    #[case("r.example.com/a/../b")]
    #[case("r.example.com/a//b")]
    #[case("r.example.com/A")]
    #[case("r.example.com/a:1")]
    fn refuses(#[case] text: &str) {
        assert!(text.parse::<Prefix>().is_err());
    }
}
