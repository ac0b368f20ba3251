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
    await_condition::{SOON, await_condition, await_some},
    bin::workspace,
    health::verdicts,
    images::Image,
    operator::samples,
    registry::Registry,
    scenario::{REQUESTED_AT, Scenario, scenario, scenario_of_two_registries_with},
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
        let bad = [("No Image", "InvalidLine"), ("team/c", "InvalidLine")];
        assert_eq!(failing(&set), bad.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
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
        await_some("its objects are gone", SOON, async || {
            Ok(objects(s).await?.is_empty().then_some(()))
        })
        .await
    })
    .await
}

/// By a real server-side apply: what the set says is put back, what it says no more is taken out, and all else is the user's.
#[tokio::test(flavor = "multi_thread")]
async fn its_objects_are_what_the_set_says_and_all_else_is_the_users() -> Result<()> {
    scenario_of_two_registries_with(FLAGS, async |s, elsewhere| {
        push(elsewhere, &["team/a:1"]).await?;
        let sets = Sets::of(s);
        let some = json!({"images": ["team/a:1"], "platforms": ["linux/arm64"]});
        sets.apply("all", spec(s, elsewhere, some.clone())).await?;
        sets.until_ready("all", "True/Succeeded", "1/1").await?;
        let name = objects(s).await?[0].name_any();
        let edit = json!({
            "metadata": {"labels": {"example.com/mine": "yes"}},
            "spec": {"interval": "1h", "target": {"image": s.registry.reference("mirror/team/a:other")}},
        });
        let params = PatchParams::default();
        s.images().patch(&name, &params, &Patch::Merge(edit)).await?;
        let image = s.registry.reference("mirror/team/a:1");
        let is_put_back = |object: &MultiArchImage| object.spec.target.image == image;
        let object =
            await_condition(&s.images(), &name, "it is put back", SOON, is_put_back).await?;
        assert_eq!(object.labels()["example.com/mine"], "yes");
        // A template says its defaults, too.
        assert_eq!(std::time::Duration::from(object.spec.interval).as_secs(), 600);

        // In lists as well, where an apply alone leaves what others have put there.
        let other = s.registry.reference("team/other:1");
        let edit = json!({"spec": {
            "sources": [
                {"name": "image", "image": elsewhere.reference("team/a:1"), "platforms": ["linux/amd64"]},
                {"name": "more", "image": other},
            ],
            "requiredPlatforms": ["linux/s390x"],
        }});
        s.images().patch(&name, &params, &Patch::Merge(edit)).await?;
        let is_alone = |object: &MultiArchImage| {
            let sources = &object.spec.sources;
            sources.len() == 1 && sources[0].platforms == ["linux/arm64"]
        };
        let object =
            await_condition(&s.images(), &name, "its lists are put back", SOON, is_alone).await?;
        // The set says nothing of these.
        assert_eq!(object.spec.required_platforms, ["linux/s390x"]);
        let mine = json!({"spec": {"requiredPlatforms": null}});
        s.images().patch(&name, &params, &Patch::Merge(mine)).await?;

        s.images().delete(&name, &DeleteParams::default()).await?;
        await_condition(&s.images(), &name, "it is made anew", SOON, is_put_back).await?;
        sets.until_ready("all", "True/Succeeded", "1/1").await?;

        sets.apply("all", spec(s, elsewhere, json!({"images": ["team/a:1"]}))).await?;
        sets.until_ready("all", "True/Succeeded", "1/1").await?;
        let object = s.images().get(&name).await?;
        assert!(object.spec.sources[0].platforms.is_empty(), "all platforms again");
        let there = object.status.context("a status")?.platforms.len();
        assert_eq!(there, BOTH.len());
        Ok(())
    })
    .await
}

