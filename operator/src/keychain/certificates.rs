//! Secrets → the certificates that an object has for its registries.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;

use super::{Got, Keychain, KeychainError, get, version};
use crate::registry::tls::Tls;

impl Keychain {
    /// The same with the certificates of the Secrets called `names`, read as the others are.
    pub async fn load_certificates(
        mut self,
        client: &Client,
        namespace: &str,
        names: &BTreeSet<String>,
    ) -> Result<Self, kube::Error> {
        let read = names.iter().map(|name| async {
            let got = get(client, namespace, name).await?;
            let version = version(&got);
            let tls = match got {
                Got::Found(secret) => parse(name, &secret).map(Arc::new),
                Got::Absent => Err(KeychainError::NoCertificates { secret: name.clone() }),
                Got::Forbidden => Err(KeychainError::forbidden("Secret", name)),
            };
            Ok::<_, kube::Error>((name.clone(), tls, version))
        });
        for (name, tls, version) in try_join_all(read).await? {
            self.versions.insert(name.clone(), version);
            self.certificates.insert(name, tls);
        }
        Ok(self)
    }

    /// The certificates of the Secret called `secret`.
    pub fn certificates(&self, secret: &str) -> Result<Arc<Tls>, KeychainError> {
        let known = self.certificates.get(secret).cloned();
        known.unwrap_or_else(|| Err(KeychainError::NoCertificates { secret: secret.into() }))
    }

    /// The same with the certificates of `secrets`, for tests of what uses them.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn with_certificates<'a>(
        self,
        secrets: impl IntoIterator<Item = (&'a str, Secret)>,
    ) -> Self {
        let read = secrets.into_iter();
        let read = read.map(|(name, secret)| (name.into(), parse(name, &secret).map(Arc::new)));
        Self { certificates: read.collect(), ..self }
    }
}

/// The certificates of `secret`.
fn parse(name: &str, secret: &Secret) -> Result<Tls, KeychainError> {
    let bad = |why: String| KeychainError::BadCertificates { secret: name.into(), why };
    let found = secret.type_.as_deref().unwrap_or("Opaque");
    if !["Opaque", "kubernetes.io/tls"].contains(&found) {
        return Err(bad(format!("it is of type {found}, not Opaque or kubernetes.io/tls")));
    }
    let data = |key: &str| Some(secret.data.as_ref()?.get(key)?.0.as_slice());
    Tls::parse(name, data("ca.crt"), data("tls.crt"), data("tls.key")).map_err(bad)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use rcgen::{CertificateParams, KeyPair};
    use rstest::rstest;

    use super::*;

    fn made(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key);
        (certificate.unwrap().pem(), key.serialize_pem())
    }

    fn secret(type_: &str, data: &[(&str, &str)]) -> Secret {
        let data = data.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec())));
        Secret { type_: Some(type_.into()), data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn reads_cas_and_pairs() {
        let ((one, key), (two, _)) = (made("one"), made("two"));
        let both = format!("# comments are fine\n{one}\n{two}");
        let read = |type_, data: &[(&str, &str)]| parse("ca", &secret(type_, data)).unwrap();
        let cas = read("Opaque", &[("ca.crt", &both)]);
        assert_eq!((cas.authorities().len(), cas.identity().is_some()), (2, false));
        let all = [("ca.crt", two.as_str()), ("tls.crt", &one), ("tls.key", &key)];
        let all = read("kubernetes.io/tls", &all);
        assert_eq!((all.authorities().len(), all.identity().is_some()), (1, true));
        // What cert-manager writes for an issuer without CA.
        let pair = [("ca.crt", ""), ("tls.crt", one.as_str()), ("tls.key", &key)];
        let pair = read("kubernetes.io/tls", &pair);
        assert_eq!((pair.authorities().len(), pair.identity().is_some()), (0, true));
        let again = read("Opaque", &[("ca.crt", &both)]);
        assert_eq!(cas.fingerprint(), again.fingerprint());
        assert!(cas.fingerprint() != all.fingerprint() && all.fingerprint() != pair.fingerprint());
    }

    #[rstest]
    #[case::nothing(&[], "it has neither the key ca.crt nor tls.crt with tls.key")]
    #[case::other_keys(&[("ca.pem", "CERT")], "it has neither the key ca.crt nor")]
    #[case::empty(&[("ca.crt", " \n")], "it has neither the key ca.crt nor")]
    #[case::garbage(&[("ca.crt", "garbage")], "the key ca.crt is not a certificate in PEM")]
    #[case::a_key(&[("ca.crt", "KEY")], "the key ca.crt is not a certificate in PEM")]
    #[case::no_end(&[("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA")], "the key ca.crt is not a certificate")]
    #[case::second_is_broken(&[("ca.crt", "CERT\nBROKEN")], "the key ca.crt holds a certificate that cannot be read, number 2")]
    #[case::no_key(&[("tls.crt", "CERT")], "it has the key tls.crt without tls.key")]
    #[case::no_certificate(&[("ca.crt", "CERT"), ("tls.key", "KEY")], "it has the key tls.key without tls.crt")]
    #[case::garbage_pair(&[("tls.crt", "garbage"), ("tls.key", "KEY")], "the key tls.crt is not a certificate in PEM")]
    #[case::broken_pair(&[("tls.crt", "BROKEN"), ("tls.key", "KEY")], "the key tls.crt holds a certificate that cannot be read")]
    #[case::garbage_key(&[("tls.crt", "CERT"), ("tls.key", "CERT")], "the key tls.key is not a private key in PEM")]
    #[case::odd_key(&[("tls.crt", "CERT"), ("tls.key", "ODD")], "the key tls.key holds a private key of a kind")]
    #[case::another_pair(&[("tls.crt", "CERT"), ("tls.key", "OTHER")], "the private key tls.key is not the one of tls.crt")]
    fn refuses(#[case] data: &[(&str, &str)], #[case] why: &str) {
        let ((certificate, key), (_, other)) = (made("one"), made("two"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let odd = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let filled = data.iter().map(|(name, text)| {
            let text = text.replace("CERT", "@").replace("BEGIN @", "BEGIN CERT");
            let text = text.replace('@', &certificate).replace("BROKEN", broken);
            let text = match text.as_str() {
                "KEY" => key.clone(),
                "OTHER" => other.clone(),
                "ODD" => odd.into(),
                _ => text,
            };
            (*name, text)
        });
        let filled: Vec<_> = filled.collect();
        let filled: Vec<_> = filled.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let error = parse("ca", &secret("Opaque", &filled)).unwrap_err().to_string();
        assert!(error.starts_with("Secret ca is of no use for TLS: "), "{error}");
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn refuses_other_types() {
        let login = secret("kubernetes.io/dockerconfigjson", &[]);
        let error = parse("ca", &login).unwrap_err().to_string();
        assert!(error.contains("kubernetes.io/dockerconfigjson, not Opaque"), "{error}");
    }

    #[test]
    fn shows_no_key() {
        let (certificate, key) = made("one");
        let data = [("tls.crt", certificate.as_str()), ("tls.key", &key)];
        let tls = parse("ca", &secret("kubernetes.io/tls", &data)).unwrap();
        assert_eq!(format!("{tls:?}"), "Tls { secret: \"ca\", .. }");
    }
}
