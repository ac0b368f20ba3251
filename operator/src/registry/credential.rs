//! A credential: what proves who asks, and where it came from.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// A credential, and where it came from.
#[derive(Clone)]
pub struct Credential {
    /// Where it came from, for messages.
    pub origin: Origin,
    /// What proves who asks.
    pub proof: Proof,
    /// Origin and path of the token realm that the Secret itself trusts with it, beside those that
    /// are trusted for everyone.
    pub token_realm: Option<String>,
}

/// Where a credential came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The Secret of this name.
    Secret(String),
    /// The credential provider of this name: it is the operator's own.
    Provider(String),
    /// This file of who runs the command: `~/.docker/config.json`.
    File(String),
    /// This credential helper of who runs the command: `docker-credential-pass`.
    Helper(String),
}

/// What proves who asks.
#[derive(Clone)]
pub enum Proof {
    /// For Basic, and for the token endpoint.
    Password {
        /// The user's name.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// What a token endpoint gave once, to get tokens by: `identitytoken` in a Docker config file,
    /// `refresh_token` in OAuth.
    IdentityToken {
        /// The name that goes with it where it is sent as a password.
        username: String,
        /// The token.
        token: SecretString,
    },
    /// A token for the registry itself, which is sent as it is: `registrytoken`.
    RegistryToken(SecretString),
}

/// A credential that cannot be read back. What differs here shares no token and no answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity([u8; 32]);

impl Credential {
    /// A username and a password from the Secret called `secret`.
    #[must_use]
    pub fn of_password(secret: &str, username: &str, password: &str) -> Self {
        let (username, password) = (username.into(), password.into());
        Self {
            origin: Origin::Secret(secret.into()),
            proof: Proof::Password { username, password },
            token_realm: None,
        }
    }
}

impl Origin {
    /// The name of the Secret, where it is one.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Secret(name) => Some(name),
            Self::Provider(_) | Self::File(_) | Self::Helper(_) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(name) => write!(f, "Secret {name}"),
            Self::Provider(name) => write!(f, "provider {name}"),
            Self::File(name) | Self::Helper(name) => f.write_str(name),
        }
    }
}

impl PartialEq for Proof {
    /// Whether a registry takes both for the same who.
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &SecretString, b: &SecretString| a.expose_secret() == b.expose_secret();
        match (self, other) {
            (
                Self::Password { username, password },
                Self::Password { username: name, password: word },
            ) => username == name && same(password, word),
            (
                Self::IdentityToken { username, token },
                Self::IdentityToken { username: name, token: other },
            ) => username == name && same(token, other),
            (Self::RegistryToken(token), Self::RegistryToken(other)) => same(token, other),
            _ => false,
        }
    }
}

impl Identity {
    pub(crate) fn of(credential: &Credential) -> Self {
        let (kind, username, secret) = match &credential.proof {
            Proof::Password { username, password } => (0, username.as_str(), password),
            Proof::IdentityToken { username, token } => (1, username.as_str(), token),
            Proof::RegistryToken(token) => (2, "", token),
        };
        let mut hash = Sha256::new();
        hash.update([kind]);
        // The length keeps (`ab`, `c`) and (`a`, `bc`) apart.
        hash.update((username.len() as u64).to_be_bytes());
        hash.update(username);
        hash.update(secret.expose_secret());
        Self(hash.finalize().into())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("origin", &self.origin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_the_whole_credential() {
        let of = |username: &str, password: &str| {
            Identity::of(&Credential::of_password("s", username, password))
        };
        let ab_c = of("ab", "c");
        assert!(ab_c == of("ab", "c"));
        assert!(ab_c != of("a", "bc"));
        assert!(ab_c != of("ab", "d"));
        let (username, token) = ("ab".into(), "c".into());
        let proof = Proof::IdentityToken { username, token };
        assert!(
            ab_c != Identity::of(&Credential { proof, ..Credential::of_password("s", "", "") })
        );
    }
}