/// Each has a finalizer, which the operator takes off.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_set_takes_its_tags_along_where_that_is_asked() -> Result<()> {
    scenario_of_two_registries_with(FLAGS, async |s, elsewhere| {
        push(elsewhere, &["team/a:1", "team/b:1"]).await?;
        let sets = Sets::of(s);
        let mut all = spec(s, elsewhere, json!({"images": ["team/a:1", "team/b:1"]}));
        all["template"]["deletionPolicy"] = json!("Delete");
        sets.apply("all", all).await?;
        sets.until_ready("all", "True/Succeeded", "2/2").await?;
        sets.0.delete("all", &DeleteParams::background()).await?;
        let gone = async || Ok(objects(s).await?.is_empty().then_some(()));
        await_some("its objects are gone", SOON, gone).await?;
        for name in ["team/a:1", "team/b:1"] {
            assert_eq!(s.registry.digest(&format!("mirror/{name}")).await?, None, "{name}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_the_cluster_holds_for_what_a_set_makes() -> Result<()> {
    scenario_of_two_registries_with(FLAGS, async |s, elsewhere| {
        push(elsewhere, &["team/a:1", "team/b:1"]).await?;
        let name = format!("{}.example.com", s.namespace.name);
        let policy = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
                "metadata": {"name": name},
                "spec": {
                    "matchConstraints": {"resourceRules": [{
                        "apiGroups": ["multiarch.dev"], "apiVersions": ["*"],
                        "operations": ["CREATE"], "resources": ["multiarchimages"],
                    }]},
                    "validations": [{
                        "expression": "!object.spec.target.image.endsWith('/b:1')",
                        "message": "b is not for this namespace", "reason": "Forbidden",
                    }],
                },
            },
            {
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": name},
                "spec": {
                    "policyName": name, "validationActions": ["Deny"],
                    "matchResources": {"namespaceSelector": {"matchLabels": {
                        "kubernetes.io/metadata.name": s.namespace.name,
                    }}},
                },
            },
        ]});
        s.cluster.apply_text(&policy.to_string()).await?;
        // It counts from the moment that the API server has seen it.
        let tried = s.spec("tried", "team/b:1", &BOTH[..1]);
        let dry = PatchParams { dry_run: true, ..PatchParams::apply("e2e") };
        let refuses = async || {
            let tried = s.images().patch("tried", &dry, &Patch::Apply(tried.object())).await;
            Ok(tried.is_err().then_some(()))
        };
        await_some("the policy is there", SOON, refuses).await?;
        let sets = Sets::of(s);
        sets.apply("all", spec(s, elsewhere, json!({"images": ["team/a:1", "team/b:1"]}))).await?;
        let set = sets.until_ready("all", "False/ImagesFailing", "1/2").await?;
        assert_eq!(failing(&set), [("team/b:1".into(), "ObjectRefused".into())].into());
        let message = set.status.context("a status")?.failing[0].message.clone();
        assert!(message.context("a message")?.contains("b is not for this namespace"));

        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            s.cluster.kubectl(["delete", kind, &name]).await?;
        }
        let allows = async || {
            let tried = s.images().patch("tried", &dry, &Patch::Apply(tried.object())).await;
            Ok(tried.is_ok().then_some(()))
        };
        await_some("the policy is gone", SOON, allows).await?;
        ask(&sets, "all", "1").await?;
        sets.until_ready("all", "True/Succeeded", "2/2").await?;
        Ok(())
    })
    .await
}

const MAIN: &[&str] = &["--sets", "--watch-label-selector=multiarch.dev/shard notin (a, b)"];
const SHARD: [&str; 2] = ["--sets", "--watch-label-selector=multiarch.dev/shard=a"];

