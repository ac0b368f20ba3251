//! The API of multiarch-operator: types, conditions, and the CRDs that they generate. No client and no async in here.

pub mod condition;
pub mod v1alpha1;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

/// The API group of every kind.
// `#[kube(group = ..)]` takes literals only; tests/generated.rs holds them to this.
pub const GROUP: &str = "multiarch.dev";

/// Where the chart has its copies of the CRDs' files, which Helm takes from nowhere else; seen from crds/.
pub const CHART: &str = "../charts/multiarch-operator/files/crds";

/// The command that writes the CRDs' files.
pub const REGENERATE: &str = "cargo run -p multiarch-crds --bin crdgen";

/// Why a CRD has no text; that would be a mistake in the types.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The CRD cannot go through JSON.
    #[error("failed to convert the CRD {name}")]
    Json {
        /// The CRD's name.
        name: String,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// The CRD cannot be written as YAML.
    #[error("failed to write the CRD {name} as YAML")]
    Yaml {
        /// The CRD's name.
        name: String,
        /// What the YAML writer says.
        #[source]
        source: serde_saphyr::SerializeError,
    },
}

/// The file of every CRD, by its name in crds/: the same bytes each time for the same types.
///
/// # Errors
///
/// When the types have no CRD.
pub fn files() -> Result<Vec<(String, String)>, GenerateError> {
    [v1alpha1::MultiArchImage::crd(), v1alpha1::MultiArchImageSet::crd()]
        .iter()
        .map(|crd| Ok((format!("{}.yaml", crd.spec.names.plural), yaml(crd)?)))
        .collect()
}

fn yaml(crd: &CustomResourceDefinition) -> Result<String, GenerateError> {
    let name = || crd.metadata.name.clone().unwrap_or_default();
    let mut json =
        serde_json::to_value(crd).map_err(|source| GenerateError::Json { name: name(), source })?;
    join_lines(&mut json);
    let options = serde_saphyr::ser_options! { compact_list_indent: true };
    let body = serde_saphyr::to_string_with_options(&json, options)
        .map_err(|source| GenerateError::Yaml { name: name(), source })?;
    Ok(format!("# Generated from crds/src by `{REGENERATE}`; do not edit.\n{}\n", body.trim_end()))
}

/// Makes one line of each paragraph in a description: `kubectl explain` wraps lines itself, and keeps those of the source
/// inside its own.
fn join_lines(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "description" => {
                        let paragraphs: Vec<_> =
                            text.split("\n\n").map(|p| p.replace('\n', " ")).collect();
                        *text = paragraphs.join("\n\n");
                    }
                    _ => join_lines(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(join_lines),
        _ => {}
    }
}
