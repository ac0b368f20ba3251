//! The distribution project's registry, in each way that people run it, and who may push there.

#![allow(dead_code, reason = "each suite uses its own part")]

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use multiarch_e2e::{
    registry::{Auth, CI, READER, Registry, Setup, Storage, Wire},
    tls::{Certificates as Made, Pair},
    tokens::{Tokens, User},
};
use multiarch_operator::registry::{
    Access, Certificates, Credential,
    remote::{Limits, Options, Remote},
    tls::Tls,
};

pub(crate) const USER: &str = CI.user;
pub(crate) const PASSWORD: &str = CI.password;

/// Whom it asks for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    Nobody,
    /// A password with each request, of a file by htpasswd.
    Password,
    /// A token, from a server of another origin that the admin trusts.
    Token,
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Plain,
    /// By a CA of its own.
    Tls,
    /// And it wants certificates by the same CA.
    MutualTls,
}

/// A running registry, and its token server.
pub(crate) struct Real {
    pub(crate) registry: Registry,
    pub(crate) tokens: Option<Tokens>,
    made: Made,
    asks: Asks,
    speaks: Speaks,
    /// It is asked by way of its proxy, which counts.
    counted: bool,
    _folder: tempfile::TempDir,
}

impl Real {
    /// One for [`USER`], who may do everything.
    pub(crate) async fn start(asks: Asks, speaks: Speaks) -> Self {
        let users = vec![User::new(USER, PASSWORD, &[("team/*", "pull,push,delete")])];
        Self::run(asks, speaks, users, false).await
    }

    /// One of which every request is written down, for `users` of its tokens, or else for [`CI`] and
    /// [`READER`].
    pub(crate) async fn counted(asks: Asks, users: Vec<User>) -> Self {
        Self::run(asks, Speaks::Plain, users, true).await
    }

    async fn run(asks: Asks, speaks: Speaks, users: Vec<User>, counted: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Made::make().unwrap();
        let tokens = match asks {
            Asks::Token => Some(Tokens::start(&made, users).await.unwrap()),
            Asks::Nobody | Asks::Password => None,
        };
        let auth = match (asks, &tokens) {
            (Asks::Token, Some(tokens)) => Auth::Token(tokens),
            (Asks::Password, _) => Auth::Password(&[CI, READER]),
            _ => Auth::Everyone,
        };
        let wire = match speaks {
            Speaks::Plain => Wire::Plain,
            Speaks::Tls => Wire::Tls(&made),
            Speaks::MutualTls => Wire::MutualTls(&made),
        };
        // In files, what is left open can be counted; in memory it is faster.
        let storage = if counted { Storage::Memory } else { Storage::Files };
        let setup = Setup { auth, wire, storage, absolute: !counted, at: None };
        let registry = Registry::start_as(folder.path(), &setup).await.unwrap();
        Self { registry, tokens, made, asks, speaks, counted, _folder: folder }
    }

    pub(crate) fn host(&self) -> &str {
        if self.counted { self.registry.proxy.address() } else { self.registry.address() }
    }

    pub(crate) fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// What the admin says of it.
    pub(crate) fn options(&self) -> Options {
        Options {
            allow_loopback: true,
            allow_http: true,
            token_realms: self.token_realms(),
            // It is ours, and has nobody else to serve.
            limits: Limits { a_second: 1000.0, ..Limits::default() },
            ..Options::default()
        }
    }

    pub(crate) fn token_realms(&self) -> Vec<(String, String)> {
        let tokens = self.tokens.iter();
        tokens.map(|tokens| (self.host().to_owned(), tokens.realm())).collect()
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote::new(self.options()).unwrap()
    }

    /// Who may do everything here, with what it takes to be heard.
    pub(crate) fn who(&self) -> Access {
        let login = (self.asks != Asks::Nobody).then_some((USER, PASSWORD));
        self.access(login, true)
    }

    /// Who trusts its CA, and has nothing to show.
    pub(crate) fn trusting(&self) -> Access {
        self.access(None, false)
    }

    fn access(&self, login: Option<(&str, &str)>, shows: bool) -> Access {
        let credential = login.map(|(name, word)| Credential::of_password("push", name, word));
        let certificates = self.certificates().into_iter().map(|(host, ca, pair)| {
            let pair = pair.filter(|_| shows);
            let certificate = pair.map(|pair| pair.certificate.as_bytes());
            let key = pair.map(|pair| pair.key.as_bytes());
            let tls = Tls::parse("registry-tls", Some(ca.as_bytes()), certificate, key).unwrap();
            (host.to_owned(), Arc::new(tls))
        });
        let certificates = Arc::new(Certificates::new(certificates.collect::<BTreeMap<_, _>>()));
        let plain_http = self.speaks == Speaks::Plain;
        Access { credential, certificates, plain_http, ..Access::default() }
    }

    /// The same in the words of a user: a Docker config file, and a Secret for each host.
    pub(crate) fn logins(&self) -> Option<String> {
        let login = serde_json::json!({"username": USER, "password": PASSWORD});
        let logins = serde_json::json!({"auths": {(self.host()): login}});
        (self.asks != Asks::Nobody).then(|| logins.to_string())
    }

    /// A Secret with certificates for each host that wants them.
    pub(crate) fn secrets(&self) -> Vec<(String, Secret)> {
        let secret = |(host, ca, pair): (&str, &str, Option<&Pair>)| {
            let mut data = BTreeMap::from([("ca.crt", ca)]);
            data.extend(pair.iter().map(|pair| ("tls.crt", pair.certificate.as_str())));
            data.extend(pair.iter().map(|pair| ("tls.key", pair.key.as_str())));
            let bytes = |(key, text): (&str, &str)| (key.to_owned(), ByteString(text.into()));
            let data = Some(data.into_iter().map(bytes).collect());
            (host.to_owned(), Secret { data, ..Secret::default() })
        };
        self.certificates().into_iter().map(secret).collect()
    }

    /// By host: whose certificate is trusted there, and what is shown.
    pub(crate) fn certificates(&self) -> Vec<(&str, &str, Option<&Pair>)> {
        let ca = self.made.ca.as_str();
        let pair = (self.speaks == Speaks::MutualTls).then_some(&self.made.client);
        let own = (self.speaks != Speaks::Plain).then_some((self.host(), ca, pair));
        let tokens = self.tokens.as_ref().map(|tokens| (tokens.host(), ca, None));
        own.into_iter().chain(tokens).collect()
    }
}