#[tokio::test(flavor = "multi_thread")]
async fn a_set_and_its_objects_are_of_one_shard() -> Result<()> {
    scenario_of_two_registries_with(MAIN, async |s, elsewhere| {
        let shard = s.replica_with("a", &SHARD).await?;
        push(elsewhere, &["team/a:1", "team/b:1"]).await?;
        let sets = Sets::of(s);
        let all = spec(s, elsewhere, json!({"images": ["team/a:1", "team/b:1"]}));
        let object = json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
            "metadata": {"name": "all", "labels": {"multiarch.dev/shard": "a"}}, "spec": all,
        });
        let params = PatchParams::apply("e2e").force();
        sets.0.patch("all", &params, &Patch::Apply(object)).await?;
        sets.until_ready("all", "True/Succeeded", "2/2").await?;
        for object in objects(s).await? {
            assert_eq!(object.labels()["multiarch.dev/shard"], "a");
        }
        let text = shard.get("/metrics", "text/plain").await?.text().await?;
        let shown = samples(&text)?.into_iter().filter(|it| it.name == "multiarch_set_images");
        let shown: BTreeMap<_, _> =
            shown.map(|mut it| (it.labels.remove("state").unwrap_or_default(), it.value)).collect();
        let expected = [("failing", 0.0), ("ready", 2.0), ("waiting", 0.0)];
        assert_eq!(shown, expected.map(|(state, count)| (state.to_owned(), count)).into());
        for metric in ["multiarch_resource_ready", "multiarch_set_images"] {
            let text = s.operator.get("/metrics", "text/plain").await?.text().await?;
            assert!(!samples(&text)?.iter().any(|it| it.name == metric), "{metric}");
        }
        // One that somebody moves to another shard comes back.
        let name = objects(s).await?[0].name_any();
        let moved = json!({"metadata": {"labels": {"multiarch.dev/shard": "b"}}});
        s.images().patch(&name, &PatchParams::default(), &Patch::Merge(moved)).await?;
        let is_back = |it: &MultiArchImage| it.labels()["multiarch.dev/shard"] == "a";
        await_condition(&s.images(), &name, "it is back", SOON, is_back).await?;
        Ok(())
    })
    .await
}

/// The page of GitOps keeps its word for sets, too.
#[tokio::test(flavor = "multi_thread")]
async fn each_state_is_what_the_page_says_to_each_tool() -> Result<()> {
    let page = workspace().join("docs/gitops/README.md");
    let page = std::fs::read_to_string(&page).context("no page")?;
    let (_, table) = page.split_once("| a MultiArchImageSet of which").context("no table")?;
    let table: Vec<_> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(ToOwned::to_owned)
        .collect();
    scenario_of_two_registries_with(FLAGS, async |s, elsewhere| {
        let seen = Box::pin(states(s, elsewhere)).await?;
        let (words, seen): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
        let said = verdicts(&seen).await?;
        let rows = words.iter().zip(&seen).zip(said).map(|((words, set), said)| {
            let conditions = set.status.iter().flat_map(|status| &status.conditions);
            let conditions: Vec<_> = conditions.cloned().collect();
            let ready = get(&conditions, Type::Ready)
                .map_or("none yet".into(), |ready| format!("{}, {}", ready.status, ready.reason));
            let beside = [Type::Reconciling, Type::Stalled].into_iter();
            let beside = beside.filter(|it| get(&conditions, *it).is_some());
            let beside = beside.map(|it| it.to_string()).collect::<String>();
            format!(
                "| {words} | {ready} | {beside} | {} | {} | {} |",
                said.kstatus.status, said.flux.status, said.argo.status
            )
        });
        let rows: Vec<_> = rows.collect();
        assert_eq!(table, rows, "the table should be:\n{}\n", rows.join("\n"));
        Ok(())
    })
    .await
}

