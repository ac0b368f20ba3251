//! The policies that the chart renders: what their names, selectors and expressions are made of.

use std::collections::BTreeSet;

use multiarch_e2e::helm::{Helm, Release};
use serde_json::{Value, json};

use crate::yaml::{objects, of_kind, render};

const KINDS: [&str; 2] = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];

/// What has the API server watch ConfigMaps, and matches nothing.
fn is_watch(of: &Value) -> bool {
    of["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("-watch.multiarch.dev"))
}

fn policies(objects: &[Value]) -> Vec<&Value> {
    KINDS.iter().flat_map(|kind| gates(objects, kind)).collect()
}

fn gates<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    of_kind(objects, kind).into_iter().filter(|of| !is_watch(of)).collect()
}

fn names(objects: &[Value]) -> BTreeSet<&str> {
    policies(objects).iter().filter_map(|of| of["metadata"]["name"].as_str()).collect()
}

/// All that is CEL, or shown.
fn expressions(objects: &[Value]) -> Vec<(Value, Value)> {
    let policies = gates(objects, KINDS[0]).into_iter();
    policies
        .map(|of| (of["spec"]["variables"].clone(), of["spec"]["validations"].clone()))
        .collect()
}

#[tokio::test]
async fn they_are_off_until_they_are_asked_for() {
    assert!(policies(&render(&json!({})).await).is_empty());
    let none = json!({"admission": {"requireManaged": true, "pods": "Deny"}, "coverageMaps": {"enabled": true}});
    let none = render(&none).await;
    assert!(KINDS.iter().all(|kind| of_kind(&none, kind).is_empty()));
    let on = render(&json!({"admission": {"enabled": true}})).await;
    let expected = ["coverage", "coverage-pods", "coverage-workloads"];
    let expected = expected.map(|of| format!("multiarch-operator-{of}.multiarch.dev"));
    assert_eq!(names(&on), expected.iter().map(String::as_str).collect());
    // What an upgrade turns on refuses nobody.
    for binding in gates(&on, KINDS[1]) {
        assert_eq!(binding["spec"]["validationActions"], json!(["Warn", "Audit"]));
        assert_eq!(binding["spec"]["paramRef"]["parameterNotFoundAction"], "Allow");
    }
    assert_eq!(gates(&on, KINDS[0])[0]["spec"]["failurePolicy"], "Ignore");
    // What stays at the end stays alone.
    for of in KINDS.iter().flat_map(|kind| of_kind(&on, kind)) {
        let kept = of["metadata"].pointer("/annotations/helm.sh~1resource-policy");
        assert_eq!(kept.is_some_and(|of| of == "keep"), is_watch(of), "{of}");
    }
}

/// No two releases have one name, and each reads its own maps.
#[tokio::test]
async fn releases_stand_beside_each_other() {
    let values = json!({"admission": {"enabled": true, "requireManaged": true}});
    let helm = Helm::new().unwrap();
    let mut rendered = Vec::new();
    for name in ["one", "two"] {
        let release = Release { name, namespace: name, values: &values };
        rendered.push(objects(&helm.template(release, &["admission.yaml"]).await.unwrap()));
    }
    assert_eq!(names(&rendered[0]).len(), 6);
    assert!(names(&rendered[0]).is_disjoint(&names(&rendered[1])));
    for (name, objects) in ["one", "two"].iter().zip(&rendered) {
        for binding in gates(objects, KINDS[1]) {
            assert_eq!(binding["spec"]["paramRef"]["namespace"], *name);
            let policy = binding["spec"]["policyName"].as_str().unwrap();
            assert!(names(objects).contains(policy), "{policy}");
        }
    }
}

/// Whatever values say stays a value: no expression changes, and text arrives as it was.
#[tokio::test]
async fn values_never_become_expressions() {
    let plain = render(&json!({"admission": {"enabled": true, "requireManaged": true}})).await;
    let odd = "true || '\\n\"]}}{{ .Release.Name }} # --- \n- name: x\n  expression: 'false'";
    let values = json!({
        "admission": {
            "enabled": true, "requireManaged": true, "pods": "Deny", "failurePolicy": "Fail",
            "namespaceSelector": {
                "matchLabels": {"team": odd, "number": "1", "yes": "true"},
                "matchExpressions": [{"key": odd, "operator": "In", "values": [odd, "1"]}],
            },
        },
    });
    let rendered = render(&values).await;
    assert_eq!(expressions(&rendered), expressions(&plain));
    assert_eq!(names(&rendered), names(&plain));
    for policy in gates(&rendered, KINDS[0]) {
        let selector = &policy["spec"]["matchConstraints"]["namespaceSelector"];
        let given = &values["admission"]["namespaceSelector"];
        assert_eq!(selector["matchLabels"], given["matchLabels"]);
        assert_eq!(selector["matchExpressions"][1], given["matchExpressions"][0]);
    }
}

/// Whatever else is chosen, by the policies themselves: a binding would leave out what goes wrong with its policy.
#[tokio::test]
async fn own_namespaces_are_left_out() {
    let values = json!({
        "leaderElection": {"namespace": "leases"},
        "admission": {
            "enabled": true, "requireManaged": true, "workloads": "Off",
            "namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]},
        },
    });
    let rendered = render(&values).await;
    let own = ["kube-system", "kube-public", "kube-node-lease", "multiarch-system", "leases"];
    for policy in gates(&rendered, KINDS[0]) {
        let constraints = &policy["spec"]["matchConstraints"];
        let never = &constraints["namespaceSelector"]["matchExpressions"][0];
        let expected =
            json!({"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": own});
        assert_eq!(*never, expected);
        // Off is off: workloads are nowhere.
        let rules = constraints["resourceRules"].as_array().unwrap();
        assert_eq!(rules.len(), 1, "{rules:?}");
    }
    for binding in gates(&rendered, KINDS[1]) {
        assert!(binding["spec"]["matchResources"].get("namespaceSelector").is_none());
        // The maps are where the Leases are.
        assert_eq!(binding["spec"]["paramRef"]["namespace"], "leases");
    }
}
