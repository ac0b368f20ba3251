//! `WWW-Authenticate`: which way of proving who asks a registry wants.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use url::Url;

/// The longest realm, service or list of scopes that is taken: they are kept with every token.
const LONGEST: usize = 1024;

/// How a host wants to be asked. It holds no secret: it is kept by host, for everyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Username and password with each request.
    Basic,
    /// A token from `realm`.
    Bearer { realm: Url, service: Option<String> },
}

/// A challenge, and what this one request would have needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) challenge: Challenge,
    /// The scopes that it names, for a host that is only known by a redirect.
    pub(super) scopes: Vec<String>,
}

/// The challenge of an answer that is taken up: Bearer before Basic, others are left alone. An
/// error is a sentence's end that says why the only one is refused.
pub(super) fn offer(headers: &HeaderMap) -> Result<Option<Offer>, String> {
    let mut basic = None;
    let mut refused = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(value) = value.to_str() else { continue };
        for (scheme, parameters) in parse(value) {
            let parameter = |name: &str| {
                let found = parameters.iter().find(|(key, _)| key == name);
                found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
            };
            if scheme == "basic" {
                basic = Some(Offer { challenge: Challenge::Basic, scopes: Vec::new() });
            } else if scheme == "bearer" {
                let service = parameter("service").map(Into::into);
                let scopes = parameter("scope").unwrap_or_default();
                let long = ["realm", "service", "scope"]
                    .iter()
                    .any(|name| parameter(name).is_some_and(|value| value.len() > LONGEST));
                match parameter("realm").map(realm) {
                    _ if long => {
                        refused = Some(format!("a Bearer challenge of more than {LONGEST} bytes"));
                    }
                    Some(Ok(realm)) => {
                        return Ok(Some(Offer {
                            challenge: Challenge::Bearer { realm, service },
                            scopes: scopes.split_whitespace().map(Into::into).collect(),
                        }));
                    }
                    Some(Err(why)) => refused = Some(why),
                    None => refused = Some("a Bearer challenge without realm".into()),
                }
            }
        }
    }
    match (basic, refused) {
        (None, Some(why)) => Err(why),
        (basic, _) => Ok(basic),
    }
}

/// A realm that can be asked at all; whether it may see a credential is decided elsewhere.
fn realm(text: &str) -> Result<Url, String> {
    let Ok(mut url) = Url::parse(text) else {
        return Err("a Bearer challenge whose realm is not a URL".into());
    };
    let web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    if !web || !url.username().is_empty() || url.password().is_some() {
        return Err("a Bearer challenge whose realm is not a plain http or https URL".into());
    }
    url.set_fragment(None);
    Ok(url)
}

type Parsed = (String, Vec<(String, String)>);

/// The challenges of one header value (RFC 9110, 11.6.1), scheme and names in lower case. What
/// does not fit the grammar ends the parse, and what came before it counts.
fn parse(value: &str) -> Vec<Parsed> {
    let mut challenges: Vec<Parsed> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            return challenges;
        }
        let behind = after.trim_start_matches([' ', '\t']);
        // `name=value` belongs to the challenge before it; anything else opens the next one.
        if let Some(argument) = behind.strip_prefix('=')
            && let Some((_, parameters)) = challenges.last_mut()
        {
            let Some((argument, after)) = quoted_or_token(argument.trim_start_matches([' ', '\t']))
            else {
                return challenges;
            };
            parameters.push((word.to_ascii_lowercase(), argument));
            rest = after;
        } else {
            challenges.push((word.to_ascii_lowercase(), Vec::new()));
            rest = after;
        }
    }
}

fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)));
    text.split_at(end.unwrap_or(text.len()))
}

fn quoted_or_token(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Wider than a token: some registries do not quote their realm.
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return Some((text[..end].into(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn offered(values: &[&str]) -> Result<Option<Offer>, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        offer(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Offer {
        Offer {
            challenge: Challenge::Bearer {
                realm: realm.parse().unwrap(),
                service: service.map(Into::into),
            },
            scopes: scopes.iter().map(|&scope| scope.into()).collect(),
        }
    }

    #[rstest]
    #[case::hub(
        r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
        bearer("https://auth.docker.io/token", Some("registry.docker.io"), &["repository:a/b:pull,push"])
    )]
    #[case::stale(
        r#"bearer realm="https://r/t?x=1", service = "s" ,error="insufficient_scope""#,
        bearer("https://r/t?x=1", Some("s"), &[])
    )]
    #[case::unquoted("Bearer realm=https://r.example.com/token,service=r", bearer("https://r.example.com/token", Some("r"), &[]))]
    #[case::escaped(r#"Bearer realm="https://r/t",service="a\"b, c=d""#, bearer("https://r/t", Some("a\"b, c=d"), &[]))]
    #[case::after_basic(r#"Basic realm="x, y", Bearer realm="https://r/t""#, bearer("https://r/t", None, &[]))]
    #[case::scopes(r#"Bearer realm="https://r/t",scope="a:b:c d:e:f""#, bearer("https://r/t", None, &["a:b:c", "d:e:f"]))]
    #[case::cut(r#"Bearer realm="https://r/t",service="never ends"#, bearer("https://r/t", None, &[]))]
    fn bearer_challenges(#[case] value: &str, #[case] expected: Offer) {
        assert_eq!(offered(&[value]), Ok(Some(expected)));
    }

    #[test]
    fn bearer_goes_before_basic_over_several_headers() {
        let both = offered(&["Negotiate", r#"Basic realm="r""#, r#"Bearer realm="https://r/t""#]);
        assert_eq!(both, Ok(Some(bearer("https://r/t", None, &[]))));
        let basic = offered(&["Negotiate abc==", "BASIC"]).unwrap().unwrap();
        assert_eq!(basic.challenge, Challenge::Basic);
    }

    #[rstest]
    #[case("", Ok(None))]
    #[case("Negotiate", Ok(None))]
    #[case("\"", Ok(None))]
    #[case("Bearer", Err("a Bearer challenge without realm"))]
    #[case("Bearer realm=\"\"", Err("a Bearer challenge without realm"))]
    #[case("Bearer realm=\"/token\"", Err("a Bearer challenge whose realm is not a URL"))]
    #[case::long(
        &format!("Bearer realm=\"https://r/t\",service=\"{}\"", "s".repeat(1025)),
        Err("a Bearer challenge of more than 1024 bytes")
    )]
    #[case(
        "Bearer realm=\"ftp://r/t\"",
        Err("a Bearer challenge whose realm is not a plain http or https URL")
    )]
    #[case(
        "Bearer realm=\"https://u:p@r/t\"",
        Err("a Bearer challenge whose realm is not a plain http or https URL")
    )]
    fn others(#[case] value: &str, #[case] expected: Result<Option<Offer>, &str>) {
        assert_eq!(offered(&[value]), expected.map_err(Into::into));
    }
}
