//! The chart as a part of another one.

use std::path::Path;

use anyhow::Result;
use multiarch_e2e::{
    charts::parent,
    helm::{Helm, Release},
};
use serde_json::{Value, json};

use crate::yaml::{objects, of_kind};

async fn rendered(folder: &Path, values: &Value) -> Result<Vec<Value>> {
    let release = Release { name: "platform", namespace: "platform", values };
    Ok(objects(&Helm::new()?.template_of(folder, release, &[]).await?))
}

#[tokio::test]
async fn a_parent_turns_it_on_and_off_and_shares_what_is_global() -> Result<()> {
    let folder = tempfile::tempdir()?;
    parent(folder.path())?;
    for values in [json!({}), json!({"multiarch-operator": {"enabled": true, "shards": ["a"]}})] {
        let all = rendered(folder.path(), &values).await?;
        let deployment = of_kind(&all, "Deployment")[0];
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        assert!(image.as_str().unwrap().starts_with("mirror.example.com/"), "{image}");
        assert_eq!(deployment["metadata"]["name"], "platform-multiarch-operator");
        assert_eq!(of_kind(&all, "CustomResourceDefinition").len(), 2);
    }
    let off = rendered(folder.path(), &json!({"multiarch-operator": {"enabled": false}})).await?;
    assert!(off.is_empty(), "{off:?}");
    // Typos are refused there, too.
    let typo = json!({"multiarch-operator": {"replicas": 3}});
    let said = rendered(folder.path(), &typo).await.unwrap_err().to_string();
    assert!(said.contains("'replicas' not allowed"), "{said}");
    Ok(())
}

/// A parent chart may leave the number of replicas to others: `null` would be lost on the way.
#[tokio::test]
async fn a_parent_leaves_the_replicas_to_others() -> Result<()> {
    let folder = tempfile::tempdir()?;
    parent(folder.path())?;
    let replicas = async |values: &Value| {
        let all = rendered(folder.path(), values).await?;
        anyhow::Ok(of_kind(&all, "Deployment")[0]["spec"].get("replicas").cloned())
    };
    assert_eq!(replicas(&json!({})).await?, Some(json!(2)));
    let file = folder.path().join("values.yaml");
    let values = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("{values}multiarch-operator: {{replicaCount: \"\"}}\n"))?;
    assert_eq!(replicas(&json!({})).await?, None);
    // Who installs the parent has the last word.
    assert_eq!(
        replicas(&json!({"multiarch-operator": {"replicaCount": 3}})).await?,
        Some(json!(3))
    );
    // What is taken away there is the default, or refused: never half a flag.
    for values in
        [json!({"logLevel": null}), json!({"proxy": null}), json!({"crds": {"enabled": null}})]
    {
        let of_parent = json!({"multiarch-operator": values});
        if let Ok(all) = rendered(folder.path(), &of_parent).await {
            assert_eq!(all, rendered(folder.path(), &json!({})).await?, "{of_parent}");
        }
    }
    Ok(())
}
