//! Each value has an effect, each typo is refused, and what cannot be is told.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use multiarch_e2e::helm::{Helm, chart};
use serde_json::{Value, json};

use crate::{
    cases::{PEM, cases},
    yaml::{self, at, merged, text, values},
};

/// Values that have an effect only beside others: the beginning of their path, and those.
fn beside() -> Vec<(&'static str, Value)> {
    let on = json!({"enabled": true});
    vec![
        ("rbac.secretNamespaces", json!({"rbac": {"secrets": "PerNamespace"}})),
        ("rbac.scope", json!({"watchNamespaces": ["team-a"]})),
        ("caBundle.existingSecret.key", json!({"caBundle": {"existingSecret": {"name": "ca"}}})),
        (
            "caBundle.existingConfigMap.key",
            json!({"caBundle": {"existingConfigMap": {"name": "ca"}}}),
        ),
        ("credentialProviders.binDir", json!({"credentialProviders": {"existingConfigMap": "p"}})),
        ("credentialProviders.allow", json!({"credentialProviders": {"existingConfigMap": "p"}})),
        ("archives.s", json!({"archives": {"existingClaim": "archives"}})),
        ("leaderElection.enabled", json!({"replicaCount": 1})),
        ("serviceAccount.create", json!({"serviceAccount": {"name": "mine"}})),
        ("metrics.serviceMonitor.", json!({"metrics": {"serviceMonitor": on}})),
        ("metrics.podMonitor.", json!({"metrics": {"podMonitor": on}})),
        ("metrics.prometheusRule.", json!({"metrics": {"prometheusRule": on}})),
        ("metrics.dashboard.", json!({"metrics": {"dashboard": on}})),
        ("admission.", json!({"admission": on})),
        ("networkPolicy.", json!({"networkPolicy": {"enabled": true, "egress": "Restricted"}})),
    ]
}

/// A config of one plugin.
fn providers_config() -> Value {
    let config = cases().into_iter().find(|(name, _)| *name == "credential-providers");
    config.unwrap().1["credentialProviders"]["config"].clone()
}

