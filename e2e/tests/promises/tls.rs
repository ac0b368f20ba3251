//! A registry with a private CA, and one that wants client certificates, are reached by a Secret of the object's, which may change.

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use multiarch_e2e::{
    Scenario,
    images::Image,
    registry::Registry,
    scenario,
    scenario::tag_of,
    spec::{Report, Spec},
    tls::{Certificates, Pair},
};
use serde_json::{Value, json};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const APP: &str = "team/app:1";

/// A registry with images, and an object that names no certificates.
async fn stage(s: &Scenario, made: &Certificates, asks: bool) -> Result<(Registry, Spec)> {
    let registry = s.start_with_tls(made, asks).await?;
    let mut spec = Spec::new(&registry, "app", APP).with("registries", json!([]));
    for platform in BOTH {
        let tag = tag_of(APP, platform);
        registry.push(&tag, &Image::oci(platform, APP)?).await?;
        spec = spec.source(&platform.replace('/', "-"), &tag, &[platform]);
    }
    Ok((registry, spec))
}

fn with_secret(spec: Spec, registry: &Registry) -> Spec {
    let registries = json!([{"host": registry.host(), "certSecretRef": {"name": "registry-tls"}}]);
    spec.with("registries", registries)
}

/// A Secret's data: a CA, and a pair.
fn data(ca: &str, pair: Option<&Pair>) -> Value {
    let mut data = pair.map_or_else(|| json!({}), Pair::data);
    data["ca.crt"] = STANDARD.encode(ca).into();
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_ca_is_trusted_by_a_secret_that_may_change() -> Result<()> {
    scenario(async |s| {
        let (made, other) = (Certificates::make()?, Certificates::make()?);
        let (registry, spec) = stage(s, &made, false).await?;
        let image = s.apply_until(&spec, "False/RegistryUnreachable").await?;
        for word in [registry.host(), "no usable connection"] {
            assert!(image.message().contains(word), "{}", image.message());
        }
        // The registry is not in --allowed-registries, so the log says at what it fails.
        for word in ["unknown issuer", "certSecretRef", "--ca-bundle"] {
            assert!(s.operator.logs()?.contains(word), "no {word} in the log");
        }
        let spec = with_secret(spec, &registry);
        let image = s.apply_until(&spec, "False/SecretNotFound").await?;
        assert!(image.message().contains("registry-tls"), "{}", image.message());

        s.apply_opaque_secret("registry-tls", data(&other.ca, None)).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "False/RegistryUnreachable");
        let words = "that CA is not in ca.crt of Secret registry-tls";
        assert!(s.operator.logs()?.contains(words), "no {words} in the log");

        // `ca.crt` may hold the old one and the new one.
        let both = format!("{}{}", other.ca, made.ca);
        s.apply_opaque_secret("registry-tls", data(&both, None)).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "True/Succeeded", "{}", image.message());
        assert_eq!(registry.digest(APP).await?.as_deref(), Some(image.digest()));

        // What was published stays when the Secret goes bad.
        s.apply_opaque_secret("registry-tls", data("no certificate", None)).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "False/SecretInvalid");
        for word in ["registry-tls", "ca.crt"] {
            assert!(image.message().contains(word), "{}", image.message());
        }
        assert!(image.is_true("Published"), "{image:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_client_certificates_gets_the_objects_own() -> Result<()> {
    scenario(async |s| {
        let (made, other) = (Certificates::make()?, Certificates::make()?);
        let (registry, spec) = stage(s, &made, true).await?;
        let spec = with_secret(spec, &registry);
        for pair in [None, Some(&other.client)] {
            s.apply_opaque_secret("registry-tls", data(&made.ca, pair)).await?;
            s.apply_until(&spec, "False/RegistryUnreachable").await?;
            assert_eq!(s.request("app").await?.ready(), "False/RegistryUnreachable");
        }
        let mixed = Pair { key: other.client.key.clone(), ..made.client.clone() };
        s.apply_opaque_secret("registry-tls", data(&made.ca, Some(&mixed))).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "False/SecretInvalid");
        for word in ["registry-tls", "tls.key", "tls.crt"] {
            assert!(image.message().contains(word), "{}", image.message());
        }
        s.apply_opaque_secret("registry-tls", data(&made.ca, Some(&made.client))).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "True/Succeeded", "{}", image.message());
        assert_eq!(registry.digest(APP).await?.as_deref(), Some(image.digest()));
        for secret in ["BEGIN", &made.client.key] {
            assert!(!s.operator.logs()?.contains(secret), "the log has a certificate or a key");
        }
        Ok(())
    })
    .await
}
