//! Every image, in everything that brings it in, in every mode: what becomes of it, and what is said.

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use multiarch_e2e::scale::tell;
use serde_json::json;

use crate::{
    actions::{Action, actions, prepare},
    ask::Verdict,
    cases::{Case, cases, entries},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn deny_and_warn() -> Result<()> {
    behaves("Deny", "Warn").await
}

#[tokio::test(flavor = "multi_thread")]
async fn warn_and_audit() -> Result<()> {
    behaves("Warn", "Audit").await
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_and_deny() -> Result<()> {
    behaves("Audit", "Deny").await
}

#[tokio::test(flavor = "multi_thread")]
async fn deny_and_off() -> Result<()> {
    behaves("Deny", "Off").await
}

async fn behaves(pods: &str, workloads: &str) -> Result<()> {
    let (stage, cases, actions) = (Stage::new().await?, cases(), actions());
    prepare(&stage, &cases).await?;
    stage.map("0", &entries()).await?;
    stage.install(&json!({"pods": pods, "workloads": workloads})).await?;
    let mode = |of: &str| if of == "pods" { pods } else { workloads };
    let on: Vec<_> = ["pods", "workloads"].into_iter().filter(|of| mode(of) != "Off").collect();
    stage.until_at_work(&on).await?;
    let mut before = Vec::new();
    for of in &on {
        before.push(stage.checks("audit", Some(of)).await?);
    }

    let pairs = cases
        .iter()
        .enumerate()
        .flat_map(|(number, case)| actions.iter().map(move |action| (number, case, action)));
    let asked = pairs.map(|(number, case, action)| {
        let (ask, client) = ((action.ask)(&stage.team.name, number, case), &stage.client);
        async move { anyhow::Ok((number, case, action, ask.try_out(client).await?)) }
    });
    let verdicts: Vec<_> = stream::iter(asked).buffered(8).try_collect().await?;
    let mut wrong = Vec::new();
    let mut lines = vec![String::new(); cases.len()];
    for (number, case, action, verdict) in &verdicts {
        wrong.extend(judged(mode(action.of), case, action, verdict).err());
        let word = match verdict {
            Verdict::Passed => "·",
            Verdict::Warned(_) => "warned",
            Verdict::Refused(_) => "refused",
        };
        lines[*number] += &cell(word, action.name);
    }
    let head: String = actions.iter().map(|of| cell(of.name, of.name)).collect();
    let table: Vec<_> =
        cases.iter().zip(&lines).map(|(case, line)| format!("{:28}{line}", case.name)).collect();
    tell(&format!("\npods: {pods}, workloads: {workloads}\n{:28}{head}\n{}", "", table.join("\n")));
    let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // In all modes each is audited once.
    for (of, before) in on.into_iter().zip(before) {
        let bad = verdicts.iter().filter(|(_, case, action, _)| {
            action.of == of && action.brings && !case.says.is_empty()
        });
        let audited = stage.checks("audit", Some(of)).await? - before;
        #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
        let expected = bad.count() as f64;
        assert!((audited - expected).abs() < 0.5, "{of}: {audited} are audited, not {expected}");
    }
    assert!(stage.checks("allow", None).await? < 0.5, "a policy failed open");
    stage.end().await
}

/// What `mode` makes of `case`, in words that name the image, what is missing and the object, once.
fn judged(mode: &str, case: &Case, action: &Action, verdict: &Verdict) -> Result<()> {
    let bad = action.brings && !case.says.is_empty();
    let what = || format!("{} by {}: {verdict:?}", case.name, action.name);
    let said = match (mode, verdict) {
        ("Deny", Verdict::Refused(said)) | ("Warn", Verdict::Warned(said)) if bad => said,
        (_, Verdict::Passed) if !bad || matches!(mode, "Audit" | "Off") => return Ok(()),
        _ => anyhow::bail!("{}, in the mode {mode}", what()),
    };
    ensure!(said.matches(&format!("image {} ", case.image)).count() == 1, "{}", what());
    for words in &case.says {
        ensure!(said.contains(words), "{}: it does not say {words:?}", what());
    }
    Ok(())
}

/// `word` in the column called `name`.
fn cell(word: &str, name: &str) -> String {
    format!(" {word:width$}", width = name.len().max(7))
}
