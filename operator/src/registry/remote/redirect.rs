//! Where a redirect may lead: reads follow within bounds, writes never leave the host.

use reqwest::{Method, StatusCode};
use url::Url;

/// The next URL of a redirect, `None` where the answer is none, and else why it is refused; the
/// sentence goes on after "answered … with" and shows no query.
pub(super) fn next(
    from: &Url,
    method: &Method,
    status: StatusCode,
    location: Option<&str>,
) -> Result<Option<Url>, String> {
    let read = matches!(*method, Method::GET | Method::HEAD);
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = location else {
        return Err(format!(
            "a redirect (HTTP {status}) that does not say where to",
            status = status.as_u16()
        ));
    };
    let to = joined(from, location, "a redirect")?;
    if !read && from.origin() != to.origin() {
        return Err(format!(
            "a redirect of a {method} to another host ({}), where no write goes",
            authority(&to)
        ));
    }
    // 301, 302 and 303 turn a write into a GET in most clients, which would count as success.
    if !read && !matches!(status.as_u16(), 307 | 308) {
        return Err(format!("a redirect of a {method} by HTTP {}", status.as_u16()));
    }
    Ok(Some(to))
}

/// Where an upload goes on, which is never another host, but where the admin trusts `registry` with that
/// one. Two names of one host are two hosts.
pub(super) fn upload(
    from: &Url,
    location: &str,
    (registry, trusted): (&str, &[(String, String)]),
) -> Result<Url, String> {
    let to = joined(from, location, "an upload Location")?;
    let host = authority(&to);
    if from.origin() == to.origin() || trusted.iter().any(|(of, to)| of == registry && *to == host)
    {
        return Ok(to);
    }
    Err(format!(
        "an upload Location on another host ({host}), where no write goes (if it is the registry's, ask \
         the operator's admin for --upload-host {registry}={host})"
    ))
}

/// Where a list goes on.
pub(super) fn next_page(from: &Url, link: &str) -> Result<Url, String> {
    joined(from, link, "a Link")
}

/// What `location` names, seen from `from`; `what` it is begins the sentence if it is refused.
fn joined(from: &Url, location: &str, what: &str) -> Result<Url, String> {
    let Ok(to) = from.join(location) else {
        return Err(format!("{what} to something that is not a URL"));
    };
    if !matches!(to.scheme(), "http" | "https") || to.host_str().is_none() {
        return Err(format!("{what} to something that is neither http nor https"));
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(format!("{what} to a URL that holds a credential"));
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(format!(
            "{what} from https to http (on {}): the registry's external URL or \
             X-Forwarded-Proto is wrong",
            authority(&to)
        ));
    }
    Ok(to)
}

/// `host[:port]` of a URL, the part that is safe to show.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.into(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const FROM: &str = "https://r.example.com/v2/a/blobs/sha256:1";

    #[rstest]
    #[case(200, Some("/x"), None)]
    #[case(304, Some("/x"), None)]
    #[case(307, Some("/x?sig=1"), Some("https://r.example.com/x?sig=1"))]
    #[case(301, Some("../b"), Some("https://r.example.com/v2/a/b"))]
    #[case(302, Some("//cdn.example.com/x"), Some("https://cdn.example.com/x"))]
    #[case(303, Some("https://cdn.example.com:8443/x"), Some("https://cdn.example.com:8443/x"))]
    fn reads_follow(#[case] status: u16, #[case] location: Option<&str>, #[case] to: Option<&str>) {
        let status = StatusCode::from_u16(status).unwrap();
        let next = next(&FROM.parse().unwrap(), &Method::GET, status, location).unwrap();
        assert_eq!(next.as_ref().map(Url::as_str), to);
    }

    #[rstest]
    #[case(Method::GET, 307, None, "does not say where")]
    #[case(Method::GET, 307, Some("https://[bad/"), "not a URL")]
    #[case(Method::GET, 307, Some("file:///etc/passwd"), "neither http nor https")]
    #[case(Method::GET, 307, Some("https://u:p@r.example.com/"), "holds a credential")]
    #[case(
        Method::HEAD,
        308,
        Some("http://r.example.com/x?s=1"),
        "from https to http (on r.example.com): the registry's external URL"
    )]
    #[case(
        Method::PUT,
        307,
        Some("https://evil.example.com/x?s=1"),
        "to another host (evil.example.com)"
    )]
    #[case(
        Method::PUT,
        307,
        Some("https://r.example.com:8443/x"),
        "to another host (r.example.com:8443)"
    )]
    #[case(Method::PUT, 302, Some("/x"), "a redirect of a PUT by HTTP 302")]
    #[case(Method::POST, 307, Some("https://evil.example.com/"), "of a POST to another host")]
    fn refused(
        #[case] method: Method,
        #[case] status: u16,
        #[case] location: Option<&str>,
        #[case] why: &str,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let refused = next(&FROM.parse().unwrap(), &method, status, location).unwrap_err();
        assert!(refused.contains(why), "{refused}");
        assert!(!refused.contains("s=1"), "{refused} shows a query");
    }

    #[rstest]
    #[case("/v2/b/blobs/uploads/1?_state=s", "https://r.example.com/v2/b/blobs/uploads/1?_state=s")]
    #[case("2", "https://r.example.com/v2/a/blobs/2")]
    #[case("https://r.example.com:443/u", "https://r.example.com/u")]
    fn uploads_stay(#[case] location: &str, #[case] to: &str) {
        let at = upload(&FROM.parse().unwrap(), location, ("r.example.com", &[])).unwrap();
        assert_eq!(at.as_str(), to);
    }

    #[rstest]
    #[case("https://evil.example.com/u?s=1", "on another host (evil.example.com)")]
    #[case("//r.example.com:8443/u", "on another host (r.example.com:8443)")]
    #[case("http://r.example.com/u?s=1", "an upload Location from https to http")]
    #[case("https://u:p@r.example.com/", "holds a credential")]
    #[case("unix:/run/registry", "neither http nor https")]
    fn uploads_never_leave(#[case] location: &str, #[case] why: &str) {
        let refused = upload(&FROM.parse().unwrap(), location, ("r.example.com", &[])).unwrap_err();
        assert!(refused.contains(why), "{refused}");
        assert!(!refused.contains("s=1"), "{refused} shows a query");
    }

    #[rstest]
    #[case("r.example.com", "https://up.example.com/u", true)]
    #[case("r.example.com", "https://up.example.com:8443/u", false)]
    #[case("r.example.com", "http://up.example.com/u", false)]
    #[case("r.example.com", "https://up.example.com.evil.tld/u", false)]
    #[case("other.example.com", "https://up.example.com/u", false)]
    fn uploads_leave_for_a_trusted_host(
        #[case] registry: &str,
        #[case] location: &str,
        #[case] taken: bool,
    ) {
        let trusted = [("r.example.com".to_owned(), "up.example.com".to_owned())];
        let at = upload(&FROM.parse().unwrap(), location, (registry, &trusted));
        assert_eq!(at.is_ok(), taken, "{at:?}");
    }

    #[test]
    fn a_write_stays_with_its_body_on_the_host() {
        let next = next(
            &FROM.parse().unwrap(),
            &Method::PUT,
            StatusCode::PERMANENT_REDIRECT,
            Some("/v2/b/manifests/1"),
        );
        assert_eq!(next.unwrap().unwrap().as_str(), "https://r.example.com/v2/b/manifests/1");
    }
}