async fn states(
    s: &mut Scenario,
    elsewhere: &Registry,
) -> Result<Vec<(&'static str, MultiArchImageSet)>> {
    push(elsewhere, &["team/a:1", "team/b:1"]).await?;
    let sets = Sets::of(s);
    let of = |lines: &[&str]| spec(s, elsewhere, json!({"images": lines}));
    let mut suspended = of(&["team/a:1"]);
    suspended["suspend"] = json!(true);
    let [one, late, both, bad] = [
        of(&["team/a:1"]),
        of(&["team/a:1", "team/late:1"]),
        of(&["team/a:1", "team/late:1", "no image"]),
        of(&["team/a:1", "no image"]),
    ];
    let from = json!({"imagesFrom": {"configMapKeyRef": {"name": "images", "key": "list"}}});
    let from = spec(s, elsewhere, from);
    s.operator.kill().await?;
    let mut seen = vec![("nothing was looked at yet", sets.apply("all", one).await?)];
    s.operator.restart().await?;
    seen.push(("all images are ready", sets.until_ready("all", "True/Succeeded", "1/1").await?));
    sets.apply("all", late).await?;
    let waits = sets.until_ready("all", "Unknown/WaitingForImages", "1/2").await?;
    seen.push(("an image is late", waits));
    sets.apply("all", both).await?;
    let fails = sets.until_ready("all", "False/ImagesFailing", "1/3").await?;
    seen.push(("a line is no image, and another one is late", fails));
    sets.apply("all", bad).await?;
    let stalls = |set: &MultiArchImageSet| {
        let conditions = set.status.as_ref().map(|status| &status.conditions);
        conditions.is_some_and(|it| get(it, Type::Stalled).is_some())
    };
    let stalled = sets.until("all", "it is Stalled", stalls).await?;
    seen.push(("a line is no image, and all others are ready", stalled));
    sets.apply("listed", from).await?;
    let listed = sets.until_ready("listed", "Unknown/ListNotFound", "").await?;
    seen.push(("the ConfigMap is not there", listed));
    // The operator has no folder of archives.
    let packed = json!({"images": ["team/a:1"], "archives": [{"path": "a.tar"}]});
    sets.apply("packed", spec(s, elsewhere, packed)).await?;
    let refused = sets.until_ready("packed", "False/ArchiveNotReady", "0/1").await?;
    seen.push(("an archive is refused or broken, and nothing else is under way", refused));
    let mut ready = suspended.clone();
    ready["suspend"] = json!(false);
    sets.apply("all", ready).await?;
    sets.until_ready("all", "True/Succeeded", "1/1").await?;
    sets.apply("all", suspended).await?;
    let suspended = sets.until_ready("all", "True/Suspended", "1/1").await?;
    seen.push(("the list is left alone (suspend)", suspended));
    Ok(seen)
}

/// A case of the tests of the CRDs; what the CRD's rules say in them, a real API server says.
#[derive(serde::Deserialize)]
struct Case {
    name: String,
    patch: Value,
    says: Option<String>,
}

fn cases(file: &str) -> Result<Vec<Case>> {
    let file = workspace().join("crds/tests/fixtures").join(file);
    let text = std::fs::read_to_string(&file)?;
    serde_saphyr::from_str(&text).with_context(|| format!("failed to read {}", file.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_api_server_takes_and_refuses_sets_as_the_tests_of_the_crd_say() -> Result<()> {
    scenario(async |s| {
        let sets = Sets::of(s);
        let base = json!({
            "images": ["rancher/mirrored-pause:3.6"], "to": {"registry": "registry.local:5000"},
        });
        sets.apply("k3s", base).await?;
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        let all = cases("accepted_sets.yaml")?.into_iter().chain(cases("refused_sets.yaml")?);
        let mut refused = 0;
        for Case { name, patch, says } in all {
            let tried = sets.0.patch("k3s", &dry, &Patch::Merge(patch)).await;
            match (tried, says) {
                (Ok(_), None) => {}
                (Err(error), Some(says)) => {
                    let told = error.to_string();
                    assert!(told.contains(&says), "{name}: {told}");
                    refused += 1;
                }
                (tried, _) => panic!("{name}: {tried:?}"),
            }
        }
        assert!(refused > 20, "{refused}");
        Ok(())
    })
    .await
}
