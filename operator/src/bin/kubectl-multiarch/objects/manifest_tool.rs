//! pure: a spec of manifest-tool → the spec of a MultiArchImage.

use std::collections::BTreeMap;

use multiarch_crds::v1alpha1::{MultiArchImageSpec, Source, Target};
use multiarch_operator::oci::{Platform, Reference};
use serde::Deserialize;
use serde_json::Value;

use super::template::name;

/// What `manifest-tool push from-spec` reads.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    image: String,
    #[serde(default)]
    tags: Vec<String>,
    manifests: Vec<Entry>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    image: String,
    #[serde(default)]
    platform: Words,
}

/// A platform; its YAML has the keys of Go's struct in lower case, or those of the OCI spec.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
    #[serde(default, alias = "os.version")]
    osversion: String,
    #[serde(default, alias = "os.features")]
    osfeatures: Vec<String>,
}

/// What `value` asks for. The platforms in it are checked against the images', as those of a source are.
pub(super) fn parse(value: &Value) -> Result<MultiArchImageSpec, String> {
    let spec: Spec = serde_json::from_value(value.clone())
        .map_err(|error| format!("as a spec of manifest-tool: {error}"))?;
    if spec.manifests.is_empty() {
        return Err("manifests: it has none".into());
    }
    let mut sources: Vec<Source> = Vec::with_capacity(spec.manifests.len());
    for (at, entry) in spec.manifests.into_iter().enumerate() {
        let wrong = |why: String| format!("manifests[{at}]: {why}");
        let platform = entry.platform.declared().map_err(wrong)?;
        let taken = |name: &str| sources.iter().any(|source| source.name == name);
        sources.push(Source {
            name: name(platform.as_deref(), at, taken),
            image: whole(&entry.image).map_err(wrong)?,
            platforms: platform.into_iter().collect(),
            ..Source::default()
        });
    }
    let image = whole(&spec.image).map_err(|why| format!("image: {why}"))?;
    Ok(MultiArchImageSpec {
        target: Target { image, additional_tags: spec.tags, ..Target::default() },
        sources,
        annotations: spec.annotations,
        ..MultiArchImageSpec::default()
    })
}

/// `image` in full: manifest-tool takes Docker Hub's short names.
fn whole(image: &str) -> Result<String, String> {
    let reference: Reference = image.parse().map_err(|error| format!("{error}"))?;
    Ok(reference.to_string())
}

impl Words {
    /// It in one word, or nothing where it says nothing: the image's config tells.
    fn declared(self) -> Result<Option<String>, String> {
        let filled = |text: String| Some(text).filter(|text| !text.is_empty());
        if self.os.is_empty() && self.architecture.is_empty() {
            return Ok(None);
        }
        if self.os.is_empty() || self.architecture.is_empty() {
            return Err("platform: give os and architecture, or neither of them".into());
        }
        let platform = Platform {
            os: self.os,
            architecture: self.architecture,
            variant: filled(self.variant),
            os_version: filled(self.osversion),
            os_features: self.osfeatures,
        };
        Ok(Some(platform.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_manifest_tool_reads() {
        let spec = parse(&json!({
            "image": "myprivreg:5000/someimage:latest",
            "tags": ["v1.0.0", "v1.0"],
            "manifests": [
                {"image": "myprivreg:5000/someimage:ppc64le", "platform": {"architecture": "ppc64le", "os": "linux"}},
                {"image": "alpine:3", "platform": {"architecture": "arm", "os": "linux", "variant": "v6"}},
                {"image": "myprivreg:5000/win:1", "platform": {"architecture": "amd64", "os": "windows", "os.version": "10.0.17763"}},
                {"image": "myprivreg:5000/any:1"},
            ],
        }))
        .unwrap();
        assert_eq!(spec.target.image, "myprivreg:5000/someimage:latest");
        assert_eq!(spec.target.additional_tags, ["v1.0.0", "v1.0"]);
        let sources = spec.sources.iter();
        let sources: Vec<_> = sources
            .map(|it| (it.name.as_str(), it.image.as_str(), it.platforms.join(",")))
            .collect();
        let expected = [
            ("linux-ppc64le", "myprivreg:5000/someimage:ppc64le", "linux/ppc64le"),
            ("linux-arm-v6", "docker.io/library/alpine:3", "linux/arm/v6"),
            ("windows-10-0-17763-amd64", "myprivreg:5000/win:1", "windows(10.0.17763)/amd64"),
            ("source-4", "myprivreg:5000/any:1", ""),
        ];
        assert_eq!(sources, expected.map(|(a, b, c)| (a, b, c.to_owned())));
    }

    #[rstest]
    #[case::unknown(json!({"image": "a:1", "manifests": [{"img": "a:2"}]}), "img")]
    #[case::none(json!({"image": "a:1", "manifests": []}), "manifests: it has none")]
    #[case::half(json!({"image": "a:1", "manifests": [{"image": "a:2", "platform": {"os": "linux"}}]}), "manifests[0]: platform")]
    #[case::no_reference(json!({"image": "a:1", "manifests": [{"image": "A b"}]}), "manifests[0]")]
    fn refuses(#[case] value: Value, #[case] says: &str) {
        let told = parse(&value).unwrap_err();
        assert!(told.contains(says), "{told}");
    }
}
