//! A CA of a test's own, with a certificate for a registry and one for who asks it.

mod listener;

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::{Value, json};

pub use self::listener::Listener;

/// A CA, and what it has issued.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The CA's own certificate, in PEM.
    pub ca: String,
    /// For a registry.
    pub server: Pair,
    /// For who asks.
    pub client: Pair,
}

/// A certificate and its private key, in PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl Certificates {
    /// Makes them for a registry on the loopback.
    pub fn make() -> Result<Self> {
        Self::make_for(&["127.0.0.1"])
    }

    /// Makes them for a registry with these names and addresses.
    pub fn make_for(names: &[&str]) -> Result<Self> {
        let mut params = named("a CA of a test")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().context("failed to make a key")?;
        let ca = params.self_signed(&key).context("failed to make a CA")?.pem();
        let issuer = Issuer::new(params, key);
        let server =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let server = server.context("no name")?;
        let mut client = named("a client of a test")?;
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(Self { ca, server: issued(&server, &issuer)?, client: issued(&client, &issuer)? })
    }

    /// An HTTP client that trusts the CA alone, and shows the certificate for who asks.
    pub fn client_of(&self) -> Result<reqwest::Client> {
        let ca = reqwest::Certificate::from_pem(self.ca.as_bytes()).context("no CA")?;
        let pair = format!("{}{}", self.client.certificate, self.client.key);
        let identity = reqwest::Identity::from_pem(pair.as_bytes()).context("no identity")?;
        // It asks for a provider; a second installation is refused, and the first is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).identity(identity);
        client.build().context("failed to set up an HTTP client")
    }
}

impl Pair {
    /// Both as the keys of a Secret.
    #[must_use]
    pub fn data(&self) -> Value {
        json!({"tls.crt": STANDARD.encode(&self.certificate), "tls.key": STANDARD.encode(&self.key)})
    }
}

fn named(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new([]).context("failed to begin a certificate")?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn issued(params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<Pair> {
    let key = KeyPair::generate().context("failed to make a key")?;
    let certificate = params.signed_by(&key, issuer).context("failed to issue a certificate")?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}
