//! Of two registries, each is told the credential of its own Secret, and never the other's.

use std::collections::BTreeSet;

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use multiarch_e2e::{
    Scenario,
    images::Image,
    peers,
    proxy::Seen,
    registry::{CI, Login, READER, Registry},
    scenario::{scenario_of_two_passwords, scenario_with_password, tag_of},
    spec::{Report, Spec},
};
use serde_json::{Value, json};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// Two sources elsewhere; `more` says with which Secret they are read.
async fn spec(s: &Scenario, elsewhere: &Registry, more: Value) -> Result<Spec> {
    let mut spec = Spec::new(&s.registry, "app", "team/app:1");
    for (name, platform) in ["amd64", "arm64"].into_iter().zip(BOTH) {
        let tag = tag_of("app:1", platform);
        elsewhere.push(&tag, &Image::oci(platform, "app")?).await?;
        spec = spec.source_in(elsewhere, name, &tag, &[platform], more.clone());
    }
    spec.spec["target"]["secretRef"] = json!({"name": "push"});
    s.apply_secret("push", CI.password).await?;
    s.apply_secret_for(elsewhere, "pull", READER.user, READER.password).await?;
    Ok(spec)
}

/// What a registry was told, over all requests.
fn told(registry: &Registry) -> BTreeSet<String> {
    registry.proxy.seen().into_iter().filter_map(|seen| seen.authorization).collect()
}

fn basic(login: Login) -> BTreeSet<String> {
    let pair = format!("{}:{}", login.user, login.password);
    [format!("Basic {}", STANDARD.encode(pair))].into()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_registry_is_told_its_own() -> Result<()> {
    scenario_of_two_passwords(async |s, elsewhere| {
        let spec = spec(s, elsewhere, json!({"secretRef": {"name": "pull"}})).await?;
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(peers::is_whole(&s.registry, "team/app:1").await?.digest, image.digest());
        let mut images = Vec::new();
        for platform in BOTH {
            images.push((platform, Image::oci(platform, "app")?.digest()));
        }
        peers::each_gets_its_own(&s.registry, "team/app:1", &images).await?;
        assert_eq!((told(&s.registry), told(elsewhere)), (basic(CI), basic(READER)));
        for password in [CI.password, READER.password] {
            assert!(!s.operator.logs()?.contains(password), "the log has a password");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_secret_of_the_object_reads_and_is_not_told_to_the_target() -> Result<()> {
    scenario_of_two_passwords(async |s, elsewhere| {
        let spec = spec(s, elsewhere, json!({})).await?;
        let spec = spec.with("imagePullSecrets", json!([{"name": "pull"}]));
        s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!((told(&s.registry), told(elsewhere)), (basic(CI), basic(READER)));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_pushes_mounts_in_their_own_registry() -> Result<()> {
    scenario_with_password(async |s| {
        let image = Image::oci(BOTH[0], "app")?;
        s.registry.push("build/app:1", &image).await?;
        s.apply_secret("push", CI.password).await?;
        let mut spec = Spec::new(&s.registry, "app", "team/app:1");
        spec.spec["target"]["secretRef"] = json!({"name": "push"});
        s.apply_until(&spec.source("amd64", "build/app:1", &BOTH[..1]), "True/Succeeded").await?;
        let seen = s.registry.proxy.seen();
        let mounts = seen.iter().filter(|seen| seen.is_mount() && seen.status == 201).count();
        assert_eq!(mounts, image.blobs.len(), "{seen:#?}");
        assert!(!seen.iter().any(Seen::is_upload), "{seen:#?}");
        assert_eq!(told(&s.registry), basic(CI));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_names_the_targets_secret_is_read_without_it() -> Result<()> {
    scenario_of_two_passwords(async |s, elsewhere| {
        let spec = spec(s, elsewhere, json!({"secretRef": {"name": "push"}})).await?;
        s.apply(&spec).await?;
        let refused = |image: &multiarch_crds::v1alpha1::MultiArchImage| {
            image.condition("Ready").is_some_and(|ready| ready.status != "True")
                && !image.message().is_empty()
        };
        let image = s.until("app", "it is refused", refused).await?;
        assert!(image.message().contains(elsewhere.host()), "{}", image.message());
        assert_eq!(told(elsewhere), BTreeSet::new());
        assert_eq!(s.registry.digest("team/app:1").await?, None);

        let mut spec = spec;
        for source in spec.spec["sources"].as_array_mut().into_iter().flatten() {
            source["secretRef"]["name"] = "pull".into();
        }
        s.apply_until(&spec, "True/Succeeded").await?;
        // With credentials as without, what was copied is all there.
        peers::is_whole(&s.registry, "team/app:1").await.map(drop)
    })
    .await
}
