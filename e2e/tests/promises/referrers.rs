//! With referrers: Copy, signatures and SBOMs go along with the images that move; nothing that the target has is overwritten.

use anyhow::Result;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    images::Image,
    peers,
    registry::Registry,
    scenario::{Scenario, scenario_of_two_registries},
    spec::{Report, Spec},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const SBOM: &str = "application/spdx+json";
const SIGNATURE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// Where what refers to the arm64 image elsewhere is found: by digest, by the fallback tag, and by cosign's.
struct Referrers {
    sbom: String,
    fallback: String,
    signature: String,
}

/// An index of two images elsewhere, one of them with an SBOM and a signature, and the object that copies it.
async fn signed(s: &Scenario, elsewhere: &Registry) -> Result<(Spec, Referrers)> {
    let [amd64, arm64] = BOTH.map(|platform| Image::oci(platform, "app"));
    let (amd64, arm64) = (amd64?, arm64?);
    elsewhere.push("upstream/app:1", &Image::index(&[amd64, arm64.clone()])?).await?;
    let sbom = Image::referrer(&arm64.manifest, SBOM, "{\"spdxVersion\": \"SPDX-2.3\"}");
    let fallback = arm64.digest().replace(':', "-");
    let list = Image::fallback(std::slice::from_ref(&sbom), SBOM);
    elsewhere.push(&format!("upstream/app:{fallback}"), &list).await?;
    let signature = format!("{fallback}.sig");
    let signed = Image::referrer(&arm64.manifest, SIGNATURE, "{\"critical\": {}}");
    elsewhere.push(&format!("upstream/app:{signature}"), &signed).await?;
    let spec = Spec::new(&s.registry, "app", "team/app:1");
    let spec = spec.source_in(elsewhere, "upstream", "upstream/app:1", &BOTH, json!({}));
    Ok((spec, Referrers { sbom: sbom.digest(), fallback, signature }))
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_come_along() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let (spec, Referrers { sbom, fallback, signature }) = signed(s, elsewhere).await?;
        let image = s.apply_until(&spec.with("referrers", "Copy"), "True/Succeeded").await?;
        assert_eq!(peers::is_whole(&s.registry, "team/app:1").await?.digest, image.digest());
        for of in [format!("app@{sbom}"), format!("app:{signature}")] {
            let copy = peers::read_by_all(&s.registry, &format!("team/{of}")).await?;
            assert_eq!(copy, peers::read_by_all(elsewhere, &format!("upstream/{of}")).await?);
        }
        let list = peers::read_by_all(&s.registry, &format!("team/app:{fallback}")).await?;
        assert!(list.listed_digests()?.contains(&sbom), "{list:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_being_told_they_stay() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let (spec, Referrers { sbom, fallback, signature }) = signed(s, elsewhere).await?;
        s.apply_until(&spec, "True/Succeeded").await?;
        for of in [format!("app@{sbom}"), format!("app:{fallback}"), format!("app:{signature}")] {
            assert_eq!(s.registry.digest(&format!("team/{of}")).await?, None, "{of}");
        }
        Ok(())
    })
    .await
}

/// What another tool attaches it finds again at the target: there before the tag, or, where it comes later, after the next
/// look, which a restart makes, too.
#[tokio::test(flavor = "multi_thread")]
async fn what_oras_attaches_it_discovers_at_the_target() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let images = BOTH.map(|platform| Image::oci(platform, "app"));
        let [amd64, arm64] = images;
        let (amd64, arm64) = (amd64?.digest(), arm64?);
        let index = Image::index(&[Image::oci(BOTH[0], "app")?, arm64.clone()])?;
        elsewhere.push("upstream/app:1", &index).await?;
        let there = |of: &str| format!("upstream/app@{of}");
        let here = |of: &str| format!("team/app@{of}");
        let sbom = peers::attach(elsewhere, &there(&arm64.digest()), SBOM).await?;
        let signature = peers::attach(elsewhere, &there(&sbom), SIGNATURE).await?;

        let spec = Spec::new(&s.registry, "app", "team/app:1").with("interval", "30s");
        let spec = spec.source_in(elsewhere, "upstream", "upstream/app:1", &BOTH, json!({}));
        s.apply_until(&spec.with("referrers", "Copy"), "True/Succeeded").await?;
        let found = peers::discover(&s.registry, &here(&arm64.digest())).await?;
        assert_eq!(found, [sbom, signature]);

        let late = peers::attach(elsewhere, &there(&amd64), SBOM).await?;
        s.operator.kill_and_restart().await?;
        let copied = async || Ok(s.registry.digest(&here(&late)).await?);
        await_some("what came later is copied", 2 * SOON, copied).await?;
        s.operator.await_runs(1.0, SOON).await?;
        assert_eq!(peers::discover(&s.registry, &here(&amd64)).await?, [late]);
        Ok(())
    })
    .await
}

/// The target's own signature stays, what its fallback tag lists is added to, and an Event says what was left.
#[tokio::test(flavor = "multi_thread")]
async fn the_targets_own_stay() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let (spec, Referrers { sbom, fallback, signature }) = signed(s, elsewhere).await?;
        let arm64 = Image::oci(BOTH[1], "app")?;
        s.registry.push("team/app:by-hand", &arm64).await?;
        let own = peers::attach(&s.registry, &format!("team/app@{}", arm64.digest()), SBOM).await?;
        let signed = Image::referrer(&arm64.manifest, SIGNATURE, "{\"critical\": \"ours\"}");
        s.registry.push(&format!("team/app:{signature}"), &signed).await?;

        s.apply_until(&spec.with("referrers", "Copy"), "True/Succeeded").await?;
        let stays = s.registry.digest(&format!("team/app:{signature}")).await?;
        assert_eq!(stays, Some(signed.digest()));
        let list = peers::read_by_all(&s.registry, &format!("team/app:{fallback}")).await?;
        assert_eq!(list.listed_digests()?, [own, sbom]);
        let note = await_some("an Event", SOON, async || s.told("ReferrerSkipped").await).await?;
        assert!(note.contains(&format!("upstream/app:{signature} was not copied")), "{note}");
        assert!(note.contains("the target has another one, which stays"), "{note}");
        Ok(())
    })
    .await
}
