//! pure: the tags beside the target's, and what may be done about a tag that names something else.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use multiarch_crds::v1alpha1::{PublishedPlatform, TagPolicy};

use super::{is_within, sources::Sources};
use crate::oci::{Digest, Platform, Reference, reference};

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

/// A tag beside the target's, and what it is to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The tag.
    pub name: String,
    /// What it is to name.
    pub digest: Digest,
    /// The platform, normalised, where that is one image and not all of the index.
    pub platform: Option<Platform>,
}

/// Why the images cannot be tagged.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TagsError {
    /// What the template gives is no tag.
    #[error(
        "spec.target.platformTags gives {platform} {tag:?}, which is no tag: change the template"
    )]
    NoTag {
        /// The platform.
        platform: Platform,
        /// What the template gives.
        tag: String,
    },
    /// Two platforms with one tag.
    #[error(
        "spec.target.platformTags gives {first} and {second} one tag, {tag}: put what tells them \
         apart into the template, of {{os}}, {{variant}} and {{osVersion}}"
    )]
    Same {
        /// The tag.
        tag: String,
        /// A platform.
        first: Platform,
        /// Another one.
        second: Platform,
    },
    /// A tag that is something else already.
    #[error(
        "spec.target.platformTags gives {platform} the tag {tag}, which is {what}: change the template"
    )]
    Used {
        /// The tag.
        tag: String,
        /// The platform.
        platform: Platform,
        /// What the tag is.
        what: String,
    },
}

/// The tags beside the target's for an index called `index` that has `images`, in its order. Of
/// images of one platform, which differ in compression, the first one is tagged.
pub fn of<'a>(
    sources: &Sources,
    index: &Digest,
    images: impl Iterator<Item = (&'a Platform, &'a Digest)>,
) -> Result<Vec<Tag>, TagsError> {
    let additional = sources.additional_tags.iter().map(|tag| Tag {
        name: tag.clone(),
        digest: index.clone(),
        platform: None,
    });
    let mut tags: Vec<Tag> = additional.collect();
    let Some(template) = &sources.platform_tags else { return Ok(tags) };
    let mut tagged: HashMap<String, &Platform> = HashMap::new();
    for (platform, digest) in images {
        let name = template
            .fill(sources.tag(), platform)
            .map_err(|tag| TagsError::NoTag { platform: platform.clone(), tag })?;
        if let Some(first) = tagged.insert(name.clone(), platform) {
            if first.same_as(platform) {
                continue;
            }
            let (first, second) = (first.clone(), platform.clone());
            return Err(TagsError::Same { tag: name, first, second });
        }
        if let Some(what) = used(sources, &name) {
            return Err(TagsError::Used { tag: name, platform: platform.clone(), what });
        }
        tags.push(Tag { name, digest: digest.clone(), platform: Some(platform.normalized()) });
    }
    Ok(tags)
}

/// The tags beside the target's for an index called `index`, of which status shows `platforms`.
pub fn of_published(
    sources: &Sources,
    index: &Digest,
    platforms: &[PublishedPlatform],
) -> Result<Vec<Tag>, TagsError> {
    let parsed = platforms.iter().filter_map(|image| {
        Some((image.platform.parse::<Platform>().ok()?, image.digest.parse::<Digest>().ok()?))
    });
    let images: Vec<_> = parsed.collect();
    of(sources, index, images.iter().map(|(platform, digest)| (platform, digest)))
}

/// What the spec calls `tag` beside its template, in words.
fn used(sources: &Sources, tag: &str) -> Option<String> {
    if sources.tag() == tag {
        return Some("the target's own".into());
    }
    if sources.additional_tags.iter().any(|additional| additional == tag) {
        return Some("one of spec.target.additionalTags".into());
    }
    let reference = sources.target.repository().tag(tag);
    let source = sources.sources.iter().find(|source| source.reference == reference)?;
    Some(format!("the source {}", source.name))
}

