//! requireManaged: each image must be of a MultiArchImage, whichever map has it.

use anyhow::Result;
use multiarch_e2e::await_condition::{SOON, await_some};
use serde_json::json;

use crate::{
    ask::{Ask, Verdict, deployment, pod},
    entries::{Entry, NEVER, NOW, key},
    stage::Stage,
};

const FIRST: &str = "registry.example.com/a:1";
const SECOND: &str = "registry.example.com/z:1";

#[tokio::test(flavor = "multi_thread")]
async fn each_map_answers_for_its_range() -> Result<()> {
    let stage = Stage::new().await?;
    let between = key("registry.example.com/m:1");
    let value = |object: &str| Entry::published(object).value();
    let first = [(key(FIRST), value("team-a/a"))].into();
    let pinned = format!("registry.example.com/z@{NOW}");
    let second = [(key(SECOND), value("team-a/z")), (key(&pinned), value("team-a/z"))].into();
    stage.map_of("0", ["", &between], &first).await?;
    stage.map_of("1", [&between, ""], &second).await?;
    stage.install(&json!({"pods": "Deny", "workloads": "Warn", "requireManaged": true})).await?;
    let refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
    for image in ["registry.example.com/b:1", "registry.example.com/y:1"] {
        stage.until_pod(image, "is refused", refused).await?;
        let words = format!("image {image} is of no MultiArchImage");
        let said = stage.pod(image).await?;
        assert!(matches!(&said, Verdict::Refused(said) if said.contains(&words)), "{said:?}");
    }
    for image in [FIRST, SECOND, &pinned, &format!("{SECOND}@{NOW}")] {
        assert_eq!(stage.pod(image).await?, Verdict::Passed, "{image}");
    }
    // A tag tells whose it is, and without one the digest.
    for image in
        [&format!("registry.example.com/z:2@{NOW}"), &format!("registry.example.com/z@{NEVER}")]
    {
        assert!(refused(&stage.pod(image).await?), "{image}");
    }
    let mut both = pod("tried", FIRST);
    both["spec"]["initContainers"] = json!([{"name": "first", "image": SECOND}]);
    let both = Ask::create(&stage.team.name, &both).try_out(&stage.client).await?;
    assert_eq!(both, Verdict::Passed);
    let workload = Ask::create(&stage.team.name, &deployment("tried", "unmanaged:1"));
    let warned = workload.try_out(&stage.client).await?;
    let words = "image unmanaged:1 is of no MultiArchImage";
    assert!(matches!(&warned, Verdict::Warned(said) if said.contains(words)), "{warned:?}");
    // Of an image that is not published both policies speak; the first that is asked is told.
    assert!(stage.checks("allow", None).await? < 0.5, "a policy failed open");
    stage.end().await
}

/// A map whose range a person has removed answers for nothing, and that is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_map_without_a_range_is_counted() -> Result<()> {
    let stage = Stage::new().await?;
    let entries = [(key(FIRST), Entry::published("team-a/a").value())].into();
    stage.map_of("0", ["", ""], &entries).await?;
    stage.install(&json!({"pods": "Deny", "requireManaged": true})).await?;
    stage.until_pod("unmanaged:1", "is refused", |it| matches!(it, Verdict::Refused(_))).await?;
    let map = ["annotate", "configmap", "multiarch-coverage-0", "--namespace", &stage.home.name];
    stage.cluster.kubectl(map.into_iter().chain(["multiarch.dev/from-"])).await?;
    stage.until_pod("unmanaged:1", "passes", |it| *it == Verdict::Passed).await?;
    let counted = async || Ok((stage.checks("allow", None).await? > 0.0).then_some(()));
    await_some("it is counted", SOON, counted).await?;
    stage.end().await
}
