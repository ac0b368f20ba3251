//! References: `host[:port]/repository[:tag][@digest]`, in one canonical spelling.

use std::{borrow::Cow, fmt, net::Ipv6Addr, str::FromStr, sync::Arc};

use oci_client::{ParseError, Reference as Grammar};

use super::{Digest, printable, redacted};

/// A repository on a registry, in canonical spelling: Docker Hub is always `docker.io`, and its
/// official images are under `library/`. Or the images of one in an archive: no text names it, so that nobody
/// can have a file of ours read by writing its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    host: String,
    path: String,
    /// The archive that it is in.
    archive: Option<Arc<str>>,
}

/// A reference to a manifest, in canonical spelling; it has a tag, a digest or both (then the
/// digest decides).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// What a manifest is asked for by: `<reference>` in the distribution spec.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagOrDigest {
    /// A name that can move.
    Tag(String),
    /// Content.
    Digest(Digest),
}

/// Why a string is no reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not an image reference: {why}")]
pub struct ReferenceError {
    /// The string as it was given, without a user's name and password, cut to a length that is safe
    /// to show.
    pub text: String,
    /// What is wrong with it, for people.
    pub why: String,
}

impl Repository {
    /// What the archive called `archive` has of `repository`: another repository than that on its registry, and than
    /// what any other archive has of it.
    #[must_use]
    pub fn in_archive(archive: &str, repository: &Self) -> Self {
        Self { archive: Some(archive.into()), ..repository.clone() }
    }

    /// The archive that it is in. Such a repository is on no registry: its host and path are those of its images'
    /// names, and nothing is asked of that host for it.
    #[must_use]
    pub fn archive(&self) -> Option<&str> {
        self.archive.as_deref()
    }

    /// The repository on its registry that is called so, whatever archive this one is in.
    #[must_use]
    pub fn outside(&self) -> Self {
        Self { archive: None, ..self.clone() }
    }

    /// Whether one registry has both.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        self.host == other.host && self.archive.is_none() && other.archive.is_none()
    }

    /// `host[:port]`, lower case, as the user names it (`docker.io`, not the API's host).
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path below the host, `library/debian`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `host[:port]` to connect to: `registry-1.docker.io` for Docker Hub, else the host.
    #[must_use]
    pub fn api_host(&self) -> &str {
        api_host(&self.host)
    }

    /// The reference `self:tag`.
    #[must_use]
    pub fn tag(&self, tag: &str) -> Reference {
        Reference { repository: self.clone(), tag: Some(tag.into()), digest: None }
    }

    /// The reference `self@digest`.
    #[must_use]
    pub fn digest(&self, digest: &Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest.clone()) }
    }
}

/// Whether `text` is a tag by the distribution spec's grammar. No digest is.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && word(text.as_bytes()[0])
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

impl Reference {
    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, where there is one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where the reference is pinned.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask the registry for: the digest where there is one, else the tag.
    #[must_use]
    pub fn tag_or_digest(&self) -> TagOrDigest {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => TagOrDigest::Digest(digest.clone()),
            // There is a tag where there is no digest: nothing makes a reference without both.
            (None, tag) => TagOrDigest::Tag(tag.clone().unwrap_or_default()),
        }
    }

    /// What the archive called `archive` has under it.
    #[must_use]
    pub fn in_archive(&self, archive: &str) -> Self {
        Self { repository: Repository::in_archive(archive, &self.repository), ..self.clone() }
    }

    /// The same reference pinned to `digest`: `host/repository:tag@digest`.
    #[must_use]
    pub fn pinned_to(&self, digest: &Digest) -> Self {
        Self { digest: Some(digest.clone()), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|why| ReferenceError { text: redacted(text), why: why.into() })
    }
}

/// What Docker Hub is called.
const DOCKER_HUB: &str = "docker.io";

/// The longest text that is taken for a reference, in bytes: host 259, repository 255, tag 128,
/// digest 135, and what separates them.
const LONGEST: usize = 1024;

