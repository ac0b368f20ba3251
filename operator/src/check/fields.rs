//! pure: which fields of our kinds a cluster's CRDs lack.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

/// The paths of the fields of `crd` that the API server's `OpenAPI` document of our group does not have.
pub fn lacking(document: &Value, crd: &CustomResourceDefinition) -> Result<Vec<String>, String> {
    let kind = &crd.spec.names.kind;
    let served = served(document, kind)
        .ok_or_else(|| format!("the API server describes no {kind} (yet)"))?;
    let ours = serde_json::to_value(crd).map_err(|error| error.to_string())?;
    let ours = &ours["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut paths = Vec::new();
    for part in ["spec", "status"] {
        walk(part, &ours[part], &served["properties"][part], &mut paths);
    }
    Ok(paths)
}

/// The schema of `ours`.
fn served<'a>(document: &'a Value, ours: &str) -> Option<&'a Value> {
    let schemas = document["components"]["schemas"].as_object()?;
    schemas.values().find(|schema| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"] == ours))
    })
}

/// A field that is absent is told, and not what would be below it.
fn walk(path: &str, ours: &Value, served: &Value, paths: &mut Vec<String>) {
    for (name, ours) in ours["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match served["properties"].get(name) {
            Some(served) => walk(&path, ours, served, paths),
            None => paths.push(path),
        }
    }
    if ours["items"].is_object() {
        walk(&format!("{path}[]"), &ours["items"], &served["items"], paths);
    }
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;
    use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageSet};
    use serde_json::json;

    use super::*;

    fn lacking(document: &Value) -> Result<Vec<String>, String> {
        super::lacking(document, &MultiArchImage::crd())
    }

    /// What an API server says of our own CRD.
    fn document() -> Value {
        let crd = serde_json::to_value(MultiArchImage::crd()).unwrap();
        let mut schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        schema["x-kubernetes-group-version-kind"] = json!([{"kind": "MultiArchImage"}]);
        json!({"components": {"schemas": {"other": {}, "dev.multiarch.v1alpha1.MultiArchImage": schema}}})
    }

    #[test]
    fn tells_what_an_older_crd_lacks() {
        assert_eq!(lacking(&document()).unwrap(), [""; 0]);
        let mut older = document();
        let schemas = &mut older["components"]["schemas"];
        let fields = &mut schemas["dev.multiarch.v1alpha1.MultiArchImage"]["properties"];
        let sources = &mut fields["spec"]["properties"]["sources"]["items"]["properties"];
        sources.as_object_mut().unwrap().remove("secretRef").unwrap();
        fields["spec"]["properties"].as_object_mut().unwrap().remove("registries").unwrap();
        fields["status"]["properties"].as_object_mut().unwrap().remove("coverage").unwrap();
        let expected = ["spec.registries", "spec.sources[].secretRef", "status.coverage"];
        assert_eq!(lacking(&older).unwrap(), expected);
        // A newer one has more.
        let mut newer = document();
        let schemas = &mut newer["components"]["schemas"];
        schemas["dev.multiarch.v1alpha1.MultiArchImage"]["properties"]["spec"]["properties"]["new"] =
            json!({});
        assert_eq!(lacking(&newer).unwrap(), [""; 0]);
        assert!(lacking(&json!({"components": {"schemas": {}}})).is_err());
        let why = super::lacking(&document(), &MultiArchImageSet::crd()).unwrap_err();
        assert_eq!(why, "the API server describes no MultiArchImageSet (yet)");
    }
}
