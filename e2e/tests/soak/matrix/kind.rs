//! What an object of the matrix does while things break.

use anyhow::Result;
use multiarch_e2e::{
    images::{Blob, Image},
    registry::Registry,
    scenario::tag_of,
    spec::Spec,
};
use serde_json::json;

pub(super) const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// What an object does.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    /// Copies images from another registry, and keeps a further tag.
    Copy,
    /// The same where both registries give tokens.
    Tokens,
    /// Copies images from another repository of the registry.
    Mount,
    /// Makes an index of images of its own repository.
    Assemble,
    /// Chooses from an index in another registry.
    Choose,
    /// Copies images with what refers to them.
    Signed,
    /// Was published, and is looked at again: nothing has changed.
    Idle,
    /// Was published, and one of its images is gone from the target.
    Repair,
    /// Was published, and is deleted with its tags.
    Delete,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Copy,
        Self::Tokens,
        Self::Mount,
        Self::Assemble,
        Self::Choose,
        Self::Signed,
        Self::Idle,
        Self::Repair,
        Self::Delete,
    ];

    /// Whether it is published before anything breaks.
    pub(super) fn is_published_before(self) -> bool {
        matches!(self, Self::Idle | Self::Repair | Self::Delete)
    }

    /// Whether its sources are in the target's registry.
    fn is_of_one_registry(self) -> bool {
        matches!(self, Self::Mount | Self::Assemble | Self::Delete)
    }
}

/// The registries of a case: hosts of its own, before those that all cases share.
pub(super) struct Hosts {
    pub(super) sources: Registry,
    pub(super) target: Registry,
}

/// The images that all cases are about.
pub(super) struct Images {
    each: Vec<Image>,
    index: Image,
    signature: Image,
}

impl Images {
    pub(super) fn new() -> Result<Self> {
        let large = content();
        let image =
            |platform: &&str| Image::layered(platform, &[platform, &format!("{platform} {large}")]);
        let each: Vec<_> = PLATFORMS.iter().map(image).collect::<Result<_>>()?;
        let index = Image::index(&each)?;
        let signature = Image::referrer(&each[0].manifest, "application/vnd.example.sig", "signed");
        Ok(Self { each, index, signature })
    }

    /// The digest that each platform has in the end.
    pub(super) fn expected(&self) -> impl Iterator<Item = (String, String)> {
        PLATFORMS
            .iter()
            .zip(&self.each)
            .map(|(platform, image)| ((*platform).into(), image.digest()))
    }

    pub(super) fn signature(&self) -> String {
        self.signature.digest()
    }

    /// The layer of the first image that is not small.
    pub(super) fn layer(&self) -> &Blob {
        &self.each[0].blobs[2]
    }

    pub(super) fn first(&self) -> String {
        self.each[0].digest()
    }
}

/// Some 200 KiB that no compression makes small, the same each time.
fn content() -> String {
    let mut random = fastrand::Rng::with_seed(6);
    std::iter::repeat_with(|| random.alphanumeric()).take(256 << 10).collect()
}

/// Pushes what the case called `name` begins with, and tells its object.
pub(super) async fn prepare(
    kind: Kind,
    name: &str,
    hosts: &Hosts,
    images: &Images,
) -> Result<Spec> {
    let target = format!("team/{name}");
    let from = if kind.is_of_one_registry() { &hosts.target } else { &hosts.sources };
    let build = if kind == Kind::Assemble { target.clone() } else { format!("build/{name}") };
    let mut spec = Spec::new(&hosts.target, name, &format!("{target}:1"));
    spec.spec["target"]["additionalTags"] = json!(["latest"]);
    if kind == Kind::Choose {
        from.push(&format!("{build}:both"), &images.index).await?;
        return Ok(spec.source_in(from, "both", &format!("{build}:both"), &PLATFORMS, json!({})));
    }
    for (platform, image) in PLATFORMS.iter().zip(&images.each) {
        let tag = tag_of(&format!("{build}:1"), platform);
        from.push(&tag, image).await?;
        spec = spec.source_in(from, &platform.replace('/', "-"), &tag, &[platform], json!({}));
    }
    match kind {
        Kind::Tokens => {
            hosts.sources.proxy.ask_for_tokens();
            hosts.target.proxy.ask_for_tokens();
        }
        Kind::Signed => {
            // The fallback tag: distribution does not serve the API of referrers.
            let tag = images.first().replace(':', "-");
            let fallback = Image::fallback(
                std::slice::from_ref(&images.signature),
                "application/vnd.example.sig",
            );
            from.push(&format!("{build}:{tag}"), &fallback).await?;
            spec = spec.with("referrers", "Copy");
        }
        Kind::Delete => spec = spec.with("deletionPolicy", "Delete"),
        _ => {}
    }
    Ok(spec)
}
