//! The rest of a `MultiArchImage`'s spec, as a set gives it to all of its images: the same fields but those that the set fills in.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{MultiArchImageSpec, Source};

/// What a set fills in: of the spec, and of its target.
const FILLED_IN: [&str; 1] = ["sources"];
const OF_TARGET: [&str; 1] = ["image"];
/// What a source may have of the template.
const OF_SOURCE: [&str; 2] = ["secretRef", "provider"];

/// What all images of a set have in common.
///
/// It is kept as the API server has it: what a template leaves out is filled in there, with the defaults of the other kind, since its rules read them. Without any, the
/// API server fills in where the `MultiArchImage` is applied.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Template(Map<String, Value>);

impl Template {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The spec of the image that is published under `target`, made of `sources`; each of them that is in a registry has what the template says
    /// of sources. Nobody logs in to an archive.
    #[must_use]
    pub fn spec(&self, target: &str, sources: Vec<Value>) -> Value {
        let mut spec = self.0.clone();
        // A person may suspend one of them.
        if spec.get("suspend") == Some(&Value::Bool(false)) {
            spec.remove("suspend");
        }
        let of_sources = spec.remove("source");
        let of_sources = of_sources.as_ref().and_then(Value::as_object);
        let with = |source: Value| match (source, of_sources) {
            // What the set says of a source stands before what the template says of all.
            (Value::Object(source), Some(all)) if !source.contains_key("archive") => {
                Value::Object(all.clone().into_iter().chain(source).collect())
            }
            (source, _) => source,
        };
        let mut of_target = match spec.remove("target") {
            Some(Value::Object(target)) => target,
            _ => Map::new(),
        };
        // One of them is what the line itself has.
        if let Some(Value::Array(tags)) = of_target.get_mut("additionalTags") {
            let tag = target.rsplit_once(':').map_or("", |(_, tag)| tag);
            tags.retain(|other| other != tag);
        }
        of_target.insert("image".into(), target.into());
        spec.insert("target".into(), of_target.into());
        spec.insert("sources".into(), sources.into_iter().map(with).collect());
        spec.into()
    }
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut spec = MultiArchImageSpec::json_schema(generator).to_value();
        let mut source = Source::json_schema(generator).to_value();
        leave_out(&mut spec, &FILLED_IN);
        leave_out(&mut spec["properties"]["target"], &OF_TARGET);
        spec["properties"]["target"]["description"] = TARGET.into();
        keep(&mut source, &OF_SOURCE);
        source["description"] = SOURCE.into();
        spec["properties"]["source"] = source;
        // Its defaults are filled in then, and rules may read them.
        spec["properties"]["target"]["default"] = Value::Object(Map::new());
        spec["description"] = TEMPLATE.into();
        Schema::try_from(spec).unwrap_or_default()
    }
}

const TEMPLATE: &str = "What all images of this list have in common: the fields of a MultiArchImage's spec but those that the list fills in. Default: that \
     kind's own defaults.";
const TARGET: &str = "What all targets have in common, credential and format among it; image is made from the list. \
     additionalTags are those of each image, so that two images of one repository claim one tag (TargetConflict); the tag that a line has itself \
     is left out. Default: {}.";
const SOURCE: &str = "Who reads the images from their registry, where imagePullSecrets do not; it is not for those in archives. Default: nobody.";

/// Takes `fields` out of the schema of an object, with the rules that read them; none of the others is required.
fn leave_out(schema: &mut Value, fields: &[&str]) {
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| !fields.contains(&name.as_str()));
    }
    let Some(schema) = schema.as_object_mut() else { return };
    schema.remove("required");
    let reads = |rule: &Value| {
        let text = rule["rule"].as_str().unwrap_or_default();
        fields.iter().any(|field| text.contains(&format!(".{field}")))
    };
    if let Some(Value::Array(rules)) = schema.get_mut("x-kubernetes-validations") {
        rules.retain(|rule| !reads(rule));
    }
}

/// Leaves `fields` of the schema of an object, and no other.
fn keep(schema: &mut Value, fields: &[&str]) {
    let others: Vec<String> = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|properties| properties.keys())
        .filter(|name| !fields.contains(&name.as_str()))
        .cloned()
        .collect();
    leave_out(schema, &others.iter().map(String::as_str).collect::<Vec<_>>());
}
