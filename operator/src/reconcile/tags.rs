//! pure: the template of the images' tags, filled in for a platform.

use crate::oci::{Platform, reference};

/// What the images of an index are tagged as: `{tag}-{arch}{variant}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Tag,
    Os,
    Arch,
    Variant,
    OsVersion,
}

impl Template {
    /// Reads a template. The error is a sentence for people.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((plain, after)) = rest.split_once('{') {
            if !plain.is_empty() {
                parts.push(Part::Text(plain.into()));
            }
            let (name, after) = after.split_once('}').ok_or("a { in it is not closed")?;
            parts.push(match name {
                "tag" => Part::Tag,
                "os" => Part::Os,
                "arch" => Part::Arch,
                "variant" => Part::Variant,
                "osVersion" => Part::OsVersion,
                _ => return Err("it can have {tag}, {os}, {arch}, {variant} and {osVersion} only"),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        if !parts.contains(&Part::Arch) {
            return Err("it must have {arch}, or all platforms would have one tag");
        }
        Ok(Self(parts))
    }

    /// The tag of the image of `platform` in the index under `tag`; what is no tag as it is.
    ///
    /// Platforms are filled in normalised: linux/arm64/v8 gives arm64, linux/arm gives armv7.
    pub fn fill(&self, tag: &str, platform: &Platform) -> Result<String, String> {
        let platform = platform.normalized();
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Tag => tag,
            Part::Os => &platform.os,
            Part::Arch => &platform.architecture,
            Part::Variant => platform.variant.as_deref().unwrap_or_default(),
            Part::OsVersion => platform.os_version.as_deref().unwrap_or_default(),
        });
        let filled: String = parts.collect();
        if reference::is_tag(&filled) { Ok(filled) } else { Err(filled) }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("{tag}-{arch}{variant}", "linux/arm", Ok("1.0-armv7"))]
    #[case("{tag}-{arch}{variant}", "linux/arm64/v8", Ok("1.0-arm64"))]
    #[case("{os}_{arch}", "linux/x86_64", Ok("linux_amd64"))]
    #[case(
        "{tag}-{os}-{osVersion}-{arch}",
        "windows(10.0.17763.1)/amd64",
        Ok("1.0-windows-10.0.17763.1-amd64")
    )]
    #[case("{arch}.x", "wasip1/wasm", Ok("wasm.x"))]
    #[case("{variant}.{arch}", "linux/amd64", Err(".amd64"))]
    #[case("{osVersion}{arch}", "windows(10%2B1)/amd64", Err("10+1amd64"))]
    fn fills_in(#[case] template: &str, #[case] platform: &str, #[case] tag: Result<&str, &str>) {
        let filled = Template::parse(template).unwrap().fill("1.0", &platform.parse().unwrap());
        assert_eq!(filled.as_deref().map_err(String::as_str), tag);
    }

    #[rstest]
    #[case("{tag}-{os}", "must have {arch}")]
    #[case("{arch", "not closed")]
    #[case("{arch}-{digest}", "only")]
    fn refuses(#[case] template: &str, #[case] words: &str) {
        assert!(Template::parse(template).unwrap_err().contains(words));
    }
}
