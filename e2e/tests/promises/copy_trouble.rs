//! Whatever breaks on the way, a copy ends in the right index or says what is wrong, and a tag never names what is not there.

use std::collections::BTreeSet;

use anyhow::Result;
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_some},
    images::Image,
    peers,
    proxy::{Answer, Seen},
    registry::Registry,
    scenario,
    scenario::{scenario_of_two_registries, tag_of},
    spec::{Report, Spec},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// Pushes both images to `sources`, and an object that copies them from there to `target`.
async fn spec(s: &Scenario, sources: &Registry, name: &str, target: &str) -> Result<Spec> {
    let mut spec = Spec::new(&s.registry, name, target);
    for platform in BOTH {
        let tag = tag_of("build/app:1", platform);
        sources.push(&tag, &Image::oci(platform, "app")?).await?;
        let source = platform.replace('/', "-");
        spec = spec.source_in(sources, &source, &tag, &[platform], json!({}));
    }
    Ok(spec)
}

fn layer(platform: &str) -> Result<String> {
    Ok(Image::oci(platform, "app")?.blobs[1].digest.clone())
}

/// The copy to team/app:1 has come to what an undisturbed one comes to, and was never half.
async fn ends_right(s: &Scenario, sources: &Registry) -> Result<()> {
    let image = s.until_ready("app", "True/Succeeded").await?;
    assert_eq!(s.registry.digest("team/app:1").await?.as_deref(), Some(image.digest()));
    peers::validate(&s.registry, "team/app:1").await?;
    let seen = s.registry.proxy.seen_of("/v2/team/app/");
    let tag = seen.iter().position(|seen| seen.is_manifest_put() && seen.path.ends_with("/1"));
    let late = seen.iter().skip(tag.unwrap_or(0)).filter(|seen| {
        seen.is_mount() || seen.is_upload() || seen.is_manifest_put() && !seen.path.ends_with("/1")
    });
    assert_eq!(late.count(), 0, "written after the tag: {seen:#?}");
    assert_eq!(open_sessions(&seen), 0, "an upload was left behind: {seen:#?}");

    s.registry.proxy.be_honest();
    sources.proxy.be_honest();
    let honest = spec(s, sources, "honest", "team/honest:1").await?;
    assert_eq!(s.apply_until(&honest, "True/Succeeded").await?.digest(), image.digest());
    Ok(())
}

/// Uploads that were begun, and neither done nor given up.
fn open_sessions(seen: &[Seen]) -> usize {
    let begun = seen.iter().filter(|seen| seen.is_start() && seen.status == 202).count();
    let ended: BTreeSet<_> = seen
        .iter()
        .filter(|seen| {
            (seen.is_upload() && matches!(seen.status, 0 | 201))
                || (seen.method == "DELETE" && seen.path.contains("/blobs/uploads/"))
        })
        .map(|seen| &seen.path)
        .collect();
    begun.saturating_sub(ended.len())
}

