//! A registry whose disk is full, and one whose data is an older backup: nothing wrong is published, and what is missing is put back.

use anyhow::{Context, Result, ensure};
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_some},
    images::Image,
    proxy::{Answer, Operation, Rule, Seen},
    registry::Registry,
    scenario::{scenario_of_two_stores, tag_of},
    spec::{Report, Spec},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// Pushes `version` elsewhere; the object that copies it to team/app:1.
async fn build(s: &Scenario, elsewhere: &Registry, version: &str) -> Result<Spec> {
    let mut spec = Spec::new(&s.registry, "app", "team/app:1");
    for platform in BOTH {
        let tag = tag_of("build/app:1", platform);
        let layers = ["the runtime", version].map(|layer| format!("{layer} for {platform}"));
        let image = Image::layered(platform, &layers.each_ref().map(String::as_str))?;
        elsewhere.push(&tag, &image).await?;
        spec = spec.source_in(elsewhere, &platform.replace('/', "-"), &tag, &[platform], json!({}));
    }
    Ok(spec)
}

/// distribution 3.1 on a file system without room: writes are answered so, reads as ever. The path of its file stands in the answer,
/// and is nobody's business.
const FULL: &str = r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":"filesystem: write /var/lib/registry/docker/registry/v2/repositories/team/app/_uploads/01a21358-352b-761e-ab55-a91d633e47fe/startedat.tmp: no space left on device"}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn that_is_full_leaves_the_tag_and_is_told() -> Result<()> {
    scenario_of_two_stores(async |s, elsewhere| {
        let spec = build(s, elsewhere, "version 1").await?;
        s.apply_until(&spec, "True/Succeeded").await?;
        let before = s.registry.whole("team/app:1").await?;
        build(s, elsewhere, "version 2").await?;

        // There is room for one more blob, or for those that come at once.
        let proxy = &s.registry.proxy;
        for operation in
            [Operation::PostUpload, Operation::PutBlob, Operation::PutManifest, Operation::PutTag]
        {
            let full = Answer::Body(500, "application/json", FULL);
            proxy.follow(Rule::of(operation, full).after(Operation::PutBlob));
        }
        proxy.forget();
        let image = s.request("app").await?;
        ensure!(
            image.ready() == "False/RegistryUnreachable",
            "{}: {}",
            image.ready(),
            image.message()
        );
        for part in [s.registry.host(), "HTTP 500"] {
            ensure!(image.message().contains(part), "{} does not say {part}", image.message());
        }
        for secret in ["/var/lib", "no space", "_uploads"] {
            ensure!(!image.message().contains(secret), "{} shows {secret}", image.message());
        }
        ensure!(image.is_true("Published"), "what was published is withdrawn");
        ensure!(s.registry.whole("team/app:1").await? == before, "the tag has changed");
        let sent: Vec<_> = stored(&s.registry);
        ensure!(!sent.is_empty(), "no blob was stored");

        proxy.be_honest();
        proxy.forget();
        s.until_ready("app", "True/Succeeded").await?;
        let after = s.registry.whole("team/app:1").await?.context("there is no tag")?;
        ensure!(Some(&after) != before.as_ref(), "the new version is not there");
        let again: Vec<_> =
            stored(&s.registry).into_iter().filter(|it| sent.contains(it)).collect();
        ensure!(again.is_empty(), "sent again: {again:?}");
        ensure!(s.registry.uploads()? == 0, "uploads are left behind");
        Ok(())
    })
    .await
}

/// The blobs that were sent, and stored.
fn stored(registry: &Registry) -> Vec<String> {
    let puts = registry.proxy.asked(Operation::PutBlob);
    puts.iter().filter(|seen| seen.status == 201).map(Seen::blob).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn that_was_restored_gets_back_what_it_has_lost() -> Result<()> {
    scenario_of_two_stores(async |s, elsewhere| {
        let spec = build(s, elsewhere, "version 1").await?;
        let nothing = s.registry.back_up("nothing")?;
        s.apply_until(&spec, "True/Succeeded").await?;
        let first = s.registry.whole("team/app:1").await?;
        let old = s.registry.back_up("old")?;
        build(s, elsewhere, "version 2").await?;
        s.request("app").await?;
        let second = s.registry.whole("team/app:1").await?;
        ensure!(second != first, "the second version is not there");

        for (before, backup) in [old, nothing].into_iter().enumerate() {
            s.registry.restore(&backup).await?;
            let names = s.registry.whole("team/app:1").await?;
            ensure!(names != second, "it is not restored");
            s.objects().age("app").await?;
            // Asked for, it is put back at once; else at the second look.
            let image = s.request("app").await?;
            ensure!(image.ready() == "True/Succeeded", "{}: {}", image.ready(), image.message());
            let told = async || Ok(s.all_told("DriftCorrected").await?.into_iter().nth(before));
            await_some("an Event", SOON, told).await?;
            let now = s.registry.whole("team/app:1").await?;
            ensure!(now == second, "it has {now:?}");
        }
        Ok(())
    })
    .await
}
