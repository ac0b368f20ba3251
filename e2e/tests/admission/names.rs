//! One image has one key, however it is written: CEL and the operator spell references alike.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use multiarch_e2e::bin::workspace;
use multiarch_operator::oci::Reference;
use serde_json::{Value, json};

use crate::{
    ask::{Ask, Verdict, pod},
    entries::{Entries, Entry, key},
    stage::Stage,
};

/// What the operator spells anew and CEL does not: nobody writes these.
const NOT_SHORTENED: [&str; 2] = ["[2001:0db8::", ":05000/"];

/// References that distribution's own code parses, with their canonical spelling; a tag or a digest is theirs.
fn references() -> Result<BTreeMap<String, String>> {
    let file = workspace().join("operator/tests/fixtures/references.json");
    let text = fs::read_to_string(&file).context("no references")?;
    let file: Value = serde_json::from_str(&text)?;
    let all = file["references"].as_array().context("no references")?;
    let parsed = all.iter().filter(|of| of["normalized"]["ok"] == true);
    let written = parsed.filter_map(|of| of["input"].as_str().map(ToOwned::to_owned));
    let ours = [
        "registry-1.docker.io/hub:1",
        "index.docker.io:0443/library/hub:1",
        "localhost:443/app:1",
        "registry:443/app:1",
        "registry.example.com:443/app_with__all-of.it:V_1.0-x",
        "[::1]:443/app:1",
        "[::1]:5000/app:1",
        "team_a/app:1",
    ];
    let all = written.chain(ours.map(ToOwned::to_owned));
    let canonical = all.filter_map(|written| {
        let parsed = written.parse::<Reference>();
        let parsed = parsed.or_else(|_| format!("{written}:latest").parse::<Reference>()).ok()?;
        let short = !NOT_SHORTENED.iter().any(|odd| written.to_lowercase().contains(odd));
        // What has both is asked for by its tag, and its digest is compared: another test's.
        let both = parsed.tag().is_some() && parsed.digest().is_some();
        (short && !both).then(|| (written, parsed.to_string()))
    });
    Ok(canonical.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_spelling_has_the_operators_key() -> Result<()> {
    let (stage, references) = (Stage::new().await?, references()?);
    assert!(references.len() > 50, "{references:?}");
    // Each canonical spelling has an object of its own, so that what is said tells which entry was found.
    let mut owners = BTreeMap::new();
    for canonical in references.values() {
        let number = owners.len();
        owners.entry(canonical.clone()).or_insert_with(|| format!("names/of-{number}"));
    }
    let entries: Entries = owners
        .iter()
        .filter(|(canonical, _)| key(canonical).len() <= 253)
        .map(|(canonical, owner)| (key(canonical), Entry::awaited(owner, "").value()))
        .collect();
    stage.map("0", &entries).await?;
    stage.install(&json!({"pods": "Deny", "workloads": "Off"})).await?;
    stage.until_at_work(&["pods"]).await?;
    let mut wrong = Vec::new();
    for (written, canonical) in &references {
        if !entries.contains_key(&key(canonical)) {
            continue;
        }
        let ask = Ask::create(&stage.team.name, &pod("tried", written));
        let expected =
            format!("image {written} is not published: MultiArchImage {} has", owners[canonical]);
        match ask.try_out(&stage.client).await? {
            Verdict::Refused(said) if said.contains(&expected) => {}
            other => wrong.push(format!("{written} is not taken for {canonical}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.end().await
}