/// Another valid value for those where a type alone does not tell one.
fn others() -> BTreeMap<&'static str, Value> {
    let label = || json!({"other": "one"});
    let object = || json!([{"name": "other"}]);
    let relabeling = || json!([{"action": "labeldrop", "regex": "other"}]);
    BTreeMap::from([
        ("global.imageRegistry", json!("mirror.example.com")),
        ("commonLabels", label()),
        ("image.digest", json!(format!("sha256:{}", "0a".repeat(32)))),
        ("image.pullPolicy", json!("Always")),
        ("imagePullSecrets", object()),
        ("strategy.type", json!("Recreate")),
        ("topologySpreadConstraints", json!([])),
        ("affinity", json!({"nodeAffinity": {}})),
        ("admin.address", json!("[::]")),
        ("logLevel", json!("debug")),
        ("tolerations", json!([{"operator": "Exists"}])),
        ("podSecurityContext.seccompProfile.type", json!("Localhost")),
        ("securityContext.capabilities.drop", json!(["NET_RAW"])),
        ("resources.requests.cpu", json!("1")),
        ("resources.requests.memory", json!("1Gi")),
        ("resources.limits.memory", json!("1Gi")),
        ("serviceAccount.annotations", label()),
        ("nodeSelector", label()),
        ("podLabels", label()),
        ("podAnnotations", label()),
        ("rbac.scope", json!("Namespaced")),
        ("rbac.secrets", json!("PerNamespace")),
        ("rbac.secretNamespaces", json!(["other"])),
        ("watchNamespaces", json!(["other"])),
        ("shards", json!(["other"])),
        ("allowedRegistries", json!(["other.example.com"])),
        ("uploadHosts", json!(["a.example.com=b.example.com"])),
        ("tokenRealms", json!(["a.example.com=https://b.example.com/token"])),
        ("caBundle.inline", json!(PEM)),
        ("credentialProviders.config", providers_config()),
        ("credentialProviders.binDir", json!("/other")),
        ("credentialProviders.allow", json!(["a=b.example.com"])),
        ("proxy.httpsProxy", json!("http://proxy.example.com")),
        ("proxy.httpProxy", json!("http://proxy.example.com")),
        ("proxy.allProxy", json!("http://proxy.example.com")),
        ("logFormat", json!("text")),
        ("networkPolicy.egress", json!("All")),
        ("networkPolicy.dnsPorts", json!([5353])),
        ("networkPolicy.apiServerPorts", json!([16443])),
        ("networkPolicy.registryPorts", json!([5000])),
        ("networkPolicy.exceptCIDRs", json!([])),
        ("networkPolicy.extraEgress", json!([{}])),
        ("networkPolicy.metricsFrom", json!([{"podSelector": {}}])),
        ("admission.pods", json!("Deny")),
        ("admission.workloads", json!("Off")),
        ("admission.namespaceSelector", json!({"matchLabels": label()})),
        ("admission.failurePolicy", json!("Fail")),
        ("extraArgs", json!(["--allow-loopback-registries"])),
        ("extraEnv", object()),
        ("extraEnvFrom", json!([{"configMapRef": {"name": "other"}}])),
        ("extraVolumes", object()),
        ("extraVolumeMounts", json!([{"name": "other", "mountPath": "/other"}])),
        ("initContainers", object()),
        ("extraContainers", object()),
        ("extraObjects", json!([{"kind": "ConfigMap"}])),
        ("metrics.service.labels", label()),
        ("metrics.service.annotations", label()),
        ("metrics.serviceMonitor.labels", label()),
        ("metrics.serviceMonitor.annotations", label()),
        ("metrics.serviceMonitor.interval", json!("1m")),
        ("metrics.serviceMonitor.scrapeTimeout", json!("1m")),
        ("metrics.serviceMonitor.relabelings", relabeling()),
        ("metrics.serviceMonitor.metricRelabelings", relabeling()),
        ("metrics.podMonitor.labels", label()),
        ("metrics.podMonitor.annotations", label()),
        ("metrics.podMonitor.interval", json!("1m")),
        ("metrics.podMonitor.scrapeTimeout", json!("1m")),
        ("metrics.podMonitor.relabelings", relabeling()),
        ("metrics.podMonitor.metricRelabelings", relabeling()),
        ("metrics.prometheusRule.labels", label()),
        ("metrics.prometheusRule.annotations", label()),
        ("metrics.dashboard.annotations", label()),
    ])
}

/// Each value and its default; a list is one, and so is a map that is empty or of labels.
pub(crate) fn leaves(path: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    match value.as_object() {
        Some(map) if !map.is_empty() && !map.keys().any(|key| key.contains('.')) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(&path, value, found);
            }
        }
        _ => found.push((path.to_owned(), value.clone())),
    }
}

