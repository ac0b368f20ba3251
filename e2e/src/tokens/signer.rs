//! A key that tokens are signed by, as distribution verifies them: EdDSA, named in a set of keys.

use std::{fmt, sync::Arc};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ED25519, SigningKey};
use serde_json::{Value, json};

/// The name of the one key.
const KEY: &str = "e2e";
/// Who signs.
pub const ISSUER: &str = "e2e";
/// For whom.
pub const SERVICE: &str = "registry";

/// The key.
#[derive(Clone)]
pub struct Signer(Arc<KeyPair>);

impl Signer {
    /// Makes one.
    pub fn make() -> Result<Self> {
        let pair = KeyPair::generate_for(&PKCS_ED25519).context("failed to make a key")?;
        Ok(Self(Arc::new(pair)))
    }

    /// What verifies it, as a registry reads it.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key_raw());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": KEY, "x": x});
        json!({"keys": [key]})
    }

    /// A token of `user` that is good for what `granted` says, from `now` on and for `seconds`.
    pub fn sign(
        &self,
        user: &str,
        granted: &[super::Scope],
        number: u64,
        (now, seconds): (u64, u64),
    ) -> Result<String> {
        let access: Vec<_> = granted
            .iter()
            .map(|scope| {
                let (name, actions) = (&scope.repository, &scope.actions);
                json!({"type": "repository", "name": name, "actions": actions})
            })
            .collect();
        let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": KEY});
        let claims = json!({
            "iss": ISSUER, "sub": user, "aud": SERVICE, "jti": number.to_string(),
            "iat": now, "nbf": now, "exp": now + seconds, "access": access,
        });
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.0.sign(signed.as_bytes()).context("failed to sign a token")?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}
