//! The sets of values that people have, by name.

use multiarch_e2e::helm::Release;
use serde_json::{Value, json};

use crate::yaml;

/// A certificate's form; whose it is does not matter here.
pub(crate) const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// The set whose names are no texts where they are not quoted.
pub(crate) const NUMBERS: &str = "looks-like-numbers";

#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn cases() -> Vec<(&'static str, Value)> {
    vec![
        ("default", json!({})),
        (
            "one-replica",
            json!({"replicaCount": 1, "leaderElection": {"enabled": false}, "strategy": {"type": "Recreate"}}),
        ),
        ("scaled-by-others", json!({"replicaCount": ""})),
        ("no-pods", json!({"replicaCount": 0})),
        (
            "mirrored-image",
            json!({
                "global": {"imageRegistry": "registry.corp.example:5000", "else": {"is": "open"}},
                "image": {"tag": "1.2.3", "digest": format!("sha256:{}", "0a".repeat(32)), "pullPolicy": "Always"},
                "imagePullSecrets": [{"name": "pull"}],
            }),
        ),
        (
            "namespaced",
            json!({"rbac": {"scope": "Namespaced"}, "watchNamespaces": ["team-a", "team-b"], "crds": {"enabled": false}}),
        ),
        (
            "secrets-per-namespace",
            json!({"rbac": {"secrets": "PerNamespace", "secretNamespaces": ["team-a", "team-b"]}}),
        ),
        (
            "namespaced-secrets-of-one",
            json!({
                "rbac": {"scope": "Namespaced", "secrets": "PerNamespace", "secretNamespaces": ["team-a"]},
                "watchNamespaces": ["team-a", "team-b"],
            }),
        ),
        (
            "node-platforms",
            json!({
                "rbac": {"scope": "Namespaced"}, "watchNamespaces": ["team-a"], "crds": {"enabled": false},
                "nodePlatforms": {"enabled": true},
            }),
        ),
        ("without-sets", json!({"sets": {"enabled": false}})),
        (
            "archives",
            json!({"archives": {"existingClaim": "archives", "shared": true}, "shards": ["a"]}),
        ),
        ("shards", json!({"shards": ["a", "b"]})),
        ("coverage-maps", json!({"coverageMaps": {"enabled": true}, "shards": ["a"]})),
        (
            "coverage-maps-of-one-replica",
            json!({"coverageMaps": {"enabled": true}, "replicaCount": 1, "leaderElection": {"enabled": false}}),
        ),
        (
            "own-rights",
            json!({"rbac": {"create": false}, "serviceAccount": {"create": false, "name": "mine"}}),
        ),
        (
            "service-monitor",
            json!({"metrics": {
                "serviceMonitor": {
                    "enabled": true, "labels": {"release": "prometheus"}, "interval": "1m", "scrapeTimeout": "10s",
                    "relabelings": [{"action": "labeldrop", "regex": "pod"}],
                    "metricRelabelings": [{"action": "drop", "sourceLabels": ["__name__"], "regex": "x"}],
                },
                "prometheusRule": {"enabled": true, "namespace": "monitoring"},
                "dashboard": {"enabled": true, "annotations": {"grafana_folder": "Registries"}},
            }}),
        ),
        (
            "pod-monitor",
            json!({"metrics": {"podMonitor": {"enabled": true, "interval": "30s"}, "service": {"enabled": false}}}),
        ),
        ("network-open", json!({"networkPolicy": {"enabled": true}})),
        (
            "network-restricted",
            json!({"networkPolicy": {
                "enabled": true, "egress": "Restricted", "dnsPorts": [53, 5353], "registryPorts": [443, 5000],
                "extraEgress": [{"to": [{"namespaceSelector": {}}], "ports": [{"port": 3128, "protocol": "TCP"}]}],
                "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            }}),
        ),
        (
            "ca-secret",
            json!({"caBundle": {"existingSecret": {"name": "corp-ca", "key": "bundle.pem"}}}),
        ),
        ("ca-configmap", json!({"caBundle": {"existingConfigMap": {"name": "corp-ca"}}})),
        ("ca-inline", json!({"caBundle": {"inline": format!("  # Ours.\n{PEM}")}})),
        ("credential-providers", credential_providers()),
        ("admission", json!({"admission": {"enabled": true}})),
        (
            "admission-strict",
            json!({
                "fullnameOverride": "gate", "leaderElection": {"namespace": "leases"},
                "admission": {
                    "enabled": true, "pods": "Deny", "workloads": "Off", "requireManaged": true, "failurePolicy": "Fail",
                    "namespaceSelector": {
                        "matchLabels": {"team": "a"},
                        "matchExpressions": [{"key": "stage", "operator": "In", "values": ["test", "1"]}],
                    },
                },
            }),
        ),
        (NUMBERS, looks_like_numbers()),
        ("everything", everything()),
    ]
}

/// The release of the set `name`.
pub(crate) fn release<'a>(name: &str, values: &'a Value) -> Release<'a> {
    if name == NUMBERS {
        return Release { name: "123", namespace: "456", values };
    }
    yaml::release(values)
}