/// The grammar is oci-client's, held to distribution/reference's by a table that distribution's own
/// code wrote. What they disagree on is decided here: the host, the tag's alphabet, and digests.
fn parse(text: &str) -> Result<Reference, Cow<'static, str>> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.len() > LONGEST {
        return Err("it is longer than 1024 bytes".into());
    }
    if let Some(scheme) = scheme(text) {
        return Err(format!("leave out {scheme}://").into());
    }
    let (host, rest) = split_host(text);
    let is_upper = host.bytes().any(|byte| byte.is_ascii_uppercase());
    let host = canonical_host(host).map_err(|why| match why {
        // `Rancher/pause:3.1`: whoever writes so does not mean a host.
        NO_HOST if is_upper => "a repository's name is lower case, and a host has a dot or a port",
        why => why,
    })?;
    // Official images have no namespace. A tag or a digest has no slash.
    let rest = if host == DOCKER_HUB && !rest.contains('/') {
        format!("library/{rest}")
    } else {
        rest.into()
    };
    // Any host will do: oci-client knows neither IPv6 addresses nor that `Upper/case` names one.
    let no_digest = || wrong_length(&rest).unwrap_or(Cow::Borrowed(NO_DIGEST));
    let parsed =
        Grammar::try_from(format!("host.invalid/{rest}")).map_err(|error| match error {
            ParseError::NameTooLong => "its repository is longer than 255 characters".into(),
            ParseError::DigestInvalidFormat
            | ParseError::DigestInvalidLength
            | ParseError::DigestUnsupported => no_digest(),
            _ if rest.starts_with([':', '@']) || rest.is_empty() => "it names no repository".into(),
            _ if rest.split([':', '@']).next().is_some_and(|path| path != path.to_lowercase()) => {
                "its repository is not in lower case".into()
            }
            _ => wrong_length(&rest).unwrap_or(Cow::Borrowed(NO_REFERENCE)),
        })?;
    let digest = parsed.digest().map(str::parse).transpose().map_err(|_| no_digest())?;
    // oci-client adds `latest`, which the text does not have. Behind the repository's last slash
    // and before the digest, a colon is a tag's.
    let named = rest.split('@').next().unwrap_or_default();
    let tag = named.contains(':').then(|| parsed.tag().map(String::from)).flatten();
    // Its `\w` is Unicode's, distribution's is ASCII's.
    if tag.as_ref().is_some_and(|tag| !tag.is_ascii()) {
        return Err("its tag has other characters than letters, digits, dots, - and _".into());
    }
    if tag.is_none() && digest.is_none() {
        return Err("name a tag or a digest".into());
    }
    let repository = Repository { host, path: parsed.repository().into(), archive: None };
    Ok(Reference { repository, tag, digest })
}

const NO_DIGEST: &str = "its digest is no sha256 or sha512 digest in lower-case hex";
const NO_REFERENCE: &str = "it is not of the form host/repository:tag or host/repository@digest";
const NO_HOST: &str = "its host has no dot and no port";

/// The scheme of what is a URL, and no reference: `https`.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let begins = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    (begins && scheme.len() <= LONGEST_SCHEME && scheme.bytes().all(of_scheme)).then_some(scheme)
}

/// The longest text before `://` that is shown, in bytes.
const LONGEST_SCHEME: usize = 32;

/// What is wrong with the digest behind the `@` of `rest`, where it has too few hex digits or too many.
fn wrong_length(rest: &str) -> Option<Cow<'static, str>> {
    let (_, digest) = rest.split_once('@')?;
    let (algorithm, hex) = digest.split_once(':')?;
    let length = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => return None,
    };
    let is_hex = !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && hex.len() != length).then(|| {
        let has = hex.len();
        format!("a {algorithm} digest has {length} hex digits, and this one has {has}").into()
    })
}

/// The host that a reference names, and the rest; as docker finds them: a first part with a dot, a
/// colon or an upper-case letter is a host, and so is `localhost`; without one it is Docker Hub's.
fn split_host(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DOCKER_HUB, text),
    }
}

/// Whether `text` names its registry, and is not short for one of Docker Hub's.
#[must_use]
pub fn names_host(text: &str) -> bool {
    text.split_once('/').is_some_and(|(first, _)| split_host(text).0 == first)
}

