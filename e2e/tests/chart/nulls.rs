//! `null` takes a default away. Where the chart cannot do without, that is refused, and nothing half made is rendered.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    used::{leaves, maps},
    yaml::{at, merged, text, values},
};

/// What may be taken away, with all below it: what others share or decide, and what Kubernetes is handed as it is.
const OPTIONAL: [&str; 8] = [
    "global",
    "replicaCount",
    "strategy.rollingUpdate",
    "nodeSelector",
    "resources",
    "podSecurityContext",
    "securityContext",
    "metrics.dashboard.labels.grafana_dashboard",
];

fn is_optional(path: &str) -> bool {
    let is_of = |of: &&str| path == *of || path.starts_with(&format!("{of}."));
    // Below it, one amount alone is no strategy.
    OPTIONAL.iter().any(is_of) && !path.starts_with("strategy.rollingUpdate.")
}

/// All values, and the maps that they are in.
fn all() -> Vec<String> {
    let (mut all, mut found) = (Vec::new(), Vec::new());
    maps("", &values(), &mut all);
    leaves("", &values(), &mut found);
    all.extend(found.into_iter().map(|(path, _)| path));
    all.sort();
    all.dedup();
    all
}

/// `values` without what is at `paths`, as helm says that it is missing.
async fn refused(paths: &[&String]) {
    let nulls = paths.iter().fold(json!({}), |all, path| merged(&all, &at(path, Value::Null)));
    let said = match text(&nulls).await {
        Ok(_) => panic!("{nulls} is taken"),
        Err(error) => error.to_string(),
    };
    for path in paths {
        let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
        let parent = if parent.is_empty() {
            String::new()
        } else {
            format!("/{}", parent.replace('.', "/"))
        };
        let line =
            said.lines().find(|line| line.contains(&format!("at '{parent}': missing propert")));
        let told = line.is_some_and(|line| line.contains(&format!("'{key}'")));
        assert!(told, "nothing is said of {path}: null:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_needed_cannot_be_taken_away() {
    let all = all();
    let needed: Vec<_> = all.iter().filter(|path| !is_optional(path)).collect();
    assert!(needed.len() > 130, "{}", needed.len());
    // helm names all that is missing; what is in something that is missing, it cannot.
    for depth in 0..4 {
        let of_depth: Vec<_> =
            needed.iter().copied().filter(|path| path.matches('.').count() == depth).collect();
        if !of_depth.is_empty() {
            refused(&of_depth).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_optional_is_left_out() -> Result<()> {
    let all = all();
    let optional: Vec<_> = all.iter().filter(|path| is_optional(path)).collect();
    assert!(optional.len() > 15, "{optional:?}");
    let before = text(&json!({})).await?;
    for path in optional {
        let path = path.as_str();
        let base = match path {
            "strategy.rollingUpdate" => json!({"strategy": {"type": "Recreate"}}),
            _ => json!({}),
        };
        let rendered = text(&merged(&base, &at(path, Value::Null))).await?;
        for broken in ["%!", "<nil>", "null"] {
            assert!(before.contains(broken) || !rendered.contains(broken), "{path}: {broken}");
        }
        assert!(
            rendered != before || path.starts_with("global") || path.contains("dashboard"),
            "{path}"
        );
    }
    Ok(())
}
