//! Labels and annotations that are asked for are on everything, the Pods of `helm test` included, and those Pods may talk.

use serde_json::{Value, json};

use crate::{
    cases::cases,
    yaml::{merged, of_kind, render},
};

#[tokio::test]
async fn common_labels_are_on_every_object() {
    let (_, everything) = cases().into_iter().find(|(name, _)| *name == "everything").unwrap();
    let on = json!({"enabled": true});
    let also = json!({
        "extraObjects": [], "networkPolicy": on, "caBundle": {"inline": crate::cases::PEM}, "rbac": {"secrets": "PerNamespace"},
        "metrics": {"serviceMonitor": on, "prometheusRule": on, "dashboard": on},
    });
    let objects = render(&merged(&everything, &also)).await;
    for kind in [
        "NetworkPolicy",
        "Pod",
        "ServiceMonitor",
        "PrometheusRule",
        "ConfigMap",
        "CustomResourceDefinition",
    ] {
        assert!(!of_kind(&objects, kind).is_empty(), "no {kind}");
    }
    for object in &objects {
        assert_eq!(object["metadata"]["labels"]["team"], "platform", "{}", object["kind"]);
        // Ours stay.
        assert_eq!(
            object["metadata"]["labels"]["app.kubernetes.io/instance"],
            "multiarch-operator"
        );
    }
    // A mesh is told by these to leave a Pod alone, and policies ask for those.
    let deployment = &of_kind(&objects, "Deployment")[0]["spec"]["template"];
    let check = of_kind(&objects, "Pod")[0];
    for pod in [deployment, check] {
        assert_eq!(pod["metadata"]["labels"]["tier"], "infra");
        assert_eq!(pod["metadata"]["annotations"]["example.com/a"], "b");
        assert_eq!(pod["spec"]["priorityClassName"], "system-cluster-critical");
    }
    // Helm 3 reads the log of a Pod that has ended: it must be there then.
    assert_eq!(check["metadata"]["annotations"]["helm.sh/hook"], "test");
    assert_eq!(
        check["metadata"]["annotations"]["helm.sh/hook-delete-policy"],
        "before-hook-creation"
    );
}

/// What is given cannot take away what selects, or makes a hook of, a Pod.
#[tokio::test]
async fn our_own_labels_and_annotations_stay() {
    let own = json!({"app.kubernetes.io/name": "other", "multiarch.dev/shard": "other"});
    let hook =
        json!({"helm.sh/hook": "pre-install", "helm.sh/hook-delete-policy": "hook-succeeded"});
    let values = json!({"commonLabels": own, "podLabels": own, "podAnnotations": hook});
    let (with, without) = (render(&values).await, render(&json!({})).await);
    let selected = |objects: &[Value]| {
        let deployment = of_kind(objects, "Deployment")[0];
        let labels = deployment["spec"]["template"]["metadata"]["labels"].clone();
        let check = &of_kind(objects, "Pod")[0]["metadata"];
        (labels, check["labels"]["app.kubernetes.io/name"].clone(), check["annotations"].clone())
    };
    assert_eq!(selected(&with), selected(&without));
}

/// Where the network denies what no policy allows, the check reaches what the operator does.
#[tokio::test]
async fn the_network_policy_is_for_the_check_too() {
    for egress in ["All", "Restricted"] {
        let values = json!({"networkPolicy": {"enabled": true, "egress": egress}, "shards": ["a"]});
        let objects = render(&values).await;
        let selector = &of_kind(&objects, "NetworkPolicy")[0]["spec"]["podSelector"];
        let deployments = of_kind(&objects, "Deployment");
        let templates = deployments.iter().map(|of| &of["spec"]["template"]["metadata"]["labels"]);
        let checks = of_kind(&objects, "Pod").into_iter().map(|of| &of["metadata"]["labels"]);
        let pods: Vec<_> = templates.chain(checks).collect();
        assert_eq!(pods.len(), 4);
        assert!(pods.iter().all(|labels| fits(selector, labels)), "{selector}");
        let other = json!({"app.kubernetes.io/name": "other", "app.kubernetes.io/instance": "multiarch-operator"});
        assert!(!fits(selector, &other));
    }
}

/// Whether a label selector selects `labels`.
fn fits(selector: &Value, labels: &Value) -> bool {
    let has = |(key, value): (&String, &Value)| labels.get(key) == Some(value);
    let among = |of: &Value| {
        assert_eq!(of["operator"], "In");
        let values = of["values"].as_array().unwrap();
        labels.get(of["key"].as_str().unwrap()).is_some_and(|label| values.contains(label))
    };
    selector["matchLabels"].as_object().unwrap().iter().all(has)
        && selector["matchExpressions"].as_array().unwrap().iter().all(among)
}

/// DNS is asked at the ports of its Pods, by UDP and TCP.
#[tokio::test]
async fn dns_has_ports_of_its_own() {
    let values =
        json!({"networkPolicy": {"enabled": true, "egress": "Restricted", "dnsPorts": [5353]}});
    let objects = render(&values).await;
    let dns = &of_kind(&objects, "NetworkPolicy")[0]["spec"]["egress"][0];
    let expected =
        json!({"ports": [{"port": 5353, "protocol": "UDP"}, {"port": 5353, "protocol": "TCP"}]});
    assert_eq!(*dns, expected);
}
