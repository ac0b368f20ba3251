//! Which token endpoints may see a credential (REGISTRY.md rule 3).

use url::Url;

/// Registries whose own documentation sends credentials to a realm of another origin.
const BUILT_IN: [(&str, &str); 2] = [
    ("docker.io", "https://auth.docker.io/token"),
    ("registry.gitlab.com", "https://gitlab.com/jwt/auth"),
];

/// Whether the credential for `registry`, which is asked at `at`, may be sent to `realm`.
pub(super) fn with_credential(registry: &str, at: &Url, realm: &Url) -> bool {
    realm.origin() == at.origin() || BUILT_IN.contains(&(registry, shown(realm).as_str()))
}

/// The part of a realm that is compared and shown: origin and path.
pub(super) fn shown(realm: &Url) -> String {
    let mut shown = realm.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("docker.io", "https://registry-1.docker.io", "https://auth.docker.io/token", true)]
    #[case("docker.io", "https://registry-1.docker.io", "https://auth.docker.io/token?a=b", true)]
    #[case("docker.io", "https://registry-1.docker.io", "https://auth.docker.io/other", false)]
    #[case("docker.io", "https://registry-1.docker.io", "http://auth.docker.io/token", false)]
    #[case("r.example.com", "https://r.example.com", "https://auth.docker.io/token", false)]
    #[case(
        "registry.gitlab.com",
        "https://registry.gitlab.com",
        "https://gitlab.com/jwt/auth",
        true
    )]
    #[case("r.example.com", "https://r.example.com", "https://gitlab.com/jwt/auth", false)]
    #[case("r.example.com", "https://r.example.com", "https://r.example.com:443/token", true)]
    #[case("r.example.com", "https://r.example.com", "https://r.example.com:8443/token", false)]
    #[case("r.example.com", "https://r.example.com", "http://r.example.com/token", false)]
    #[case("r.example.com", "https://r.example.com", "https://r.example.com.evil.tld/token", false)]
    fn pairs(#[case] registry: &str, #[case] at: Url, #[case] realm: Url, #[case] trusted: bool) {
        assert_eq!(with_credential(registry, &at, &realm), trusted);
    }
}