/// Copies from elsewhere with `trouble` on the way, which must have come.
async fn survives(
    trouble: impl AsyncFnOnce(&Registry, &Registry) -> Result<()>,
    came: impl Fn(&Seen) -> bool,
) -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let spec = spec(s, elsewhere, "app", "team/app:1").await?;
        trouble(&s.registry, elsewhere).await?;
        s.apply_until(&spec, "True/Succeeded").await?;
        let seen = [s.registry.proxy.seen(), elsewhere.proxy.seen()].concat();
        assert!(
            seen.iter().filter(|seen| came(seen)).count() > 0,
            "there was no trouble: {seen:#?}"
        );
        ends_right(s, elsewhere).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_cut_while_it_is_read() -> Result<()> {
    let blob = layer(BOTH[1])?;
    let cut = async |_: &Registry, elsewhere: &Registry| {
        elsewhere.proxy.answer_times(1, "GET", &format!("/blobs/{blob}"), Answer::CutAfter(20));
        Ok(())
    };
    survives(cut, |seen| seen.method == "GET" && seen.blob() == blob).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_cut_while_it_is_sent() -> Result<()> {
    let cut = async |target: &Registry, _: &Registry| {
        target.proxy.answer_times(1, "PUT", "/blobs/uploads/", Answer::CutUploadAfter(20));
        Ok(())
    };
    survives(cut, |seen| seen.is_upload() && seen.status == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_blob() -> Result<()> {
    let lose = async |target: &Registry, _: &Registry| {
        target.proxy.answer_times(1, "PUT", "/blobs/uploads/", Answer::Lost);
        Ok(())
    };
    survives(lose, |seen| seen.is_upload() && seen.status == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_an_image() -> Result<()> {
    let lose = async |target: &Registry, _: &Registry| {
        target.proxy.answer_times(1, "PUT", "/manifests/sha256:", Answer::Lost);
        Ok(())
    };
    survives(lose, |seen| seen.is_manifest_put() && seen.status == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_the_index() -> Result<()> {
    let lose = async |target: &Registry, _: &Registry| {
        target.proxy.answer_times(1, "PUT", "/team/app/manifests/1", Answer::Lost);
        Ok(())
    };
    survives(lose, |seen| seen.is_manifest_put() && seen.status == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_mounts_is_sent_the_blobs() -> Result<()> {
    scenario(async |s| {
        let spec = spec(s, &s.registry, "app", "team/app:1").await?;
        s.registry.proxy.answer("POST", "/team/app/blobs/uploads/", Answer::WithoutQuery);
        s.apply_until(&spec, "True/Succeeded").await?;
        let seen = s.registry.proxy.seen();
        assert!(seen.iter().any(|seen| seen.is_mount() && seen.status == 202), "{seen:#?}");
        assert_eq!(seen.iter().filter(|seen| seen.is_upload() && seen.status == 201).count(), 4);
        ends_right(s, &s.registry).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_sends_only_the_rest() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let spec = spec(s, elsewhere, "app", "team/app:1").await?;
        let last = layer(BOTH[1])?;
        elsewhere.proxy.answer("GET", &format!("/blobs/{last}"), Answer::Never);
        s.apply(&spec).await?;
        // Two configs and the other layer are there, and the last one is on its way.
        let middle = async || {
            let seen = s.registry.proxy.seen();
            let sent = seen.iter().filter(|seen| seen.is_upload() && seen.status == 201).count();
            let asked = elsewhere.proxy.seen_of(&last);
            Ok((sent == 3 && !asked.is_empty()).then_some(()))
        };
        await_some("three of four blobs are there", SOON, middle).await?;
        assert_eq!(s.registry.digest("team/app:1").await?, None);

        elsewhere.proxy.be_honest();
        s.registry.proxy.forget();
        elsewhere.proxy.forget();
        s.operator.kill_and_restart().await?;
        s.until_ready("app", "True/Succeeded").await?;
        let seen = s.registry.proxy.seen();
        let sent: Vec<_> = seen.iter().filter(|seen| seen.is_upload()).map(Seen::blob).collect();
        assert_eq!(sent, [last], "{seen:#?}");
        ends_right(s, elsewhere).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_layer_that_is_cut_in_the_middle() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let image = Image::large(BOTH[0], 8 << 20)?;
        elsewhere.push("build/app:1", &image).await?;
        let layer = &image.blobs[1];
        let spec = Spec::new(&s.registry, "app", "team/app:1");
        let spec = spec.source_in(elsewhere, "amd64", "build/app:1", &BOTH[..1], json!({}));
        // The config is less than that, and is cut at its end.
        s.registry.proxy.answer_times(2, "PUT", "/blobs/uploads/", Answer::CutUploadAfter(4 << 20));
        s.apply_until(&spec, "True/Succeeded").await?;
        let seen = s.registry.proxy.seen();
        let of_layer = seen.iter().filter(|seen| seen.is_upload() && seen.blob() == layer.digest);
        let sent: Vec<_> = of_layer.map(|seen| seen.status).collect();
        // This registry does not know how much it has of a PUT, so it is sent all of it.
        assert_eq!(sent, [0, 201], "{seen:#?}");
        assert_eq!(open_sessions(&seen), 0, "{seen:#?}");
        assert!(s.registry.has_blob("team/app", &layer.digest).await?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_takes_too_long_says_how_far_it_came_and_goes_on() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let spec = spec(s, elsewhere, "app", "team/app:1").await?.with("timeout", "10s");
        let last = layer(BOTH[1])?;
        elsewhere.proxy.answer("GET", &format!("/blobs/{last}"), Answer::Never);
        let image = s.apply_until(&spec, "False/TimedOut").await?;
        assert!(image.message().contains("3 of 4 blobs"), "{}", image.message());
        assert_eq!(s.registry.digest("team/app:1").await?, None);
        // What was begun is given up, a moment after the run.
        let seen = &s.registry.proxy;
        let none_open = async || Ok((open_sessions(&seen.seen()) == 0).then_some(()));
        await_some("no upload is left behind", SOON, none_open).await?;

        elsewhere.proxy.be_honest();
        s.registry.proxy.forget();
        s.until_ready("app", "True/Succeeded").await?;
        let seen = s.registry.proxy.seen();
        let sent: Vec<_> = seen.iter().filter(|seen| seen.is_upload()).map(Seen::blob).collect();
        assert_eq!(sent, [last], "{seen:#?}");
        ends_right(s, elsewhere).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_gone_is_named_and_nothing_is_published() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        for (registry, name) in [(elsewhere, "far"), (&s.registry, "near")] {
            let target = format!("team/{name}:1");
            let spec = spec(s, registry, name, &target).await?;
            let gone = layer(BOTH[1])?;
            registry.delete_blob("build/app", &gone).await?;
            s.apply(&spec).await?;
            let told = s.until(name, "the blob is named", |image| image.message().contains(&gone));
            let image = told.await?;
            assert!(!image.is_true("Published") && !image.ready().starts_with("True"));
            assert!(image.message().contains("build/app"), "{}", image.message());
            assert_eq!(s.registry.digest(&target).await?, None);
            let puts = s.registry.proxy.seen_of(&format!("/v2/team/{name}/manifests/"));
            assert!(!puts.iter().any(Seen::is_manifest_put), "{puts:#?}");

            // Pushed again, as the message says, it is published.
            registry.push("build/app:1-arm64", &Image::oci(BOTH[1], "app")?).await?;
            assert_eq!(s.request(name).await?.ready(), "True/Succeeded");
            peers::validate(&s.registry, &target).await?;
        }
        Ok(())
    })
    .await
}
