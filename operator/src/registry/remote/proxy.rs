//! The proxies of the environment: the variables that other programs read too.

use std::fmt;

use url::Url;

/// What the HTTP client takes to be the names of the proxies' hosts, so that an address which is allowed to a proxy is allowed to
/// nothing else. A URL that has one leads nowhere, which is what such names are for (RFC 6761, 6.4).
const ALIASES: [&str; 2] = ["https-proxy.invalid", "http-proxy.invalid"];

/// By which proxies registries are reached; by none where nothing else is said.
#[derive(Clone, Default)]
pub struct Proxies {
    https: Option<Url>,
    http: Option<Url>,
    no: String,
}

impl Proxies {
    /// From `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, or these in lower case. The error
    /// names the variable and shows nothing of it, since it may hold a password.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let of = |name: &str| {
            let text = variable(name).or_else(|| variable(&name.to_lowercase()));
            text.filter(|text| !text.trim().is_empty())
        };
        let proxy = |name: &str| of(name).map(|text| parse(name, text.trim())).transpose();
        let all = proxy("ALL_PROXY")?;
        let https = proxy("HTTPS_PROXY")?.or_else(|| all.clone());
        Ok(Self {
            https,
            http: proxy("HTTP_PROXY")?.or(all),
            no: of("NO_PROXY").unwrap_or_default(),
        })
    }

    /// Whether there is one for `url`, unless `NO_PROXY` names its host.
    pub(super) fn has_one_for(&self, url: &Url) -> bool {
        if url.scheme() == "https" { self.https.is_some() } else { self.http.is_some() }
    }

    /// The name of a proxy's host, by its alias.
    pub(super) fn host(&self, alias: &str) -> Option<&str> {
        let [https, http] = ALIASES;
        let proxies = [(https, &self.https), (http, &self.http)];
        let (_, proxy) = proxies.into_iter().find(|(name, _)| *name == alias)?;
        proxy.as_ref()?.domain()
    }

    /// As the HTTP client takes them.
    pub(super) fn all(&self) -> reqwest::Result<Vec<reqwest::Proxy>> {
        let [https, http] = ALIASES;
        let https = self.https.as_ref().map(|proxy| reqwest::Proxy::https(called(proxy, https)));
        let http = self.http.as_ref().map(|proxy| reqwest::Proxy::http(called(proxy, http)));
        let no = reqwest::NoProxy::from_string(&self.no);
        let both = [https, http].into_iter().flatten();
        both.map(|proxy| Ok(proxy?.no_proxy(no.clone()))).collect()
    }
}

/// Whether `name` stands for a proxy, and so for no other host.
pub(super) fn is_alias(name: &str) -> bool {
    ALIASES.contains(&name)
}

/// The same proxy by its alias, where its host has a name.
fn called(proxy: &Url, alias: &str) -> Url {
    let mut called = proxy.clone();
    if proxy.domain().is_some() {
        // It is a host's name.
        let _ = called.set_host(Some(alias));
    }
    called
}

/// TLS to the proxy itself is refused: it would be held to the CAs of the object whose request it is,
/// and be shown that one's client certificate.
fn parse(name: &str, text: &str) -> Result<Url, String> {
    let wrong = || format!("{name} is not http://[USER:PASSWORD@]HOST:PORT");
    let text = if text.contains("://") { text.into() } else { format!("http://{text}") };
    let url: Url = text.parse().map_err(|_| wrong())?;
    if url.scheme() == "http" && url.host_str().is_some() { Ok(url) } else { Err(wrong()) }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A proxy's URL may hold a password.
        f.debug_struct("Proxies").field("no", &self.no).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Proxies, String> {
        Proxies::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        })
    }

    #[rstest]
    #[case::none(&[], None, None)]
    #[case::each(&[("HTTPS_PROXY", "http://a:1"), ("HTTP_PROXY", "http://b:2")], Some("http://a:1/"), Some("http://b:2/"))]
    #[case::lower_case(&[("https_proxy", "http://a:1")], Some("http://a:1/"), None)]
    #[case::all(&[("ALL_PROXY", "a:1"), ("HTTP_PROXY", "b:2")], Some("http://a:1/"), Some("http://b:2/"))]
    #[case::empty(&[("HTTPS_PROXY", " ")], None, None)]
    fn reads(
        #[case] variables: &[(&str, &str)],
        #[case] https: Option<&str>,
        #[case] http: Option<&str>,
    ) {
        let read = read(variables).unwrap();
        assert_eq!(read.https.as_ref().map(Url::as_str), https);
        assert_eq!(read.http.as_ref().map(Url::as_str), http);
        assert_eq!(read.has_one_for(&"https://r.example.com".parse().unwrap()), https.is_some());
        assert_eq!(read.has_one_for(&"http://r.example.com".parse().unwrap()), http.is_some());
    }

    #[rstest]
    #[case("https://u:secret@proxy:3128")]
    #[case("socks5://u:secret@proxy:1080")]
    #[case("http://u:secret@[proxy")]
    fn refuses_and_shows_nothing_of_it(#[case] text: &str) {
        let why = read(&[("HTTPS_PROXY", text)]).unwrap_err();
        assert_eq!(why, "HTTPS_PROXY is not http://[USER:PASSWORD@]HOST:PORT");
        let taken = read(&[("HTTPS_PROXY", "http://u:secret@proxy:3128")]).unwrap();
        assert!(!format!("{taken:?}").contains("secret"));
    }
}
