//! What brings an image into a cluster, or touches what has it already.

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::{
    ask::{Ask, Verdict, deployment, pod},
    cases::{Case, FINE},
    stage::Stage,
};

/// Something that is done, case by case.
pub(crate) struct Action {
    pub(crate) name: &'static str,
    /// The binding: `pods` or `workloads`.
    pub(crate) of: &'static str,
    /// Whether it brings the image in.
    pub(crate) brings: bool,
    pub(crate) ask: fn(&str, usize, &Case) -> Ask,
}

pub(crate) fn actions() -> Vec<Action> {
    let action = |name, of, brings, ask| Action { name, of, brings, ask };
    vec![
        action("Pod", "pods", true, |namespace, _, case| {
            Ask::create(namespace, &with(pod("new", &case.image), "/spec", &case.spec))
        }),
        action("initContainer", "pods", true, |namespace, _, case| {
            let mut of = with(pod("new", FINE), "/spec", &case.spec);
            of["spec"]["initContainers"] = json!([{"name": "first", "image": case.image}]);
            Ask::create(namespace, &of)
        }),
        action("twice", "pods", true, |namespace, _, case| {
            let mut of = with(pod("new", &case.image), "/spec", &case.spec);
            of["spec"]["initContainers"] = json!([{"name": "first", "image": case.image}]);
            Ask::create(namespace, &of)
        }),
        action("image volume", "pods", true, |namespace, _, case| {
            let mut of = with(pod("new", FINE), "/spec", &case.spec);
            of["spec"]["volumes"] = json!([{"name": "files", "image": {"reference": case.image}}]);
            Ask::create(namespace, &of)
        }),
        action("ephemeral", "pods", true, |namespace, number, case| {
            let debug =
                json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": case.image}]}});
            Ask::patch(namespace, "Pod", &format!("plain-{number}/ephemeralcontainers"), debug)
        }),
        action("set image", "pods", true, |namespace, number, case| {
            let image = json!({"spec": {"containers": [{"name": "main", "image": case.image}]}});
            Ask::patch(namespace, "Pod", &format!("plain-{number}"), image)
        }),
        action("labelled", "pods", false, |namespace, number, _| {
            let label = json!({"metadata": {"labels": {"new": "label"}}});
            Ask::patch(namespace, "Pod", &format!("running-{number}"), label)
        }),
        action("finalizer", "pods", false, |namespace, number, _| {
            let none = json!({"metadata": {"finalizers": null}});
            Ask::patch(namespace, "Pod", &format!("going-{number}"), none)
        }),
        action("Deployment", "workloads", true, |namespace, _, case| {
            Ask::create(namespace, &with(deployment("new", &case.image), TEMPLATE, &case.spec))
        }),
        action("StatefulSet", "workloads", true, |namespace, _, case| {
            let mut of = with(deployment("new", &case.image), TEMPLATE, &case.spec);
            of["kind"] = json!("StatefulSet");
            of["spec"]["serviceName"] = json!("new");
            Ask::create(namespace, &of)
        }),
        action("DaemonSet", "workloads", true, |namespace, _, case| {
            let mut of = with(deployment("new", &case.image), TEMPLATE, &case.spec);
            of["kind"] = json!("DaemonSet");
            of["spec"].as_object_mut().unwrap().remove("replicas");
            Ask::create(namespace, &of)
        }),
        action("Job", "workloads", true, |namespace, _, case| Ask::create(namespace, &job(case))),
        action("CronJob", "workloads", true, |namespace, _, case| {
            let of = json!({
                "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "new"},
                "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job(case)["spec"]}},
            });
            Ask::create(namespace, &of)
        }),
        action("set its image", "workloads", true, |namespace, number, case| {
            let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": case.image}]}}}});
            Ask::patch(namespace, "Deployment", &format!("plain-{number}"), image)
        }),
        // The image was there; what is selected is new.
        action("select", "workloads", true, |namespace, number, case| {
            let anywhere = json!({"nodeSelector": {"kubernetes.io/arch": null}});
            let selects = with(anywhere, "", &case.spec);
            let change = json!({"spec": {"template": {"spec": selects}}});
            Ask::patch(namespace, "Deployment", &format!("elsewhere-{number}"), change)
        }),
        action("scaled", "workloads", false, |namespace, number, _| {
            Ask::patch(
                namespace,
                "Deployment",
                &format!("old-{number}"),
                json!({"spec": {"replicas": 1}}),
            )
        }),
    ]
}

/// Where a workload has the spec of its Pods.
const TEMPLATE: &str = "/spec/template/spec";

/// Has in the namespace of `stage` what actions touch, before there is a policy.
pub(crate) async fn prepare(stage: &Stage, cases: &[Case]) -> Result<()> {
    let namespace = stage.team.name.as_str();
    let made = cases.iter().enumerate().map(|(number, case)| async move {
        let named = |name: &str| format!("{name}-{number}");
        let elsewhere = json!({"nodeSelector": {"kubernetes.io/arch": "s390x"}});
        let mut going = with(pod(&named("going"), &case.image), "/spec", &case.spec);
        going["metadata"]["finalizers"] = json!(["e2e.multiarch.dev/stays"]);
        for object in [
            with(pod(&named("plain"), FINE), "/spec", &case.spec),
            with(pod(&named("running"), &case.image), "/spec", &case.spec),
            going,
            with(deployment(&named("plain"), FINE), TEMPLATE, &case.spec),
            with(deployment(&named("old"), &case.image), TEMPLATE, &case.spec),
            with(deployment(&named("elsewhere"), &case.image), TEMPLATE, &elsewhere),
        ] {
            let made = Ask::create(namespace, &object).done(&stage.client).await?;
            assert_eq!(made, Verdict::Passed, "{}", case.name);
        }
        Ask::delete(namespace, "Pod", &named("going")).done(&stage.client).await.map(drop)
    });
    stream::iter(made).buffer_unordered(8).try_collect().await
}

fn job(case: &Case) -> Value {
    let mut of = with(deployment("new", &case.image), TEMPLATE, &case.spec);
    of["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "new"},
        "spec": {"template": of["spec"]["template"]},
    })
}

/// `object` with the fields of `more` in what `pointer` points to.
fn with(mut object: Value, pointer: &str, more: &Value) -> Value {
    let inside = object.pointer_mut(pointer).unwrap();
    for (key, value) in more.as_object().unwrap() {
        inside[key] = value.clone();
    }
    object
}
