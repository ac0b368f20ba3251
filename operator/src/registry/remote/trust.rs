//! Which token endpoints may see a credential (REGISTRY.md rule 3).

use url::Url;

/// Registries whose own documentation sends credentials to a realm of another origin.
const BUILT_IN: [(&str, &str); 2] = [
    ("docker.io", "https://auth.docker.io/token"),
    ("registry.gitlab.com", "https://gitlab.com/jwt/auth"),
];

/// Whether the credential for `registry`, which is asked at `at`, may be sent to `realm`: to its own
/// origin, where that pair is built in or trusted by the operator's flags (`admins`), or where the
/// Secret that holds it says so (`owners`).
pub(super) fn with_credential(
    (registry, at): (&str, &Url),
    realm: &Url,
    admins: &[(String, String)],
    owners: Option<&str>,
) -> bool {
    let shown = shown(realm);
    realm.origin() == at.origin()
        || BUILT_IN.contains(&(registry, shown.as_str()))
        || admins.iter().any(|(host, realm)| host == registry && *realm == shown)
        || owners == Some(shown.as_str())
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
        assert_eq!(with_credential((registry, &at), &realm, &[], None), trusted);
    }

    #[test]
    fn the_admin_trusts_a_pair_and_a_secret_its_own_realm() {
        let at = "https://r.example.com".parse().unwrap();
        let realm: Url = "https://auth.example.com/token?service=r".parse().unwrap();
        let trusted = |registry: &str, realm: &Url, owners: Option<&str>| {
            let admins = [("r.example.com".into(), "https://auth.example.com/token".into())];
            with_credential((registry, &at), realm, &admins, owners)
        };
        assert!(trusted("r.example.com", &realm, None));
        assert!(!trusted("other.example.com", &realm, None));
        assert!(trusted("other.example.com", &realm, Some("https://auth.example.com/token")));
        let elsewhere: Url = "https://auth.example.com/steal".parse().unwrap();
        assert!(!trusted("r.example.com", &elsewhere, Some("https://auth.example.com/token")));
    }
}
