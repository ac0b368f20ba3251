//! A set keeps a list of images true: an object for each line, pruned with it, and a status that counts them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use multiarch_crds::{
    condition::{Type, get},
    v1alpha1::{MultiArchImage, MultiArchImageSet},
};
use multiarch_e2e::{
    await_condition::{SOON, await_condition},
    images::Image,
    registry::Registry,
    scenario::{REQUESTED_AT, Scenario, scenario_of_two_registries_with},
};
use serde_json::{Value, json};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const FLAGS: &[&str] = &["--sets"];

/// The sets of the test's namespace.
struct Sets(Api<MultiArchImageSet>);

impl Sets {
    fn of(s: &Scenario) -> Self {
        Self(Api::namespaced(s.client.clone(), &s.namespace.name))
    }

    async fn apply(&self, name: &str, spec: Value) -> Result<MultiArchImageSet> {
        let object = json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
            "metadata": {"name": name}, "spec": spec,
        });
        let params = PatchParams::apply("e2e").force();
        self.0.patch(name, &params, &Patch::Apply(object)).await.context("failed to apply a set")
    }

    async fn until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&MultiArchImageSet) -> bool,
    ) -> Result<MultiArchImageSet> {
        let current = |set: &MultiArchImageSet| {
            let observed = set.status.as_ref().and_then(|status| status.observed_generation);
            observed == set.metadata.generation && holds(set)
        };
        await_condition(&self.0, name, what, SOON, current).await
    }

    /// Waits until Ready is `ready`, as `True/Succeeded`, and so many images are: `5/8`.
    async fn until_ready(&self, name: &str, ready: &str, of: &str) -> Result<MultiArchImageSet> {
        let holds = |set: &MultiArchImageSet| shown(set) == (ready.to_owned(), of.to_owned());
        self.until(name, &format!("Ready is {ready}, of {of}"), holds).await
    }
}

fn shown(set: &MultiArchImageSet) -> (String, String) {
    let Some(status) = &set.status else { return Default::default() };
    let ready = get(&status.conditions, Type::Ready);
    let ready = ready.map(|ready| format!("{}/{}", ready.status, ready.reason));
    (ready.unwrap_or_default(), status.summary.clone().unwrap_or_default())
}

/// Which lines are named, and why.
fn failing(set: &MultiArchImageSet) -> BTreeMap<String, String> {
    let failing = set.status.iter().flat_map(|status| &status.failing);
    failing.map(|line| (line.image.clone(), line.reason.clone())).collect()
}

/// From `elsewhere` to the test's registry, below `mirror`.
fn spec(s: &Scenario, elsewhere: &Registry, more: Value) -> Value {
    let mut spec = json!({
        "from": {"registry": elsewhere.host()},
        "to": {"registry": s.registry.host(), "prefix": "mirror"},
        "template": {"registries": [
            {"host": s.registry.host(), "plainHTTP": true},
            {"host": elsewhere.host(), "plainHTTP": true},
        ]},
    });
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    spec
}

/// Pushes an index of two platforms as each of `names`; their digests.
async fn push(elsewhere: &Registry, names: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut digests = BTreeMap::new();
    for name in names {
        let [amd64, arm64] = BOTH.map(|platform| Image::oci(platform, name));
        let index = Image::index(&[amd64?, arm64?])?;
        elsewhere.push(name, &index).await?;
        digests.insert((*name).to_owned(), index.digest());
    }
    Ok(digests)
}

