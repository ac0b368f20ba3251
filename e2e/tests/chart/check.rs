//! `multiarch-operator check`, which `helm test` runs: with what the chart gives it is content, and what is missing it names.

use anyhow::Result;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    bin::workspace,
    cluster::Cluster,
    helm::{Helm, Release},
    namespace::Namespace,
    operator::{self, SERVICE_ACCOUNT},
};
use serde_json::{Value, json};

use crate::own::cluster;
use crate::yaml::{args, objects, of_kind, parse, read};

/// What the chart gives with `values`, and what the check says then; `without` is left out of what is given.
async fn checked(
    cluster: &Cluster,
    home: &str,
    values: &Value,
    without: Option<(&str, &str)>,
) -> Result<(bool, String)> {
    let release = Release { name: SERVICE_ACCOUNT, namespace: home, values };
    let mut objects = objects(&Helm::new()?.template(release, &[]).await?);
    let flags = args(&of_kind(&objects, "Pod")[0]["spec"]);
    let kinds = ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ServiceAccount"]
        .map(Value::from);
    objects.retain(|of| kinds.contains(&of["kind"]));
    if let Some((resource, verb)) = without {
        for rules in objects.iter_mut().filter_map(|of| of.get_mut("rules")?.as_array_mut()) {
            for rule in rules.iter_mut().filter(|rule| rule["resources"] == json!([resource])) {
                rule["verbs"].as_array_mut().unwrap().retain(|of| of != verb);
            }
            // A rule without verbs is refused.
            rules.retain(|rule| rule["verbs"] != json!([]));
        }
    }
    let given = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    cluster.apply_text(&given.to_string()).await?;
    let folder = tempfile::tempdir()?;
    // Roles reach the authorizer by a watch.
    let expected = without.is_none();
    let mut last = operator::check(cluster, folder.path(), home, &flags).await?;
    let settled = async || {
        let told = operator::check(cluster, folder.path(), home, &flags).await?;
        Ok((told.0 == expected).then_some(told))
    };
    if last.0 != expected {
        last = await_some("the check has another result", SOON, settled).await?;
    }
    Ok(last)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_what_the_chart_gives_nothing_is_missing() -> Result<()> {
    let cluster = cluster().await?;
    let client = cluster.client().await?;
    let (home, other) = (Namespace::create(&client).await?, Namespace::create(&client).await?);
    let name = format!("multiarch-{}", home.name);
    let account = json!({"fullnameOverride": name, "serviceAccount": {"name": SERVICE_ACCOUNT}});
    let of_nodes = format!("{name}-{}-nodes", home.name);
    let both = [&home.name, &other.name];
    for (values, rights) in [
        (json!({}), 19),
        (json!({"sets": {"enabled": false}}), 12),
        (json!({"coverageMaps": {"enabled": true}}), 27),
        (json!({"nodePlatforms": {"enabled": true}}), 21),
        (json!({"rbac": {"secrets": "PerNamespace", "secretNamespaces": both}}), 20),
        (json!({"rbac": {"scope": "Namespaced"}, "watchNamespaces": both}), 35),
        (
            json!({
                "rbac": {"scope": "Namespaced", "secrets": "PerNamespace", "secretNamespaces": [home.name]},
                "watchNamespaces": both,
            }),
            34,
        ),
    ] {
        let values = crate::yaml::merged(&account, &values);
        let (fine, said) = checked(&cluster, &home.name, &values, None).await?;
        assert!(fine, "{values}: {said}");
        assert_eq!(
            said.lines().filter(|line| line.starts_with("ok       it may ")).count(),
            rights,
            "{said}"
        );
        assert!(said.contains("the API server answers: v1."), "{said}");
        let sets = values["sets"]["enabled"] != json!(false);
        for (plural, asked) in [("multiarchimages", true), ("multiarchimagesets", sets)] {
            let served = format!("serves {plural} in multiarch.dev/v1alpha1");
            let whole = format!("the CRD of {plural} has all fields");
            assert_eq!(said.contains(&served), asked, "{said}");
            assert_eq!(said.contains(&whole), asked, "{said}");
        }
        // The next set starts from nothing.
        for kind in ["clusterrole", "clusterrolebinding"] {
            let delete = [
                "delete",
                kind,
                "--ignore-not-found",
                &name,
                &format!("{name}-secrets"),
                &of_nodes,
            ];
            cluster.kubectl(delete).await?;
        }
        for namespace in both {
            let all = ["delete", "roles,rolebindings", "--all", "--namespace", namespace];
            cluster.kubectl(all).await?;
        }
    }
    for kind in ["view", "edit"] {
        cluster.kubectl(["delete", "clusterrole", &format!("{name}-{kind}")]).await?;
    }
    home.delete().await?;
    other.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_that_is_missing_is_named() -> Result<()> {
    let cluster = cluster().await?;
    let client = cluster.client().await?;
    for (resource, verb, words) in [
        ("multiarchimages", "watch", "no object is seen; rbac.create"),
        ("multiarchimages/status", "patch", "no object has a status"),
        ("secrets", "get", "rbac.secretNamespaces"),
        ("events", "create", "no Events"),
        ("nodes", "watch", "NodesCovered stays Unknown; rbac.create"),
        ("leases", "update", "no replica works; rbac.create"),
        ("multiarchimagesets", "watch", "no set is seen; rbac.create and sets.enabled"),
        ("multiarchimages", "create", "sets have no objects; rbac.create and sets.enabled"),
        ("configmaps", "get", "imagesFrom of sets does not work; rbac.create and sets.enabled"),
    ] {
        let home = Namespace::create(&client).await?;
        let nodes = json!({"enabled": resource == "nodes"});
        let values = json!({
            "rbac": {"scope": "Namespaced"}, "watchNamespaces": [home.name], "nodePlatforms": nodes,
        });
        let (fine, said) = checked(&cluster, &home.name, &values, Some((resource, verb))).await?;
        let missing: Vec<_> = said.lines().filter(|line| line.starts_with("MISSING")).collect();
        let [line] = missing[..] else { panic!("{said}") };
        let right = format!("it may not {verb} {resource}");
        assert!(!fine && line.contains(&right) && line.contains(words), "{line}");
        let role = format!("{SERVICE_ACCOUNT}-{}-nodes", home.name);
        for kind in ["clusterrole", "clusterrolebinding"] {
            cluster.kubectl(["delete", kind, "--ignore-not-found", &role]).await?;
        }
        home.delete().await?;
    }
    Ok(())
}

/// Nothing, another version, an older one: each is told apart, and what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_absent_or_old_is_told() -> Result<()> {
    let cluster = Cluster::start_bare().await?;
    let (home, folder) = ("default", tempfile::tempdir()?);
    cluster.kubectl(["create", "serviceaccount", SERVICE_ACCOUNT, "--namespace", home]).await?;
    // Discovery lags the CRD by a moment.
    let alone = ["check"];
    let told = async |words: &str, flags: &[&str]| {
        let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let line = async || {
            let (fine, said) = operator::check(&cluster, folder.path(), home, &flags).await?;
            Ok((!fine && said.contains(words)).then_some(()))
        };
        await_some(words, SOON, line).await
    };
    told("MISSING  multiarch.dev/v1alpha1 is not served, the CRD is not installed: install the chart", &alone).await?;
    let ours = parse(&read(&workspace().join("crds/multiarchimages.yaml")));
    let mut other = ours.clone();
    other["spec"]["versions"][0]["name"] = json!("v1alpha0");
    cluster.apply_text(&other.to_string()).await?;
    told("is not served, the CRD serves v1alpha0 only: ", &alone).await?;
    cluster.kubectl(["delete", "crd", "multiarchimages.multiarch.dev"]).await?;
    let mut older = ours;
    let schema = &mut older["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let fields = schema["properties"]["status"]["properties"].as_object_mut().unwrap();
    fields.remove("coverage").unwrap();
    older["spec"]["versions"][0]["additionalPrinterColumns"] = json!([]);
    cluster.apply_text(&older.to_string()).await?;
    told("MISSING  the CRD of multiarchimages is older than this operator, and what is written to these fields is lost: status.coverage; apply", &alone).await?;
    let archives = folder.path().join("archives");
    let with_archives = [format!("--archive-dir={}", archives.display()), "check".to_owned()];
    let with_archives = with_archives.each_ref().map(String::as_str);
    told("MISSING  failed to open the folder of archives", &with_archives).await?;
    std::fs::create_dir(&archives)?;
    told("ok       the folder of archives", &with_archives).await?;
    let with_sets = ["--sets", "check"];
    told("MISSING  multiarch.dev/v1alpha1 has no multiarchimagesets with a status: install the chart", &with_sets).await?;
    let mut older = parse(&read(&workspace().join("crds/multiarchimagesets.yaml")));
    let schema = &mut older["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"]["properties"].as_object_mut().unwrap().remove("archives").unwrap();
    cluster.apply_text(&older.to_string()).await?;
    told("MISSING  the CRD of multiarchimagesets is older than this operator, and what is written to these fields is lost: spec.archives; apply", &with_sets).await
}
