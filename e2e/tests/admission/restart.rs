//! The API server starts anew, with policies that it has to read first: nobody is refused for that.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use anyhow::Result;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    bin::workspace,
    cluster::Cluster,
    namespace::Namespace,
    scale::{scale, tell},
};
use serde_json::json;

use crate::{
    ask::{Ask, Verdict, pod},
    entries::{Entry, key},
    stage::Stage,
};

const PUBLISHED: &str = "registry.example.com/restart/published:1";
const UNPUBLISHED: &str = "registry.example.com/restart/unpublished:1";

/// A release whose policies do `failure_policy`, at work.
async fn release(cluster: &Arc<Cluster>, failure_policy: &str) -> Result<Stage> {
    let stage = Stage::on(Arc::clone(cluster)).await?;
    let entries = [
        (key(PUBLISHED), Entry::published("team-a/published").value()),
        (key(UNPUBLISHED), Entry::awaited("team-a/unpublished", "").value()),
    ];
    stage.map("0", &entries.into()).await?;
    let values = json!({
        "pods": "Deny", "workloads": "Deny", "requireManaged": true, "failurePolicy": failure_policy,
    });
    stage.install(&values).await?;
    stage.until_at_work(&["pods", "workloads"]).await?;
    Ok(stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_api_server_refuses_nobody() -> Result<()> {
    let cluster = Arc::new(Cluster::start(&workspace().join("crds")).await?);
    let ignores = release(&cluster, "Ignore").await?;
    let fails = release(&cluster, "Fail").await?;
    let outside = Namespace::for_pods(&ignores.client, &[]).await?;
    let outside = Ask::create(&outside.name, &pod("tried", UNPUBLISHED));
    let mut told = Vec::new();
    for round in 1..=scale(10, 1) {
        let (mut asked, mut open, mut refused) = (0, 0, 0);
        let mut others = BTreeSet::new();
        let began = Instant::now();
        cluster.stop_api_server().await?;
        let start = cluster.start_api_server();
        // As soon as it answers anything, and until both policies are back.
        let look = async || {
            let asks = tokio::join!(
                outside.try_out(&ignores.client),
                ignores.pod(PUBLISHED),
                fails.pod(PUBLISHED),
                ignores.pod(UNPUBLISHED),
                fails.pod(UNPUBLISHED),
            );
            for error in [&asks.0, &asks.1, &asks.2, &asks.3, &asks.4]
                .into_iter()
                .filter_map(|of| of.as_ref().err())
            {
                let said = error.root_cause().to_string();
                others.insert(said.chars().take(120).collect::<String>());
            }
            if let Ok(verdict) = &asks.0 {
                asked += 1;
                assert_eq!(*verdict, Verdict::Passed, "outside of the chosen namespaces");
            }
            if let Ok(verdict) = &asks.1 {
                assert_eq!(*verdict, Verdict::Passed, "inside, because of the restart");
            }
            // What cannot read its maps yet refuses, as whoever chose Fail has asked for.
            refused += usize::from(matches!(&asks.2, Ok(Verdict::Refused(_))));
            open += usize::from(matches!(&asks.3, Ok(Verdict::Passed)));
            let is_refused = |verdict: &Result<Verdict>| matches!(verdict, Ok(Verdict::Refused(said)) if said.contains("is not published"));
            let passes = |verdict: &Result<Verdict>| matches!(verdict, Ok(Verdict::Passed));
            let back =
                is_refused(&asks.3) && is_refused(&asks.4) && passes(&asks.2) && passes(&asks.0);
            Ok(back.then_some(()))
        };
        let (started, back) =
            tokio::join!(start, await_some("the policies are back", 4 * SOON, look));
        started?;
        back?;
        assert!(asked > 0);
        told.push(format!(
            "restart {round}: back after {:?}; {open} of what is not published passed meanwhile, {refused} were refused by failurePolicy: Fail; not answered: {others:?}",
            began.elapsed()
        ));
    }
    tell(&told.join("\n"));
    Ok(())
}
