//! Shapes that Kubernetes fixes have no typos either: it would be told them late, or, in a ConfigMap, nobody would.

use anyhow::Result;
use serde_json::{Value, json};

use crate::yaml::{at, text};

/// Values with a key too many, each in another shape.
fn misspelt() -> Vec<(&'static str, Value)> {
    let typo = || json!({"enabeld": true});
    let (required, preferred) = (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    );
    let variable = |of: Value| json!([{"name": "A", "valueFrom": of}]);
    let provider = |with: Value| json!({"providers": [with]});
    vec![
        ("affinity.nodeAffinity", typo()),
        ("affinity.podAffinity", typo()),
        ("affinity.podAntiAffinity", typo()),
        ("affinity.nodeAffinity", json!({(required): typo()})),
        ("affinity.nodeAffinity", json!({(required): {"nodeSelectorTerms": [typo()]}})),
        (
            "affinity.nodeAffinity",
            json!({(required): {"nodeSelectorTerms": [{"matchExpressions": [typo()]}]}}),
        ),
        ("affinity.nodeAffinity", json!({(preferred): [{"preference": typo()}]})),
        ("affinity.podAffinity", json!({(required): [typo()]})),
        ("affinity.podAntiAffinity", json!({(preferred): [typo()]})),
        ("affinity.podAntiAffinity", json!({(preferred): [{"podAffinityTerm": typo()}]})),
        ("affinity.podAntiAffinity", json!({(required): [{"labelSelector": typo()}]})),
        ("topologySpreadConstraints", json!([{"labelSelector": typo()}])),
        ("topologySpreadConstraints", json!([{"labelSelector": {"matchExpressions": [typo()]}}])),
        ("extraEnv", variable(typo())),
        ("extraEnv", variable(json!({"secretKeyRef": typo()}))),
        ("extraEnv", variable(json!({"configMapKeyRef": typo()}))),
        ("extraEnv", variable(json!({"fieldRef": typo()}))),
        ("extraEnv", variable(json!({"resourceFieldRef": typo()}))),
        ("extraEnvFrom", json!([typo()])),
        ("extraEnvFrom", json!([{"secretRef": typo()}])),
        ("extraEnvFrom", json!([{"configMapRef": typo()}])),
        ("extraVolumeMounts", json!([typo()])),
        ("metrics.serviceMonitor.relabelings", json!([typo()])),
        ("metrics.podMonitor.metricRelabelings", json!([typo()])),
        ("networkPolicy.metricsFrom", json!([typo()])),
        ("networkPolicy.metricsFrom", json!([{"podSelector": typo()}])),
        ("networkPolicy.metricsFrom", json!([{"ipBlock": typo()}])),
        ("networkPolicy.extraEgress", json!([typo()])),
        ("networkPolicy.extraEgress", json!([{"to": [typo()]}])),
        ("networkPolicy.extraEgress", json!([{"ports": [typo()]}])),
        ("credentialProviders.config", typo()),
        ("credentialProviders.config", provider(typo())),
        ("credentialProviders.config", provider(json!({"env": [typo()]}))),
        ("resources.limits", typo()),
        ("resources.requests", typo()),
        ("resources", json!({"claims": [typo()]})),
        ("podSecurityContext", json!({"sysctls": [typo()]})),
        ("podSecurityContext", json!({"seLinuxOptions": typo()})),
        ("securityContext", json!({"appArmorProfile": typo()})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typo_in_a_fixed_shape_is_refused() {
    for (path, value) in misspelt() {
        let said = text(&at(path, value.clone())).await.unwrap_err().to_string();
        let told = said.contains("additional properties 'enabeld' not allowed");
        assert!(told, "{path}: {value}: {said}");
    }
}

/// What is left open is not closed by mistake: all fields of these shapes that there are.
#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_a_fixed_shape_is_taken() -> Result<()> {
    let selector = json!({
        "matchLabels": {"example.com/a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}],
    });
    let term = json!({
        "labelSelector": selector, "matchLabelKeys": ["a"], "mismatchLabelKeys": ["b"], "namespaceSelector": selector,
        "namespaces": ["a"], "topologyKey": "kubernetes.io/hostname",
    });
    let terms = json!({
        "requiredDuringSchedulingIgnoredDuringExecution": [term],
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}],
    });
    let of_nodes = json!({
        "matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}],
        "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}],
    });
    let relabeling = json!([{
        "action": "replace", "sourceLabels": ["a"], "separator": ";", "targetLabel": "b", "regex": "(.*)", "modulus": 2,
        "replacement": "$1",
    }]);
    let peer = json!({"podSelector": selector, "namespaceSelector": {}});
    let block = json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}});
    let key = json!({"name": "a", "key": "b", "optional": true});
    text(&json!({
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [of_nodes]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": of_nodes}],
            },
            "podAffinity": terms, "podAntiAffinity": terms,
        },
        "resources": {
            "limits": {"memory": "1.5Gi", "cpu": 2, "ephemeral-storage": "1e9", "example.com/device": 1},
            "claims": [{"name": "a", "request": "b"}],
        },
        "podSecurityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]},
        "extraEnv": [
            {"name": "A", "valueFrom": {"secretKeyRef": key}}, {"name": "B", "valueFrom": {"configMapKeyRef": key}},
            {"name": "C", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            {"name": "D", "valueFrom": {"resourceFieldRef": {"containerName": "a", "resource": "limits.cpu", "divisor": "1m"}}},
        ],
        "extraEnvFrom": [{"prefix": "A_", "secretRef": {"name": "a", "optional": true}}],
        "extraVolumeMounts": [{
            "name": "a", "mountPath": "/a", "subPath": "b", "readOnly": true, "recursiveReadOnly": "IfPossible",
            "mountPropagation": "None",
        }],
        "metrics": {"podMonitor": {"enabled": true, "relabelings": relabeling, "metricRelabelings": relabeling}},
        "networkPolicy": {
            "enabled": true, "egress": "Restricted", "metricsFrom": [peer, block],
            "extraEgress": [{"to": [peer, block], "ports": [{"port": 1, "endPort": 2, "protocol": "UDP"}, {"port": "dns"}]}],
        },
        "logLevel": "info,multiarch_operator=debug,hyper=off",
        "image": {"registry": "registry.example.com:5000/mirror", "repository": "a/b__c/d.e-f"},
        "admin": {"address": "[::]"},
    }))
    .await
    .map(drop)
}
