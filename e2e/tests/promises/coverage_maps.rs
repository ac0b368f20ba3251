//! The coverage maps say what is published, whoever writes them, and whatever people do to them.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_some},
    operator::{NAMESPACE, Operator, samples},
    scenario::{scenario_with_maps, scenario_with_maps_and_election},
    spec::{Report, Spec},
};
use multiarch_operator::{
    coverage::{Key, Value},
    oci::{Digest, Reference},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
/// Times that a test can wait for.
const SHORT: &[&str] = &[
    "--leader-election-lease-duration=6s",
    "--leader-election-renew-deadline=4s",
    "--leader-election-retry-period=500ms",
];
const DAYS: i64 = 30 * 24 * 60 * 60;

/// The key of `app:1` in the test's registry.
#[expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]
fn key(s: &Scenario, of: &str) -> Key {
    let reference: Reference = s.registry.reference(of).parse().unwrap();
    Key::of_tag(reference.repository(), reference.tag().unwrap())
}

#[expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]
fn key_of_digest(s: &Scenario, of: &str, digest: &str) -> Key {
    let reference: Reference = s.registry.reference(of).parse().unwrap();
    Key::of_digest(reference.repository(), &digest.parse().unwrap())
}

fn value(entries: &BTreeMap<String, String>, key: &Key) -> Option<Value> {
    entries.get(&key.to_string())?.parse().ok()
}

/// Waits until what the maps say of `key` is such.
async fn until(
    s: &Scenario,
    key: &Key,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let has = |entries: &BTreeMap<String, String>| value(entries, key).is_some_and(|it| holds(&it));
    let entries = s.maps().until(&format!("{key}: {what}"), has).await?;
    value(&entries, key).context("it has just been there")
}

/// Publishes `app` as this tag, and waits until the maps say so.
async fn publish(s: &Scenario, tag: &str) -> Result<Digest> {
    let target = format!("app:{tag}");
    s.push(&target, &BOTH).await?;
    let object = s.apply_until(&s.spec("app", &target, &BOTH), "True/Succeeded").await?;
    let digest: Digest = object.digest().parse()?;
    until(s, &key(s, &target), "published", |it| {
        it.published && it.digest.as_ref() == Some(&digest)
    })
    .await?;
    Ok(digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn they_say_what_is_published_and_what_was() -> Result<()> {
    scenario_with_maps(&[], async |s| {
        // Not there yet: it binds its own namespace.
        s.push("app:1", &["linux/amd64"]).await?;
        s.apply(&s.spec("app", "app:1", &BOTH)).await?;
        let (one, namespace) = (key(s, "app:1"), s.namespace.name.clone());
        let waits = until(s, &one.within(&namespace), "waits", |it| {
            it.missing.to_string() == "linux/arm64"
        })
        .await?;
        assert!(!waits.published && waits.digest.is_none() && waits.object.name == "app");
        assert!(!s.maps().entries().await?.contains_key(&one.to_string()));

        s.push("app:1", &BOTH).await?;
        s.request("app").await?;
        let first = publish(s, "1").await?;
        let said = until(s, &one, "complete", |it| it.complete).await?;
        assert_eq!(said.platforms.to_string(), "linux/amd64,linux/arm64");
        assert_eq!((said.object.namespace.as_str(), said.until), (namespace.as_str(), None));
        let entries = s.maps().entries().await?;
        assert!(!entries.contains_key(&one.within(&namespace).to_string()), "{entries:#?}");
        let of_digest = value(&entries, &key_of_digest(s, "app:1", first.as_str()));
        assert!(of_digest.is_some_and(|it| it.published), "{entries:#?}");

        // The same tag moves on with its sources.
        s.registry
            .push("app:1-amd64", &multiarch_e2e::images::Image::oci("linux/amd64", "second")?)
            .await?;
        let second: Digest = s.request("app").await?.digest().parse()?;
        let said = until(s, &one, "moved on", |it| it.digest.as_ref() == Some(&second)).await?;
        assert_eq!(said.former, std::slice::from_ref(&first));
        let before =
            until(s, &key_of_digest(s, "app:1", first.as_str()), "left", |it| it.until.is_some())
                .await?;
        assert!(before.published && before.digest == Some(first.clone()));

        // What is edited, and cannot be served, leaves what is published; what it lacks then is told.
        let mut edited = s.spec("app", "app:1", &BOTH);
        edited.spec["requiredPlatforms"] = json!(["linux/riscv64"]);
        s.apply(&edited).await?;
        s.until_ready("app", "Unknown/WaitingForPlatforms").await?;
        let said = until(s, &one, "lacks", |it| it.missing.to_string() == "linux/riscv64").await?;
        assert!(said.published && said.digest == Some(second.clone()) && !said.complete, "{said}");

        // Another tag.
        publish(s, "2").await?;
        let left = until(s, &one, "left", |it| it.until.is_some()).await?;
        let now = jiff::Timestamp::now().as_second();
        let until_then = left.until.unwrap_or_default();
        assert!((now + DAYS - 120..=now + DAYS).contains(&until_then), "{left}");
        assert_eq!((left.digest, left.former.as_slice()), (Some(second), &[first][..]));

        s.images().delete("app", &DeleteParams::default()).await?;
        s.maps().until("nothing is left", BTreeMap::is_empty).await?;
        assert_eq!(s.maps().stored().await?.len(), 1, "one map has every range");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_to_them_is_undone() -> Result<()> {
    scenario_with_maps(&[], async |s| {
        publish(s, "1").await?;
        publish(s, "2").await?;
        until(s, &key(s, "app:1"), "left", |it| it.until.is_some()).await?;
        let before = s.maps().entries().await?;
        let [map] = s.maps().stored().await?.try_into().ok().context("more than one map")?;
        let (name, api) = (map.name_any(), s.maps().api);
        let is_as_before = async |what: &str| {
            let same = async || {
                let map = api.get_opt(&name).await?;
                let is = |map: &ConfigMap| {
                    map.data.as_ref() == Some(&before)
                        && map.labels().contains_key("multiarch.dev/coverage")
                        && map.annotations().get("multiarch.dev/to").is_some_and(String::is_empty)
                        && map.immutable.is_none()
                };
                Ok(map.filter(is))
            };
            await_some(&format!("it is put back after: {what}"), SOON, same).await
        };
        api.delete(&name, &DeleteParams::default()).await?;
        is_as_before("it was deleted").await?;
        let (one, two) = (key(s, "app:1").to_string(), key(s, "app:2").to_string());
        for (what, patch) in [
            ("a value was edited", json!({"data": {&two: "1||yes|yes|||a/b|||"}})),
            ("a key was taken out", json!({"data": {&one: null}})),
            ("a key was put in", json!({"data": {"x": "y", "r.example_sapp_c1": before[&two]}})),
            ("its range was cut", json!({"metadata": {"annotations": {"multiarch.dev/to": "m"}}})),
            ("its label went", json!({"metadata": {"labels": {"multiarch.dev/coverage": null}}})),
            ("it was made immutable", json!({"immutable": true})),
        ] {
            api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            is_as_before(what).await?;
        }
        // What is not one of ours, and has our label, would be asked by policies.
        let mut stray = map;
        stray.metadata = kube::api::ObjectMeta {
            name: Some("stray".into()),
            labels: stray.metadata.labels,
            ..kube::api::ObjectMeta::default()
        };
        api.create(&PostParams::default(), &stray).await?;
        let gone = async || Ok(api.get_opt("stray").await?.is_none().then_some(()));
        await_some("the stray is gone", SOON, gone).await?;
        // Labels that others add stay.
        let patch = json!({"metadata": {"labels": {"team": "x"}}, "data": {"x": "y"}});
        api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        assert_eq!(is_as_before("a label was added").await?.labels()["team"], "x");
        Ok(())
    })
    .await
}

/// Of operators that watch other labels, or another namespace, one writes, and the others write nothing.
#[tokio::test(flavor = "multi_thread")]
async fn two_operators_never_fight() -> Result<()> {
    scenario_with_maps(SHORT, async |s| {
        let holder = s.maps().holder().await?;
        let folder = tempfile::tempdir()?;
        let shard = ["--watch-label-selector=multiarch.dev/shard=a".to_owned()];
        let flags: Vec<_> = s.flags().iter().cloned().chain(shard).collect();
        let shard = s.replica_with("shard", &flags).await?;
        let elsewhere =
            Operator::start_as(&s.cluster, folder.path(), Some("default"), NAMESPACE, s.flags())
                .await?;
        publish(s, "1").await?;
        let writes = s.maps().writes().await?;
        // One of the other shard's, which the same writer has in its maps.
        s.push("other:1", &BOTH).await?;
        let mut object = s.spec("other", "other:1", &BOTH).object();
        object["metadata"]["labels"] = json!({"multiarch.dev/shard": "a"});
        s.images().patch("other", &PatchParams::apply("e2e"), &Patch::Apply(object)).await?;
        s.until_ready("other", "True/Succeeded").await?;
        until(s, &key(s, "other:1"), "published", |it| it.published).await?;
        let settled = s.maps().stored().await?;
        s.maps().renewals(4).await?;
        assert_eq!(s.maps().stored().await?, settled, "nobody writes what is written");
        assert_eq!(s.maps().holder().await?, holder);
        // It is one object that came, and was published: at most its steps, each once.
        let seen = writes.seen();
        assert!((1..=6).contains(&seen.len()) && writes.busiest() <= 2, "{seen:?}");
        assert_eq!(shown(&s.operator).await?, (true, Some(true)));
        for operator in [&shard, &elsewhere] {
            assert_eq!(shown(operator).await?, (false, Some(false)));
        }
        assert_eq!(s.operator.metric("multiarch_coverage_entries").await?.to_string(), "4");
        Ok(())
    })
    .await
}

/// Whether an operator shows something of the maps, and whether it has their Lease.
async fn shown(operator: &Operator) -> Result<(bool, Option<bool>)> {
    let text = operator.get("/metrics", "text/plain").await?.text().await?;
    let samples = samples(&text)?;
    let covers = samples.iter().any(|it| it.name == "multiarch_coverage_maps");
    let is_theirs = |lease: &String| lease == "multiarch-coverage";
    let leads = samples.iter().find(|it| it.labels.get("lease").is_some_and(is_theirs));
    Ok((covers, leads.map(|it| it.value > 0.0)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_killed_is_followed_and_nothing_is_forgotten() -> Result<()> {
    scenario_with_maps_and_election(SHORT, async |s| {
        let mut second = s.replica("second").await?;
        let first = publish(s, "1").await?;
        publish(s, "2").await?;
        let left = until(s, &key(s, "app:1"), "left", |it| it.until.is_some()).await?;
        let holder = s.maps().holder().await?;
        s.operator.kill().await?;
        let other = async || Ok((s.maps().holder().await? != holder).then_some(()));
        await_some("the other one keeps the maps", SOON, other).await?;
        publish(s, "3").await?;
        until(s, &key(s, "app:2"), "left", |it| it.until.is_some()).await?;
        let entries = s.maps().entries().await?;
        assert_eq!(value(&entries, &key(s, "app:1")), Some(left));
        // Nobody writes while the next tag is published, but nothing that the maps have is lost.
        let before: Vec<_> = entries.keys().cloned().collect();
        second.kill_and_restart().await?;
        s.operator.restart().await?;
        publish(s, "4").await?;
        let entries = s.maps().entries().await?;
        assert!(before.iter().all(|key| entries.contains_key(key)), "{before:?} {entries:#?}");
        assert!(value(&entries, &key_of_digest(s, "app:1", first.as_str())).is_some());
        Ok(())
    })
    .await
}

/// Whoever names a tag of another's repository, and may not push there, says nothing to other namespaces.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_push_binds_its_own_namespace_alone() -> Result<()> {
    scenario_with_maps(&[], async |s| {
        publish(s, "1").await?;
        // Its sources never come, so that it pushes nothing.
        let squatter = s.spec("squatter", "app:next", &BOTH);
        s.apply(&squatter).await?;
        let (next, namespace) = (key(s, "app:next"), s.namespace.name.clone());
        until(s, &next.within(&namespace), "waits", |it| !it.published).await?;
        let entries = s.maps().entries().await?;
        assert!(!entries.contains_key(&next.to_string()), "{entries:#?}");
        // Nor by a tag that is the owner's.
        let mut spec = squatter;
        spec.name = "reader".into();
        spec.spec["target"]["image"] = json!(s.registry.reference("app:1"));
        s.apply(&spec).await?;
        let one = key(s, "app:1");
        until(s, &one.within(&namespace), "named", |it| it.object.name == "reader").await?;
        assert_eq!(until(s, &one, "the owner's", |it| it.published).await?.object.name, "app");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_too_long_is_told_of_once() -> Result<()> {
    scenario_with_maps(&[], async |s| {
        let path = "a/".repeat(60) + "app:1";
        let source = format!("{path}-amd64");
        let mut spec =
            Spec::new(&s.registry, "long", &path).source("base", &source, &["linux/amd64"]);
        spec.spec["target"]["additionalTags"] = json!(["t".repeat(128), "u".repeat(128)]);
        s.apply(&spec).await?;
        let told = async || s.told("CoverageLeftOut").await;
        let told = await_some("it is told", SOON, told).await?;
        assert!(told.contains("253 characters") && told.ends_with("; 1 more"), "{told}");
        publish(s, "1").await?;
        publish(s, "2").await?;
        assert_eq!(s.operator.metric("multiarch_coverage_left_out").await?.to_string(), "2");
        let logs = s.operator.logs()?;
        assert_eq!(logs.matches("left out of the coverage maps").count(), 1);
        let entries = s.maps().entries().await?;
        assert!(entries.contains_key(&key(s, &path).within(&s.namespace.name).to_string()));
        Ok(())
    })
    .await
}

/// What the API server does not let it write is told, and waits.
#[tokio::test(flavor = "multi_thread")]
async fn without_rights_it_says_what_it_lacks() -> Result<()> {
    scenario_with_maps(&[], async |s| {
        publish(s, "1").await?;
        let home = multiarch_e2e::namespace::Namespace::create(&s.client).await?;
        home.grant_leases(&s.client, NAMESPACE, multiarch_e2e::operator::SERVICE_ACCOUNT).await?;
        let flags =
            ["--coverage-maps".to_owned(), format!("--leader-election-namespace={}", home.name)];
        let operator = s.replica_with("without", &flags).await?;
        operator.await_log("failed to watch the coverage maps", Duration::from_mins(1)).await?;
        assert!(operator.logs()?.contains("coverageMaps.enabled"));
        home.grant_maps(&s.client, NAMESPACE, multiarch_e2e::operator::SERVICE_ACCOUNT).await?;
        let maps = multiarch_e2e::maps::Maps::of(&s.client, &home.name);
        let one = key(s, "app:1");
        maps.until("they are written", |it| it.contains_key(&one.to_string())).await?;
        home.delete().await
    })
    .await
}
