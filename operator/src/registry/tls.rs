//! The certificates of an object's Secrets: what a registry's own is checked by, and who the object is to it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};

/// The certificates of one object, by the hosts that they are for: an argument of every call, so
/// that one tenant's CA never vouches for what another tenant reads.
#[derive(Debug, Default)]
pub struct Certificates {
    of: BTreeMap<String, Arc<Tls>>,
    fingerprint: Option<Fingerprint>,
}

/// What TLS to one host is held to, beside the operator's CAs.
pub struct Tls {
    /// Name of the Secret that it was read from, for messages.
    pub secret: String,
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<Arc<CertifiedKey>>,
    fingerprint: Fingerprint,
}

/// Certificates and a key that cannot be read back. What differs here shares no connection, no token
/// and nothing that was learnt of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Certificates {
    /// Of pairs of `host[:port]`, as it is connected to, and what is for it.
    #[must_use]
    pub fn new(of: BTreeMap<String, Arc<Tls>>) -> Self {
        let mut hash = Sha256::new();
        for (host, tls) in &of {
            part(&mut hash, host.as_bytes());
            part(&mut hash, &tls.fingerprint.0);
        }
        let fingerprint = (!of.is_empty()).then(|| Fingerprint(hash.finalize().into()));
        Self { of, fingerprint }
    }

    /// What is for `host[:port]`, and for that one only.
    #[must_use]
    pub fn for_host(&self, host: &str) -> Option<&Arc<Tls>> {
        self.of.get(host)
    }

    /// Names of the Secrets that they were read from.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.of.values().map(|tls| tls.secret.as_str())
    }

    /// Of all of them; `None` where there are none.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }
}

impl Tls {
    /// From the keys `ca.crt`, `tls.crt` and `tls.key` of `secret`. An empty one is as good as none:
    /// cert-manager writes an empty `ca.crt` for issuers without one. The error goes on after the
    /// Secret's name and says nothing of the content.
    pub fn parse(
        secret: &str,
        ca: Option<&[u8]>,
        certificate: Option<&[u8]>,
        key: Option<&[u8]>,
    ) -> Result<Self, String> {
        let [ca, certificate, key] =
            [ca, certificate, key].map(|data| data.filter(|it| !it.trim_ascii().is_empty()));
        let authorities = ca.map_or(Ok(Vec::new()), |pem| authorities("the key ca.crt", pem))?;
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(Arc::new(pair(certificate, key)?)),
            (Some(_), None) => return Err("it has the key tls.crt without tls.key".into()),
            (None, Some(_)) => return Err("it has the key tls.key without tls.crt".into()),
            (None, None) if ca.is_none() => {
                return Err("it has neither the key ca.crt nor tls.crt with tls.key".into());
            }
            (None, None) => None,
        };
        let mut hash = Sha256::new();
        for data in [ca, certificate, key] {
            part(&mut hash, data.unwrap_or_default());
        }
        let fingerprint = Fingerprint(hash.finalize().into());
        Ok(Self { secret: secret.into(), authorities, identity, fingerprint })
    }

    /// The CAs that may vouch for the host, beside the operator's.
    #[must_use]
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// What the host is shown where it asks for a client certificate.
    #[must_use]
    pub fn identity(&self) -> Option<&Arc<CertifiedKey>> {
        self.identity.as_ref()
    }

    /// Of all that it holds.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// The CAs of a PEM file, at least one; `what` it is begins the sentence if it is refused.
pub fn authorities(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = chain(what, pem)?;
    let mut store = RootCertStore::empty();
    for (at, certificate) in found.iter().enumerate() {
        let at = at + 1;
        store
            .add(certificate.clone())
            .map_err(|_| format!("{what} holds a certificate that cannot be read, number {at}"))?;
    }
    Ok(found)
}

fn chain(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{what} is not a certificate in PEM (-----BEGIN CERTIFICATE-----)")),
    }
}

fn pair(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    use rustls::Error as E;
    let chain = chain("the key tls.crt", certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        "the key tls.key is not a private key in PEM (PKCS#8, PKCS#1 or SEC1, without a passphrase)"
    })?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
        E::InconsistentKeys(_) => "the private key tls.key is not the one of tls.crt".into(),
        E::InvalidCertificate(_) => {
            "the key tls.crt holds a certificate that cannot be read".into()
        }
        _ => "the key tls.key holds a private key of a kind that TLS has no use for".to_owned(),
    })
}

/// The length keeps (`ab`, `c`) and (`a`, `bc`) apart.
fn part(hash: &mut Sha256, data: &[u8]) {
    hash.update((data.len() as u64).to_be_bytes());
    hash.update(data);
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("secret", &self.secret).finish_non_exhaustive()
    }
}