async fn objects(s: &Scenario) -> Result<Vec<MultiArchImage>> {
    Ok(s.images().list(&ListParams::default()).await?.items)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_becomes_objects_and_one_bad_line_hurts_only_itself() -> Result<()> {
    scenario_of_two_registries_with(FLAGS, async |s, elsewhere| {
        let digests = push(elsewhere, &["team/a:1", "team/b:2.0"]).await?;
        let sets = Sets::of(s);
        let lines = ["team/a:1", "No Image", "team/b:2.0", "team/c"];
        let set = spec(s, elsewhere, json!({"images": lines}));
        let generation = sets.apply("all", set).await?.metadata.generation;
        let set = sets.until_ready("all", "False/ImagesFailing", "2/4").await?;
        assert_eq!(set.metadata.generation, generation);
        let named = [("No Image", "InvalidLine"), ("team/c", "InvalidLine")];
        assert_eq!(failing(&set), named.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
        for (name, digest) in &digests {
            let there = s.registry.digest(&format!("mirror/{name}")).await?;
            assert_eq!(there.as_ref(), Some(digest), "{name} is mirrored byte for byte");
        }
        let objects = objects(s).await?;
        let names: Vec<_> = objects.iter().map(ResourceExt::name_any).collect();
        assert!(
            names[0].starts_with("all-a-1-") && names[1].starts_with("all-b-2-0-"),
            "{names:?}"
        );
        let owner = &objects[0].owner_references()[0];
        assert_eq!((owner.kind.as_str(), owner.name.as_str()), ("MultiArchImageSet", "all"));

        // Mended, all are ready; and what is nobody's now goes, with its tag left.
        sets.apply("all", spec(s, elsewhere, json!({"images": ["team/b:2.0"]}))).await?;
        sets.until_ready("all", "True/Succeeded", "1/1").await?;
        let left: Vec<_> = self::objects(s).await?.iter().map(ResourceExt::name_any).collect();
        assert_eq!(left, names[1..]);
        assert!(s.registry.digest("mirror/team/a:1").await?.is_some(), "its tag is left");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_a_config_map_is_read_anew_and_an_absent_one_prunes_nothing() -> Result<()> {
    scenario_of_two_registries_with(FLAGS, async |s, elsewhere| {
        push(elsewhere, &["team/a:1", "team/b:1"]).await?;
        let maps: Api<ConfigMap> = Api::namespaced(s.client.clone(), &s.namespace.name);
        let params = PatchParams::apply("e2e").force();
        let list = |text: &str| {
            Patch::Apply(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "images"},
                "data": {"list": text},
            }))
        };
        let sets = Sets::of(s);
        let from = json!({"imagesFrom": {"configMapKeyRef": {"name": "images", "key": "list"}}});
        sets.apply("all", spec(s, elsewhere, from)).await?;
        sets.until_ready("all", "Unknown/ListNotFound", "").await?;
        maps.patch("images", &params, &list("# ours\nteam/a:1 # the first\n\nteam/b:1\n")).await?;
        ask(&sets, "all", "1").await?;
        sets.until_ready("all", "True/Succeeded", "2/2").await?;
        maps.delete("images", &DeleteParams::default()).await?;
        ask(&sets, "all", "2").await?;
        let set = sets.until_ready("all", "Unknown/ListNotFound", "2/2").await?;
        assert_eq!(objects(s).await?.len(), 2, "nothing is pruned");
        let ready = get(&set.status.context("a status")?.conditions, Type::Ready).cloned();
        assert!(ready.context("Ready")?.message.contains("ConfigMap images is not in this"));
        Ok(())
    })
    .await
}

/// Asks for a run, and waits until it is answered.
async fn ask(sets: &Sets, name: &str, value: &str) -> Result<()> {
    let patch = json!({"metadata": {"annotations": {REQUESTED_AT: value}}});
    sets.0.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    let answered = |set: &MultiArchImageSet| {
        let status = set.status.as_ref();
        status.and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some(value)
    };
    sets.until(name, "the status echoes the annotation", answered).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_set_that_claims_a_target_is_told_so() -> Result<()> {
    scenario_of_two_registries_with(FLAGS, async |s, elsewhere| {
        push(elsewhere, &["team/a:1", "team/b:1"]).await?;
        let sets = Sets::of(s);
        sets.apply("one", spec(s, elsewhere, json!({"images": ["team/a:1"]}))).await?;
        sets.until_ready("one", "True/Succeeded", "1/1").await?;
        sets.apply("two", spec(s, elsewhere, json!({"images": ["team/a:1", "team/b:1"]}))).await?;
        let set = sets.until_ready("two", "False/ImagesFailing", "1/2").await?;
        assert_eq!(failing(&set), [("team/a:1".into(), "TargetConflict".into())].into());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_set_leaves_its_objects_and_a_deleted_one_takes_them_along() -> Result<()> {
    scenario_of_two_registries_with(FLAGS, async |s, elsewhere| {
        push(elsewhere, &["team/a:1", "team/b:1"]).await?;
        let sets = Sets::of(s);
        let platforms = json!({"images": ["team/a:1"], "platforms": ["linux/arm64"]});
        sets.apply("all", spec(s, elsewhere, platforms)).await?;
        sets.until_ready("all", "True/Succeeded", "1/1").await?;
        let object = objects(s).await?.remove(0);
        let platforms = object.status.context("a status")?.platforms;
        let platforms: Vec<_> = platforms.iter().map(|it| it.platform.as_str()).collect();
        assert_eq!(platforms, ["linux/arm64"]);
        let suspended = json!({"images": ["team/b:1"], "suspend": true});
        sets.apply("all", spec(s, elsewhere, suspended)).await?;
        sets.until_ready("all", "True/Suspended", "1/1").await?;
        assert_eq!(objects(s).await?.len(), 1);
        // What collects garbage is the cluster's.
        sets.0.delete("all", &DeleteParams::foreground()).await?;
        multiarch_e2e::await_condition::await_some("its objects are gone", SOON, async || {
            Ok(objects(s).await?.is_empty().then_some(()))
        })
        .await
    })
    .await
}