/// What is set so that `path` has an effect, and what is set beside that to change it.
pub(crate) fn change(path: &str, default: &Value) -> (Value, Value) {
    let other = others().remove(path).unwrap_or_else(|| match default {
        Value::Bool(on) => json!(!on),
        Value::Number(number) => json!(number.as_u64().unwrap() + 1),
        Value::String(_) => json!("other"),
        _ => panic!("{path}: name another value in `others`"),
    });
    let mut base = json!({});
    for (of, values) in beside() {
        if path.starts_with(of) && path != format!("{of}enabled") {
            base = merged(&base, &values);
        }
    }
    let changed = merged(&base, &at(path, other));
    (base, changed)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_value_changes_what_is_rendered() -> Result<()> {
    let mut all = Vec::new();
    leaves("", &values(), &mut all);
    assert!(all.len() > 120, "{}", all.len());
    for path in others().keys() {
        assert!(all.iter().any(|(leaf, _)| leaf == path), "{path} is no value any more");
    }
    let changes: Vec<_> = all.iter().map(|(path, default)| (path, change(path, default))).collect();
    let bases: BTreeSet<_> = changes.iter().map(|(_, (base, _))| base.to_string()).collect();
    let renders = bases.into_iter().map(|base| async move {
        let rendered = text(&yaml::parse(&base)).await?;
        anyhow::Ok((base, rendered))
    });
    let before: BTreeMap<_, _> = stream::iter(renders).buffer_unordered(4).try_collect().await?;
    let renders = changes.into_iter().map(|(path, (base, changed))| {
        let before = &before[&base.to_string()];
        async move { anyhow::Ok((*before == text(&changed).await?).then_some(path)) }
    });
    let same: Vec<_> = stream::iter(renders).buffer_unordered(4).try_collect().await?;
    let unused: Vec<_> = same.into_iter().flatten().collect();
    assert_eq!(unused, [""; 0], "these values change nothing");
    Ok(())
}

/// Maps whose keys are the user's, and one that a parent chart shares with others.
const OPEN: [&str; 5] = [
    "global",
    "nodeSelector",
    "metrics.dashboard.labels",
    "resources.limits",
    "resources.requests",
];

/// The paths of all maps that have keys.
pub(crate) fn maps(path: &str, value: &Value, found: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if value.as_object().is_some_and(|map| !map.is_empty()) {
            found.push(path.clone());
            maps(&path, value, found);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_typo_is_refused() -> Result<()> {
    let mut paths = vec![String::new()];
    maps("", &values(), &mut paths);
    assert!(paths.len() > 30, "{paths:?}");
    let is_open = |path: &String| OPEN.contains(&path.as_str());
    // One file with all of them: helm names each.
    let mut typos = json!({});
    for path in paths.iter().filter(|path| !is_open(path)) {
        let key = if path.is_empty() { "enabeld".to_owned() } else { format!("{path}.enabeld") };
        typos = merged(&typos, &at(&key, json!(true)));
    }
    let said = text(&typos).await.unwrap_err().to_string();
    for path in paths.iter().filter(|path| !is_open(path)) {
        let at =
            if path.is_empty() { String::new() } else { format!("/{}", path.replace('.', "/")) };
        let line = format!("at '{at}': additional properties 'enabeld' not allowed");
        assert!(said.contains(&line), "nothing is said of {line}:\n{said}");
    }
    // In lists, too.
    for list in ["imagePullSecrets", "tolerations", "topologySpreadConstraints", "extraEnv"] {
        let said = text(&json!({list: [{"enabeld": true}]})).await.unwrap_err().to_string();
        assert!(said.contains("additional properties 'enabeld' not allowed"), "{list}: {said}");
    }
    // A parent chart shares what it wants, and says whether there is this one.
    text(&json!({"global": {"enabeld": {"any": 1}}, "enabled": true})).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_value_is_refused() {
    for (path, value) in [
        ("image.digest", json!("sha256:abc")),
        ("image.pullPolicy", json!("Sometimes")),
        ("rbac.scope", json!("namespaced")),
        ("shards", json!(["main"])),
        ("shards", json!(["a", "a"])),
        ("shards", json!(["A"])),
        ("watchNamespaces", json!([""])),
        ("allowedRegistries", json!(["https://registry.example.com"])),
        ("allowedRegistries", json!([""])),
        ("credentialProviders.allow", json!(["*=registry.example.com"])),
        ("tokenRealms", json!(["registry.example.com=http://a.example.com"])),
        ("uploadHosts", json!(["registry.example.com"])),
        ("proxy.httpsProxy", json!("https://proxy.example.com")),
        ("caBundle.inline", json!("no PEM")),
        ("replicaCount", json!(-1)),
        ("replicaCount", json!("2")),
        ("concurrent", json!(0)),
        ("registryQPS", json!(0)),
        ("admin.port", json!(0)),
        ("admin.address", json!("localhost")),
        ("logLevel", json!("inffo")),
        ("logLevel", json!("info,multiarch_operator")),
        ("image.repository", json!("Multiarch/operator")),
        ("image.repository", json!("multiarch/operator:1")),
        ("image.registry", json!("https://ghcr.io")),
        ("global.imageRegistry", json!("ghcr.io/")),
        ("commonLabels", json!({"team": "the platform"})),
        ("commonLabels", json!({"a team": "platform"})),
        ("nodeSelector", json!({"a": "b/c"})),
        ("podDisruptionBudget.maxUnavailable", json!(0)),
        ("podDisruptionBudget.maxUnavailable", json!("0%")),
        ("resources.limits.memory", json!("512 Mi")),
        ("networkPolicy.dnsPorts", json!([])),
        ("networkPolicy.egress", json!("None")),
        ("metrics.serviceMonitor.interval", json!("often")),
        ("admission.pods", json!("Off")),
        ("admission.workloads", json!("Refuse")),
        ("admission.failurePolicy", json!("ignore")),
        ("admission.namespaceSelector", json!({"team": "a"})),
        ("admission.namespaceSelector.matchLabels", json!({"team": 1})),
        ("admission.namespaceSelector.matchExpressions", json!([{"key": "a", "operator": "Is"}])),
        ("extraArgs", json!(["leader-elect"])),
    ] {
        let said = text(&at(path, value.clone())).await.unwrap_err().to_string();
        let at = format!("at '/{}", path.replace('.', "/"));
        assert!(said.contains("schema") && said.contains(&at), "{path}: {value}: {said}");
    }
}

/// What fits its schema and not the rest is refused with what to do.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_go_together_is_refused() {
    let on = json!({"enabled": true});
    for (values, words) in [
        (json!({"rbac": {"scope": "Namespaced"}}), "watchNamespaces"),
        (json!({"rbac": {"secretNamespaces": ["a"]}}), "set rbac.secrets to PerNamespace"),
        (json!({"leaderElection": {"enabled": false}}), "set replicaCount to 1"),
        (
            json!({"leaderElection": {"enabled": false}, "replicaCount": null}),
            "set replicaCount to 1",
        ),
        (
            json!({"leaderElection": {"enabled": false}, "replicaCount": ""}),
            "set replicaCount to 1",
        ),
        (json!({"serviceAccount": {"create": false}}), "`default` if you mean it"),
        (
            json!({"strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": 0}}}),
            "set one of them to 1",
        ),
        (
            json!({
                "rbac": {"scope": "Namespaced", "secrets": "PerNamespace", "secretNamespaces": ["a", "b"]},
                "watchNamespaces": ["a"],
            }),
            "rbac.secretNamespaces has b, which is not among watchNamespaces",
        ),
        (
            json!({"networkPolicy": {"enabled": true, "extraEgress": [{}]}}),
            "set networkPolicy.egress to Restricted",
        ),
        (
            json!({"metrics": {"serviceMonitor": on, "service": {"enabled": false}}}),
            "needs metrics.service.enabled",
        ),
        (
            json!({"leaderElection": {"leaseDurationSeconds": 10}}),
            "longer than renewDeadlineSeconds",
        ),
        (json!({"leaderElection": {"retryPeriodSeconds": 10}}), "longer than retryPeriodSeconds"),
        (json!({"shutdownGraceSeconds": 30}), "longer than shutdownGraceSeconds"),
        (json!({"caBundle": {"inline": PEM, "existingSecret": {"name": "a"}}}), "set one of"),
        (
            json!({"credentialProviders": {"config": providers_config(), "existingConfigMap": "a"}}),
            "set one of",
        ),
        (json!({"credentialProviders": {"allow": ["a=b.io"]}}), "there is no plugin to run"),
        (json!({"metrics": {"serviceMonitor": on, "podMonitor": on}}), "scraped twice"),
    ] {
        let said = text(&values).await.unwrap_err().to_string();
        assert!(said.contains(words), "{values}: {said}");
    }
}

/// What the rules of admission and the API of an older one do not have is not tried there.
#[tokio::test]
async fn an_older_kubernetes_is_refused() -> Result<()> {
    let helm = Helm::new()?;
    let chart = chart().display().to_string();
    let of = async |version: &str| helm.run(["template", &chart, "--kube-version", version]).await;
    of("1.31.0-gke.100").await?;
    let said = of("1.30.9").await.unwrap_err().to_string();
    assert!(said.contains("kubeVersion: >=1.31.0-0"), "{said}");
    Ok(())
}
