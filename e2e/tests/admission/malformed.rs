//! What a person has written into a map, or a later version: it passes or is refused as failurePolicy says, and the API server counts it.

use anyhow::Result;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    prometheus::Prometheus,
};
use serde_json::json;

use crate::{
    ask::Verdict,
    cases::FINE,
    entries::{Entries, Entry, NOW, key},
    stage::Stage,
};

const ALERT: &str = "MultiArchAdmissionFailsOpen";
const GOOD: &str = "registry.example.com/malformed/good:1";

/// Images, and values that are none.
fn malformed() -> Vec<(String, String)> {
    let whole = Entry::published("team-a/app").value();
    let values = [
        "garbage".to_owned(),
        String::new(),
        format!("1|{NOW}|yes"),
        whole.replacen('1', "2", 1),
        whole.replacen("yes", "maybe", 1),
        whole.rsplit_once('|').map(|(cut, _)| cut.to_owned()).unwrap_or_default(),
    ];
    let named = |(number, value)| (format!("registry.example.com/malformed/{number}:1"), value);
    values.into_iter().enumerate().map(named).collect()
}

async fn with_values(failure_policy: &str) -> Result<Stage> {
    let stage = Stage::new().await?;
    let mut entries: Entries =
        malformed().into_iter().map(|(image, value)| (key(&image), value)).collect();
    entries.insert(key(GOOD), Entry::awaited("team-a/good", "").value());
    entries.insert(key(FINE), Entry::published("team-a/published").value());
    stage.map("0", &entries).await?;
    stage.install(&json!({"pods": "Deny", "failurePolicy": failure_policy})).await?;
    stage.until_at_work(&["pods"]).await?;
    Ok(stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_none_is_counted_and_the_alert_fires() -> Result<()> {
    let stage = with_values("Ignore").await?;
    let prometheus = Prometheus::of_api_server(&stage.cluster).await?;
    let policy = stage.policy("coverage");
    let labels = [("policy", policy.as_str())];
    // Only those that such an image is in are let through, and until then nobody is told anything.
    assert!(matches!(stage.pod(GOOD).await?, Verdict::Refused(_)));
    assert_eq!(stage.pod(FINE).await?, Verdict::Passed);
    let seen = async || {
        let of = format!("{}{{policy=\"{policy}\"}}", crate::stage::CHECKS);
        Ok((!prometheus.query(&of).await?.is_empty()).then_some(()))
    };
    await_some("the refusal is scraped", SOON, seen).await?;
    assert!(prometheus.firing(ALERT, &labels).await?.is_none());
    let mut counted = stage.checks("allow", Some("pods")).await?;
    assert!(counted < 0.5);
    for (image, value) in malformed() {
        assert_eq!(stage.pod(&image).await?, Verdict::Passed, "{value}");
        let now = stage.checks("allow", Some("pods")).await?;
        assert!(now > counted, "{value} is not counted");
        counted = now;
    }
    assert!(matches!(stage.pod(GOOD).await?, Verdict::Refused(_)));
    let alert = prometheus.fires(ALERT, &labels).await?;
    let summary = alert.annotations.get("summary").cloned().unwrap_or_default();
    assert!(summary.contains(&policy), "{summary}");
    prometheus.stop().await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_fail_a_value_that_is_none_is_refused() -> Result<()> {
    let stage = with_values("Fail").await?;
    for (image, value) in malformed() {
        let verdict = stage.pod(&image).await?;
        assert!(matches!(verdict, Verdict::Refused(_)), "{value}: {verdict:?}");
        let words = format!("has no value of version 1 for {image}");
        let said = matches!(&verdict, Verdict::Refused(said) if said.contains(&words));
        assert!(said || value.contains("maybe"), "{value}: {verdict:?}");
    }
    assert_eq!(stage.pod(FINE).await?, Verdict::Passed);
    stage.end().await
}
