//! pure: a template and platforms → the spec of a MultiArchImage with a source for each.

use multiarch_crds::v1alpha1::{MultiArchImageSpec, Source, Target};
use multiarch_operator::oci::{Platform, Reference};

/// Names of sources: DNS labels.
const LONGEST: usize = 63;

/// What `--template`, `--platforms`, `--target` and `--tags` ask for. `{os}`, `{arch}` and `{variant}` stand for those of each platform,
/// as do OS, ARCH and VARIANT in the templates of manifest-tool.
pub(crate) fn spec(
    template: &str,
    platforms: &[String],
    target: &str,
    tags: &[String],
) -> Result<MultiArchImageSpec, String> {
    if platforms.is_empty() {
        return Err("--platforms: name at least one, such as linux/amd64,linux/arm64".into());
    }
    let template = braced(template);
    if let Some(unknown) = unknown(&template) {
        return Err(format!("--template: {unknown} is none of {{os}}, {{arch}} and {{variant}}"));
    }
    let whole = |image: &str| {
        let reference: Result<Reference, _> = image.parse();
        reference.map(|it| it.to_string()).map_err(|error| error.to_string())
    };
    let mut sources: Vec<Source> = Vec::with_capacity(platforms.len());
    for (at, text) in platforms.iter().enumerate() {
        let platform: Platform = text.parse().map_err(|error| format!("--platforms: {error}"))?;
        let image = template
            .replace("{os}", &platform.os)
            .replace("{arch}", &platform.architecture)
            .replace("{variant}", platform.variant.as_deref().unwrap_or_default());
        let image = whole(&image).map_err(|why| format!("--template for {text}: {why}"))?;
        if sources.iter().any(|source| source.image == image) {
            return Err(format!(
                "--template gives {image} for two platforms: put {{arch}} and {{variant}} in it"
            ));
        }
        let taken = |name: &str| sources.iter().any(|source| source.name == name);
        sources.push(Source {
            name: name(Some(text), at, taken),
            image,
            platforms: vec![text.clone()],
            ..Source::default()
        });
    }
    let image = whole(target).map_err(|why| format!("--target: {why}"))?;
    Ok(MultiArchImageSpec {
        target: Target { image, additional_tags: tags.to_vec(), ..Target::default() },
        sources,
        ..MultiArchImageSpec::default()
    })
}

/// manifest-tool's words as ours.
fn braced(template: &str) -> String {
    if template.contains('{') {
        return template.into();
    }
    template.replace("ARCH", "{arch}").replace("VARIANT", "{variant}").replace("OS", "{os}")
}

/// The first placeholder of `template` that stands for nothing.
fn unknown(template: &str) -> Option<String> {
    let bare = ["{os}", "{arch}", "{variant}"]
        .iter()
        .fold(template.to_owned(), |text, known| text.replace(known, ""));
    let from = bare.find(['{', '}'])?;
    let rest = &bare[from..];
    let to = rest.find('}').map_or(rest.len(), |at| at + 1);
    // It is shown only where it is a word.
    let word = rest[..to].trim_matches(['{', '}']);
    let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    Some(if plain { format!("{{{word}}}") } else { "what is in braces".into() })
}

/// A name for a source of `platform`, the one at this place, that is not `taken` yet.
pub(crate) fn name(platform: Option<&str>, at: usize, taken: impl Fn(&str) -> bool) -> String {
    let numbered = format!("source-{}", at + 1);
    let Some(platform) = platform else { return numbered };
    let plain = |character: char| {
        let lower = character.to_ascii_lowercase();
        if lower.is_ascii_alphanumeric() { lower } else { '-' }
    };
    let words: String = platform.chars().map(plain).collect();
    let words: Vec<_> = words.split('-').filter(|word| !word.is_empty()).collect();
    let name = words.join("-");
    if name.is_empty() || name.len() > LONGEST || taken(&name) { numbered } else { name }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn made(template: &str, platforms: &[&str]) -> Result<Vec<(String, String)>, String> {
        let platforms: Vec<_> = platforms.iter().map(|&platform| platform.to_owned()).collect();
        let spec = spec(template, &platforms, "r.example/app:1.0", &["1".to_owned()])?;
        assert_eq!(spec.target.image, "r.example/app:1.0");
        assert_eq!(spec.target.additional_tags, ["1"]);
        Ok(spec.sources.into_iter().map(|source| (source.name, source.image)).collect())
    }

    #[rstest]
    #[case::ours("r.example/app:1.0-{os}-{arch}{variant}")]
    #[case::manifest_tools("r.example/app:1.0-OS-ARCHVARIANT")]
    fn names_each_source(#[case] template: &str) {
        let sources = made(template, &["linux/amd64", "linux/arm/v7"]).unwrap();
        let expected = [
            ("linux-amd64", "r.example/app:1.0-linux-amd64"),
            ("linux-arm-v7", "r.example/app:1.0-linux-armv7"),
        ];
        assert_eq!(sources, expected.map(|(name, image)| (name.into(), image.into())));
    }

    #[rstest]
    #[case::one_image("r.example/app:1.0", &["linux/amd64", "linux/arm64"], "for two platforms")]
    #[case::unknown("r.example/app:{tag}-{arch}", &["linux/amd64"], "{tag} is none of")]
    #[case::broken("r.example/app:{arch", &["linux/amd64"], "is none of")]
    #[case::no_platform("r.example/app:{arch}", &[], "name at least one")]
    #[case::bad_platform("r.example/app:{arch}", &["linux"], "--platforms")]
    #[case::no_reference("r.example/App:{arch}", &["linux/amd64"], "--template for linux/amd64")]
    fn refuses(#[case] template: &str, #[case] platforms: &[&str], #[case] says: &str) {
        let told = made(template, platforms).unwrap_err();
        assert!(told.contains(says), "{told}");
    }

    #[test]
    fn names_are_labels() {
        let free = |_: &str| false;
        assert_eq!(name(Some("windows(10.0.17763)/amd64"), 0, free), "windows-10-0-17763-amd64");
        assert_eq!(name(Some("linux/amd64"), 1, |name| name == "linux-amd64"), "source-2");
        assert_eq!(name(None, 2, free), "source-3");
        assert_eq!(name(Some(&"a".repeat(64)), 3, free), "source-4");
    }
}
