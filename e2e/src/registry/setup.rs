//! How a registry is set up: its configuration, and the files that this names.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    tls::Certificates,
    tokens::{ISSUER, SERVICE, Tokens},
};

/// Somebody with a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Login {
    /// The name.
    pub user: &'static str,
    /// The password.
    pub password: &'static str,
    /// Both, as htpasswd writes them (bcrypt, at its lowest cost).
    htpasswd: &'static str,
}

/// Whom the registry of a test lets in.
pub const CI: Login = Login {
    user: "ci",
    password: "correct horse",
    htpasswd: "ci:$2a$04$t0fBwWt9jslnES8AjiHzeOIlybKrp2Bo3cHSJD0q6gjv3FlPjR/ru\n",
};
/// Whom the registry of somebody else lets in.
pub const READER: Login = Login {
    user: "reader",
    password: "battery staple",
    htpasswd: "reader:$2a$04$ThYSDPBCpn6dj.3uPp3QPO.u0UwA.cRF0Sm0ilW1VYceVLpK.kL4u\n",
};

/// Who is let in beside [`READER`] where there are two.
pub const BOTH: Login = Login {
    htpasswd: "ci:$2a$04$t0fBwWt9jslnES8AjiHzeOIlybKrp2Bo3cHSJD0q6gjv3FlPjR/ru\nreader:$2a$04$ThYSDPBCpn6dj.3uPp3QPO.u0UwA.cRF0Sm0ilW1VYceVLpK.kL4u\n",
    ..CI
};

/// Where a registry keeps what it is given.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Storage {
    /// In its memory.
    #[default]
    Memory,
    /// In files beside its log: for layers that fill a memory, and for who looks at them.
    Files,
}

/// Whom a registry lets in.
#[derive(Clone, Copy, Debug, Default)]
pub enum Auth<'a> {
    /// Everyone.
    #[default]
    Everyone,
    /// Who has one of these passwords. The first is the test's own.
    Password(&'a [Login]),
    /// Who has a token of this server's.
    Token(&'a Tokens),
}

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug, Default)]
pub enum Wire<'a> {
    /// Without TLS.
    #[default]
    Plain,
    /// It shows a certificate of these.
    Tls(&'a Certificates),
    /// And it wants one by the same CA.
    MutualTls(&'a Certificates),
}

/// How a registry is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup<'a> {
    /// Whom it lets in.
    pub auth: Auth<'a>,
    /// How it is spoken to.
    pub wire: Wire<'a>,
    /// Where it keeps what it is given.
    pub storage: Storage,
    /// Whether its Locations name its host, which who comes by the proxy does not want to know.
    pub absolute: bool,
    /// Where it is reached; on loopback, at a port of the kernel's, unless it says otherwise.
    pub at: Option<SocketAddr>,
}

impl<'a> Wire<'a> {
    /// The certificates, where there are any.
    #[must_use]
    pub fn certificates(self) -> Option<&'a Certificates> {
        match self {
            Self::Plain => None,
            Self::Tls(certificates) | Self::MutualTls(certificates) => Some(certificates),
        }
    }
}

impl Setup<'_> {
    /// Its configuration, whose files lie in `folder`. JSON is YAML.
    pub(super) fn config(&self, folder: &Path) -> Result<Value> {
        let write = |name: &str, content: &str| -> Result<_> {
            let file = folder.join(name);
            fs::write(&file, content).with_context(|| format!("failed to write {name}"))?;
            Ok(file)
        };
        let mut config = json!({
            "version": "0.1",
            "log": {"accesslog": {"disabled": true}, "level": "info"},
            "storage": {
                "delete": {"enabled": true},
                "maintenance": {"uploadpurging": {"enabled": false}},
            },
            "http": {"addr": "127.0.0.1:0", "relativeurls": !self.absolute, "secret": "e2e"},
        });
        match self.storage {
            Storage::Memory => config["storage"]["inmemory"] = json!({}),
            Storage::Files => {
                config["storage"]["filesystem"] = json!({"rootdirectory": folder.join("storage")});
            }
        }
        match self.auth {
            Auth::Everyone => {}
            Auth::Password(logins) => {
                let lines: String = logins.iter().map(|login| login.htpasswd).collect();
                let file = write("htpasswd", &lines)?;
                config["auth"] = json!({"htpasswd": {"realm": "e2e", "path": file}});
            }
            Auth::Token(tokens) => {
                let keys = write("jwks.json", &tokens.signer().jwks().to_string())?;
                config["auth"] = json!({"token": {
                    "realm": tokens.realm(), "service": SERVICE, "issuer": ISSUER, "jwks": keys,
                }});
            }
        }
        if let (Some(at), Some(_)) = (self.at, self.wire.certificates()) {
            // Nothing is before it.
            config["http"]["addr"] = json!(at.to_string());
        }
        if let Some(Certificates { ca, server, .. }) = self.wire.certificates() {
            let (certificate, key) =
                (write("tls.crt", &server.certificate)?, write("tls.key", &server.key)?);
            config["http"]["tls"] = json!({"certificate": certificate, "key": key});
            if let Wire::MutualTls(_) = self.wire {
                config["http"]["tls"]["clientcas"] = json!([write("ca.crt", ca)?]);
            }
        }
        Ok(config)
    }
}