/// `host[:port]` to connect to for the registry that users call `host`.
#[must_use]
pub fn api_host(host: &str) -> &str {
    if host == DOCKER_HUB { "registry-1.docker.io" } else { host }
}

/// The one spelling of a registry's `host[:port]`: lower case, the port without leading zeros and
/// never 443, an IPv6 address in its shortest form, and `docker.io` for all names of Docker Hub.
/// The error is a sentence for people.
///
/// 443 is dropped under `plainHTTP` too, where it would be another server; no one runs that.
pub fn canonical_host(text: &str) -> Result<String, &'static str> {
    let lower = text.to_ascii_lowercase();
    let (name, port) = match lower.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (lower.as_str(), None),
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
            Ok(0) | Err(_) => return Err("the port of its host is not between 1 and 65535"),
            Ok(port) => Some(port),
        },
        Some(_) => return Err("the port of its host is not a number"),
    };
    let name = match name.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
        None => name.to_string(),
        Some(address) => match address.map(str::parse::<Ipv6Addr>) {
            // Neither do they parse as a reference in distribution, nor is it clear whose they are.
            Some(Ok(address)) if address.to_ipv4_mapped().is_none() => format!("[{address}]"),
            _ => return Err("its host is not an IPv6 address in brackets"),
        },
    };
    let label = |label: &str| {
        let hyphen = label.starts_with('-') || label.ends_with('-');
        !hyphen
            && !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !name.starts_with('[') && !name.split('.').all(label) {
        return Err("its host is not a name or an address, with or without a port");
    }
    if matches!(name.as_str(), DOCKER_HUB | "index.docker.io" | "registry-1.docker.io")
        && matches!(port, None | Some(443u16))
    {
        return Ok(DOCKER_HUB.into());
    }
    // Without its port, a name without a dot would read as a namespace of Docker Hub.
    let is_host = name == "localhost" || name.contains(['.', ':']);
    match port {
        None | Some(443) if is_host => Ok(name),
        Some(port) => Ok(format!("{name}:{port}")),
        None => Err(NO_HOST),
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(archive) = &self.archive {
            write!(f, "{}#", printable(archive))?;
        }
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const UPPER: &str = "a repository's name is lower case, and a host has a dot or a port";
    const SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[rstest]
    #[case("registry.example.com/team/app:1.0", "registry.example.com/team/app:1.0")]
    #[case("debian:12", "docker.io/library/debian:12")]
    #[case("team/app:1", "docker.io/team/app:1")]
    #[case("docker.io/debian:12", "docker.io/library/debian:12")]
    #[case("index.docker.io/debian:12", "docker.io/library/debian:12")]
    #[case("registry-1.docker.io/library/debian:12", "docker.io/library/debian:12")]
    #[case("DOCKER.io:443/debian:12", "docker.io/library/debian:12")]
    #[case::tag_that_looks_like_a_port(
        "registry.example.com:5000",
        "docker.io/library/registry.example.com:5000"
    )]
    #[case("localhost/app:1", "localhost/app:1")]
    #[case("LOCALHOST/app:1", "localhost/app:1")]
    #[case("localhost:443/app:1", "localhost/app:1")]
    #[case("Registry.Example.COM/app:V1", "registry.example.com/app:V1")]
    #[case("registry.example.com:443/app:1", "registry.example.com/app:1")]
    #[case("registry.example.com:0443/app:1", "registry.example.com/app:1")]
    #[case("registry.example.com:5000/app:1", "registry.example.com:5000/app:1")]
    #[case::no_dot_keeps_its_port("registry:443/app:1", "registry:443/app:1")]
    #[case("10.0.0.1:80/app:1", "10.0.0.1:80/app:1")]
    #[case("[::1]:5000/app:1", "[::1]:5000/app:1")]
    #[case("[2001:DB8:0::1]:443/app:1", "[2001:db8::1]/app:1")]
    fn parses(#[case] text: &str, #[case] canonical: &str) {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(reference));
    }

    #[rstest]
    #[case::empty("", "it is empty")]
    #[case::no_tag("registry.example.com/app", "name a tag or a digest")]
    #[case::no_repository("registry.example.com/:1", "it names no repository")]
    #[case::no_repository_digest("registry.example.com/", "it names no repository")]
    #[case::upper("registry.example.com/Team/app:1", "its repository is not in lower case")]
    #[case::upper_name("Debian:12", "its repository is not in lower case")]
    #[case::underscores(
        "a.b/a___b:1",
        "it is not of the form host/repository:tag or host/repository@digest"
    )]
    #[case::braces(
        "a.b/c:{tag}",
        "it is not of the form host/repository:tag or host/repository@digest"
    )]
    #[case::newline(
        "a.b/c:1\n",
        "it is not of the form host/repository:tag or host/repository@digest"
    )]
    #[case::scheme("https://a.b/c:1", "leave out https://")]
    #[case::scheme_alone("http://x/y:1", "leave out http://")]
    #[case::scheme_of_tools("docker://a.b:5000/c:1", "leave out docker://")]
    #[case::scheme_and_a_user("https://user:pass@a.b/c:1", "leave out https://")]
    #[case::no_scheme("a_b://c:1", "the port of its host is not between 1 and 65535")]
    #[case::upper_first("Rancher/coredns:1.8.3", UPPER)]
    #[case::tag_alphabet(
        "a.b/c:é",
        "its tag has other characters than letters, digits, dots, - and _"
    )]
    #[case::algorithm(&format!("a.b/c@sha384:{}", "0".repeat(96)), NO_DIGEST)]
    #[case::short(&format!("a.b/c@{}", &SHA256[..70]), "a sha256 digest has 64 hex digits, and this one has 63")]
    #[case::very_short(
        "rancher/klipper-lb:v0.3.4@sha256:deadbeef",
        "a sha256 digest has 64 hex digits, and this one has 8"
    )]
    #[case::longer(&format!("a.b/c@{SHA256}0"), "a sha256 digest has 64 hex digits, and this one has 65")]
    #[case::of_another_algorithm(
        &format!("a.b/c@{}", SHA256.replace("sha256", "sha512")),
        "a sha512 digest has 128 hex digits, and this one has 64"
    )]
    #[case::upper_hex(&format!("a.b/c@{}", SHA256.replace('e', "E")), NO_DIGEST)]
    #[case::host_alone("Host/app:1", UPPER)]
    #[case::port("a.b:65536/c:1", "the port of its host is not between 1 and 65535")]
    #[case::port_0("a.b:0/c:1", "the port of its host is not between 1 and 65535")]
    #[case::port_name("a.b:http/c:1", "the port of its host is not a number")]
    #[case::label("-a.b/c:1", "its host is not a name or an address, with or without a port")]
    #[case::labels("a..b/c:1", "its host is not a name or an address, with or without a port")]
    #[case::underscore("a_b.c/d:1", "its host is not a name or an address, with or without a port")]
    #[case::user("user:pass@a.b/c:1", "the port of its host is not a number")]
    #[case::zone("[fe80::1%eth0]/c:1", "its host is not an IPv6 address in brackets")]
    #[case::mapped("[::ffff:127.0.0.1]/c:1", "its host is not an IPv6 address in brackets")]
    #[case::open("[::1/c:1", "its host is not an IPv6 address in brackets")]
    #[case::long(&format!("a.b/{}:1", "a".repeat(256)), "its repository is longer than 255 characters")]
    #[case::very_long(&"a".repeat(2000), "it is longer than 1024 bytes")]
    fn refuses(#[case] text: &str, #[case] why: &str) {
        let error = text.parse::<Reference>().unwrap_err();
        assert_eq!(error.why, why);
        assert!(error.text.len() <= 200);
        assert!(!error.to_string().contains('\n'));
    }

    #[rstest]
    #[case("1.0", true)]
    #[case("_x-Y.9", true)]
    #[case(&"a".repeat(128), true)]
    #[case(&"a".repeat(129), false)]
    #[case("", false)]
    #[case(".a", false)]
    #[case("-a", false)]
    #[case("a/b", false)]
    #[case("a?b", false)]
    #[case("é", false)]
    #[case(SHA256, false)]
    fn tags(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(is_tag(text), expected);
    }

    #[test]
    fn parts() {
        let digest: Digest = SHA256.parse().unwrap();
        let text = format!("a.b:5000/team/app:1@{SHA256}");
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), text);
        assert_eq!(reference.tag(), Some("1"));
        assert_eq!(reference.digest(), Some(&digest));
        assert_eq!(reference.tag_or_digest(), TagOrDigest::Digest(digest.clone()));
        assert_eq!(reference.tag_or_digest().to_string(), SHA256);
        let repository = reference.repository();
        assert_eq!((repository.host(), repository.path()), ("a.b:5000", "team/app"));
        assert_eq!(repository.api_host(), "a.b:5000");
        assert_eq!(repository.to_string(), "a.b:5000/team/app");
        let tagged = repository.tag("1");
        assert_eq!(tagged.tag_or_digest(), TagOrDigest::Tag("1".into()));
        assert_eq!(tagged.pinned_to(&digest), reference);
        let pinned = repository.digest(&digest);
        assert_eq!(pinned, format!("a.b:5000/team/app@{SHA256}").parse().unwrap());
        assert_eq!(pinned.tag(), None);
    }

    #[test]
    fn what_is_in_an_archive_is_another_repository() {
        let reference: Reference = "rancher/pause:3.1".parse().unwrap();
        let there = reference.repository();
        let arm = Repository::in_archive("k3s-arm64.tar", there);
        assert_eq!((arm.host(), arm.path()), (there.host(), there.path()));
        assert_eq!((arm.archive(), there.archive()), (Some("k3s-arm64.tar"), None));
        assert_eq!(arm.outside(), *there);
        let amd = Repository::in_archive("k3s-amd64.tar", there);
        assert!(arm != *there && amd != arm && amd < arm && *there < amd);
        assert!(there.is_beside(there) && !arm.is_beside(there) && !there.is_beside(&arm));
        assert!(!arm.is_beside(&arm));
    }

    #[rstest]
    #[case::name("k3s-arm64.tar", "k3s-arm64.tar#docker.io/rancher/pause:3.1")]
    #[case::path("./my dir/a.tar", "./my dir/a.tar#docker.io/rancher/pause:3.1")]
    #[case::escapes("a\x1b[2J\n.tar", "a\u{fffd}[2J\u{fffd}.tar#docker.io/rancher/pause:3.1")]
    #[case::like_a_host("r.example.com", "r.example.com#docker.io/rancher/pause:3.1")]
    #[case::nothing("", "#docker.io/rancher/pause:3.1")]
    fn nobody_can_name_what_is_in_an_archive(#[case] archive: &str, #[case] shown: &str) {
        let reference: Reference = "rancher/pause:3.1".parse().unwrap();
        let inside = Repository::in_archive(archive, reference.repository()).tag("3.1");
        assert_eq!(inside.to_string(), shown);
        assert!(shown.parse::<Reference>().is_err());
    }

    #[rstest]
    #[case("INDEX.docker.io", "docker.io")]
    #[case("Registry.example.com:0443", "registry.example.com")]
    #[case("registry:5000", "registry:5000")]
    #[case("[0:0::1]:5000", "[::1]:5000")]
    fn hosts(#[case] text: &str, #[case] canonical: &str) {
        assert_eq!(canonical_host(text).as_deref(), Ok(canonical));
        assert_eq!(canonical_host(canonical).as_deref(), Ok(canonical));
    }

    #[rstest]
    #[case("")]
    #[case("registry")]
    #[case("*.example.com")]
    #[case("example.com/path")]
    fn no_hosts(#[case] text: &str) {
        canonical_host(text).unwrap_err();
    }

    #[test]
    fn docker_hub_answers_elsewhere() {
        let reference: Reference = "debian:12".parse().unwrap();
        assert_eq!(reference.repository().host(), "docker.io");
        assert_eq!(reference.repository().api_host(), "registry-1.docker.io");
    }
}