/// What is known of a tag that does not name what it is to name.
#[derive(Clone, Copy, Debug)]
pub struct Astray<'a> {
    /// What it names now.
    pub named: Option<&'a Digest>,
    /// What this object left it with, where it wrote it.
    pub left: Option<&'a Digest>,
    /// What it is to name was published before, for the spec as it is now: nothing but the tag has
    /// changed.
    pub repeats: bool,
    /// It was put back too often.
    pub exhausted: bool,
}

/// What is done about a tag that does not name what it is to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is written.
    Write,
    /// Nothing, because of what is to be published: it names what it was given once.
    Stands,
    /// Nothing, because it has other content and is written once.
    Immutable,
    /// Nothing, because whoever moved it is let have it.
    Yielded,
    /// Nothing, because whoever moved it moves it again and again.
    Loop,
}

impl Astray<'_> {
    /// What `policy` says of it.
    #[must_use]
    pub fn verdict(&self, policy: TagPolicy) -> Verdict {
        // What is free and never was ours is written under every policy, as is what we changed.
        let moved = self.is_moved();
        match policy {
            TagPolicy::Immutable if moved && self.named.is_none() && self.repeats => Verdict::Write,
            TagPolicy::Immutable if moved => Verdict::Immutable,
            TagPolicy::Immutable if self.left.is_some() => Verdict::Stands,
            TagPolicy::Immutable if self.named.is_some() => Verdict::Immutable,
            TagPolicy::Yield if moved && self.repeats => Verdict::Yielded,
            TagPolicy::Enforce if moved && self.repeats && self.exhausted => Verdict::Loop,
            _ => Verdict::Write,
        }
    }

    /// Whether something else has moved it.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        self.left.is_some() && self.named != self.left
    }
}

/// That `tag` was put back to `published`, in words.
#[must_use]
pub fn drift(tag: &Reference, named: Option<&Digest>, published: &Digest) -> String {
    let instead = shown(named);
    format!("{tag} names {published} again; something else had it name {instead}")
}

/// What a tag names, in words.
#[must_use]
pub fn shown(named: Option<&Digest>) -> String {
    named.map_or("nothing".to_owned(), ToString::to_string)
}

/// When tags of an object were put back.
#[derive(Clone, Debug, Default)]
pub struct Corrections(Vec<Timestamp>);

/// A tag that is put back so many times within [`HOUR`] is left.
const TOO_MANY: usize = 3;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

impl Corrections {
    /// Counts one.
    pub fn count(&mut self, now: Timestamp) {
        self.0.retain(|then| is_within(HOUR, *then, now));
        self.0.push(now);
    }