/// Names that YAML would read as something else, which Kubernetes takes.
fn looks_like_numbers() -> Value {
    json!({
        "nameOverride": "123",
        "serviceAccount": {"name": "123"},
        "imagePullSecrets": [{"name": "1e3"}],
        "priorityClassName": "0",
        "commonLabels": {"1": "2"}, "podLabels": {"on": "off"}, "podAnnotations": {"null": "null"},
        "nodeSelector": {"yes": "no"},
        "watchNamespaces": ["123", "null"],
        "rbac": {"scope": "Namespaced", "secrets": "PerNamespace", "secretNamespaces": ["123"]},
        "shards": ["1", "true", "on", "null", "1e3"],
        "caBundle": {"existingSecret": {"name": "1", "key": "1"}},
        "credentialProviders": {"existingConfigMap": "2"},
        "archives": {"existingClaim": "3"},
        "leaderElection": {"namespace": "789"},
        "networkPolicy": {"enabled": true},
        "metrics": {
            "serviceMonitor": {"enabled": true, "namespace": "123"},
            "prometheusRule": {"enabled": true, "namespace": "123"},
            "dashboard": {"enabled": true, "namespace": "123"},
        },
    })
}

/// A cloud's plugin, out of an image of its own.
fn credential_providers() -> Value {
    json!({
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/multiarch"}},
        "credentialProviders": {
            "config": {
                "apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig",
                "providers": [{
                    "name": "ecr-credential-provider", "matchImages": ["*.dkr.ecr.*.amazonaws.com"],
                    "defaultCacheDuration": "12h", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
                }],
            },
            "allow": ["team-a=123456789012.dkr.ecr.eu-west-1.amazonaws.com/team-a"],
        },
        "initContainers": [{
            "name": "plugins", "image": "registry.example.com/plugins:1",
            "command": ["cp", "/ecr-credential-provider", "/plugins/"],
            "volumeMounts": [{"name": "plugins", "mountPath": "/plugins"}],
            "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            },
        }],
        "extraVolumes": [{"name": "plugins", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "plugins", "mountPath": "/plugins", "readOnly": true}],
    })
}

/// What the other sets leave out.
fn everything() -> Value {
    json!({
        "nameOverride": "mai", "fullnameOverride": "publisher",
        "commonLabels": {"team": "platform"}, "podLabels": {"tier": "infra"},
        "podAnnotations": {"example.com/a": "b"},
        "podDisruptionBudget": {"maxUnavailable": "50%"},
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"a": "b"}}, "matchLabelKeys": ["pod-template-hash"],
        }],
        "priorityClassName": "system-cluster-critical",
        "watchNamespaces": ["team-a"],
        "allowedRegistries": ["registry.example.com:5000/team", "docker.io/library", "[::1]:5000"],
        "uploadHosts": ["registry.example.com=upload.example.com"],
        "tokenRealms": ["registry.example.com=https://gitlab.example.com/jwt/auth"],
        "insecureAllowHTTP": true,
        // As large as helm writes in no other way than 1.048576e+06 by itself.
        "cacheMiB": 1_048_576, "terminationGracePeriodSeconds": 1_000_000,
        "proxy": {
            "httpsProxy": "http://proxy.corp.example:3128", "httpProxy": "http://proxy.corp.example:3128",
            "allProxy": "http://proxy.corp.example:3128", "noProxy": ".corp.example,10.0.0.0/8",
        },
        "logLevel": "info,multiarch_operator=debug", "logFormat": "text",
        "admin": {"address": "[::]", "port": 9090},
        "extraArgs": ["--allow-loopback-registries"],
        "extraEnv": [{"name": "AWS_REGION", "value": "eu-west-1"}],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
        "extraContainers": [{
            "name": "side", "image": "registry.example.com/side:1",
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        }],
        "extraObjects": [
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"{{ .Release.Name }}-more\"}\n",
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "even-more"}},
        ],
        "crds": {"keep": false},
    })
}