    /// Whether there were too many of them lately.
    #[must_use]
    pub fn are_exhausted(&self, now: Timestamp) -> bool {
        self.0.iter().filter(|then| is_within(HOUR, **then, now)).count() >= TOO_MANY
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The clock may have been set since.
    #[test]
    fn corrections_count_for_an_hour_on_either_side() {
        let (mut corrections, noon) = (Corrections::default(), Timestamp::UNIX_EPOCH);
        (0..3).for_each(|_| corrections.count(noon));
        for minutes in [-59, 0, 59] {
            assert!(corrections.are_exhausted(noon + SignedDuration::from_mins(minutes)));
        }
        for minutes in [-60, 60] {
            assert!(!corrections.are_exhausted(noon + SignedDuration::from_mins(minutes)));
        }
        corrections.count(noon - HOUR);
        assert!(!corrections.are_exhausted(noon), "the others are forgotten");
    }

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

    const OURS: Option<&str> = Some("ours");
    const THEIRS: Option<&str> = Some("theirs");

    #[rstest]
    #[case::free(None, None, false, [Verdict::Write; 3])]
    #[case::foreign(THEIRS, None, false, [Verdict::Write, Verdict::Write, Verdict::Immutable])]
    #[case::news(OURS, OURS, false, [Verdict::Write, Verdict::Write, Verdict::Stands])]
    #[case::moved(THEIRS, OURS, true, [Verdict::Write, Verdict::Yielded, Verdict::Immutable])]
    #[case::moved_and_news(THEIRS, OURS, false, [Verdict::Write, Verdict::Write, Verdict::Immutable])]
    #[case::deleted(None, OURS, true, [Verdict::Write, Verdict::Yielded, Verdict::Write])]
    #[case::deleted_and_news(None, OURS, false, [Verdict::Write, Verdict::Write, Verdict::Immutable])]
    fn of_each_policy(
        #[case] named: Option<&str>,
        #[case] left: Option<&str>,
        #[case] repeats: bool,
        #[case] verdicts: [Verdict; 3],
    ) {
        let digest = |of: Option<&str>| of.map(|of| Digest::of(of.as_bytes()));
        let (named, left) = (digest(named), digest(left));
        let (named, left) = (named.as_ref(), left.as_ref());
        let policies = [TagPolicy::Enforce, TagPolicy::Yield, TagPolicy::Immutable];
        let astray = Astray { named, left, repeats, exhausted: false };
        assert_eq!(policies.map(|policy| astray.verdict(policy)), verdicts);
        let astray = Astray { exhausted: true, ..astray };
        let expected = if astray.is_moved() && repeats { Verdict::Loop } else { verdicts[0] };
        assert_eq!(astray.verdict(TagPolicy::Enforce), expected);
    }

    #[test]
    fn corrections_count_for_an_hour() {
        let mut corrections = Corrections::default();
        let mut now = Timestamp::UNIX_EPOCH;
        for _ in 0..3 {
            assert!(!corrections.are_exhausted(now));
            corrections.count(now);
            now += SignedDuration::from_mins(10);
        }
        assert!(corrections.are_exhausted(now));
        now += SignedDuration::from_mins(40);
        assert!(!corrections.are_exhausted(now));
    }

    fn sources(additional: &[&str], template: Option<&str>) -> Sources {
        let source = |name: &str| multiarch_crds::v1alpha1::Source {
            name: name.into(),
            image: format!("r.example/app:{name}"),
            ..Default::default()
        };
        let mut spec = multiarch_crds::v1alpha1::MultiArchImageSpec {
            sources: vec![source("1.0-s390x")],
            ..Default::default()
        };
        spec.target.image = "r.example/app:1.0".into();
        spec.target.additional_tags = additional.iter().map(|tag| (*tag).into()).collect();
        spec.target.platform_tags = template.map(ToOwned::to_owned);
        Sources::parse(&spec).unwrap()
    }

    fn tags(sources: &Sources, platforms: &[&str]) -> Result<Vec<String>, String> {
        let images: Vec<(Platform, Digest)> = platforms
            .iter()
            .enumerate()
            .map(|(n, platform)| (platform.parse().unwrap(), Digest::of(n.to_string().as_bytes())))
            .collect();
        let images = images.iter().map(|(platform, digest)| (platform, digest));
        let tags = of(sources, &Digest::of(b"index"), images).map_err(|error| error.to_string())?;
        Ok(tags.into_iter().map(|tag| format!("{} {}", tag.name, tag.platform.is_some())).collect())
    }

    #[test]
    fn beside_the_targets() {
        let sources = sources(&["latest"], Some("{tag}-{arch}{variant}"));
        let platforms = ["linux/amd64", "linux/amd64", "linux/arm"];
        let expected = ["latest false", "1.0-amd64 true", "1.0-armv7 true"].map(String::from);
        assert_eq!(tags(&sources, &platforms), Ok(expected.into()));
    }

    #[rstest]
    #[case::no_tag("{variant}.{arch}", &["linux/amd64"], "gives linux/amd64 \".amd64\", which is no tag")]
    #[case::same("{arch}", &["linux/amd64", "windows/amd64"], "gives linux/amd64 and windows/amd64 one tag, amd64")]
    #[case::additional("1-{arch}", &["linux/amd64"], "the tag 1-amd64, which is one of spec.target.additionalTags")]
    #[case::source("{tag}-{arch}", &["linux/s390x"], "the tag 1.0-s390x, which is the source 1.0-s390x")]
    fn cannot_be(#[case] template: &str, #[case] platforms: &[&str], #[case] words: &str) {
        let error = tags(&sources(&["1-amd64"], Some(template)), platforms).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
