//! What an archive has under the name of an image → what of it a set takes, if anything.

use multiarch_crds::v1alpha1::{MultiArchImageSetSpec, SetArchive};

use crate::{
    archive::{Image, Kind},
    oci::{Digest, Platform},
};

/// What is taken of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// One image, for one platform; or one of which the archive cannot say what it is, so that whoever reads it is told.
    Image,
    /// An index, and those of its platforms that are taken; where there are none, all of them.
    Index(Vec<String>),
}

/// Why nothing is taken of what an archive has under the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It is not what the line's digest names.
    OtherDigest,
    /// It is for platforms that the set leaves out.
    OtherPlatforms,
}

/// What `set` takes of `image`, which `archive` has under a name; of `digest`, where the line has one.
pub fn held(
    set: &MultiArchImageSetSpec,
    archive: &SetArchive,
    image: &Image,
    digest: Option<&Digest>,
) -> Result<Held, Lack> {
    // An image without a manifest has a digest of its own only when one is made for it.
    if digest.is_some_and(|digest| image.kind == Kind::Saved || image.digest != *digest) {
        return Err(Lack::OtherDigest);
    }
    let is_index = image.kind == Kind::Index;
    // Of an index without any of its images it is told that it has none.
    let there = image.platforms.as_deref().filter(|there| !there.is_empty());
    // What the archive is said to be for stands before what is chosen, and is held to the config.
    let Some(there) = there.filter(|_| archive.platform.is_none()) else {
        return Ok(if is_index { Held::Index(set.platforms.clone()) } else { Held::Image });
    };
    let covers = |wanted: &&String| {
        let wanted = wanted.parse::<Platform>().ok();
        wanted.is_some_and(|wanted| there.iter().any(|platform| platform.covers(&wanted)))
    };
    let chosen: Vec<_> = set.platforms.iter().filter(covers).cloned().collect();
    if chosen.is_empty() && !set.platforms.is_empty() {
        return Err(Lack::OtherPlatforms);
    }
    if !is_index {
        return Ok(Held::Image);
    }
    // By its digest the index is what it is, also with images that are not in the archive.
    if chosen.is_empty() && digest.is_some() && !image.absent.is_empty() {
        let there = there.iter().map(|platform| platform.normalized().to_string());
        let mut there: Vec<_> = there.collect();
        there.sort();
        there.dedup();
        return Ok(Held::Index(there));
    }
    Ok(Held::Index(chosen))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::oci::Descriptor;

    fn set(platforms: &[&str]) -> MultiArchImageSetSpec {
        let spec = json!({"to": {"registry": "r.example"}, "platforms": platforms});
        serde_json::from_value(spec).unwrap()
    }

    fn archive(platform: Option<&str>) -> SetArchive {
        let platform = platform.map(ToOwned::to_owned);
        SetArchive { path: "a.tar".into(), platform, ..SetArchive::default() }
    }

    fn found(kind: Kind, platforms: Option<&[&str]>) -> Image {
        let platforms = platforms.map(|all| all.iter().map(|text| text.parse().unwrap()).collect());
        let digest = Digest::of(b"image");
        Image { names: Vec::new(), digest, kind, absent: Vec::new(), platforms }
    }

    fn index(of: &[&str]) -> Held {
        Held::Index(of.iter().map(|text| (*text).to_owned()).collect())
    }

    const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

    #[rstest]
    #[case::all(Kind::Saved, Some(&["linux/s390x"][..]), &[], Ok(Held::Image))]
    #[case::wanted(Kind::Saved, Some(&["linux/arm64/v8"][..]), &BOTH, Ok(Held::Image))]
    #[case::not_wanted(Kind::Saved, Some(&["linux/s390x"][..]), &BOTH, Err(Lack::OtherPlatforms))]
    #[case::of_a_layout(Kind::Manifest, Some(&["linux/s390x"][..]), &BOTH, Err(Lack::OtherPlatforms))]
    #[case::unknown(Kind::Saved, None, &BOTH, Ok(Held::Image))]
    #[case::index(Kind::Index, Some(&BOTH[..]), &[], Ok(index(&[])))]
    #[case::one_of_it(Kind::Index, Some(&["linux/amd64", "linux/s390x"][..]), &BOTH, Ok(index(&["linux/amd64"])))]
    #[case::a_build(Kind::Index, Some(&["windows(10.0.17763.1)/amd64"][..]), &["windows/amd64"], Ok(index(&["windows/amd64"])))]
    #[case::none_of_it(Kind::Index, Some(&["linux/s390x"][..]), &BOTH, Err(Lack::OtherPlatforms))]
    #[case::index_of_nobody_knows_what(Kind::Index, None, &BOTH, Ok(index(&BOTH)))]
    #[case::index_of_nothing(Kind::Index, Some(&[][..]), &BOTH, Ok(index(&BOTH)))]
    fn platforms_are_chosen_of_what_is_there(
        #[case] kind: Kind,
        #[case] there: Option<&[&str]>,
        #[case] wanted: &[&str],
        #[case] expected: Result<Held, Lack>,
    ) {
        let got = held(&set(wanted), &archive(None), &found(kind, there), None);
        assert_eq!(got, expected);
    }

    /// What is said of an archive is held to its images, and not the other way.
    #[test]
    fn an_archive_that_is_said_to_be_for_a_platform_is_taken_at_its_word() {
        let image = found(Kind::Saved, Some(&["linux/s390x"]));
        let got = held(&set(&BOTH), &archive(Some("linux/amd64")), &image, None);
        assert_eq!(got, Ok(Held::Image));
    }

    #[test]
    fn a_digest_is_that_of_a_manifest_or_index() {
        let (this, other) = (Digest::of(b"image"), Digest::of(b"other"));
        let held = |kind, digest| {
            let image = found(kind, Some(&["linux/amd64"]));
            held(&set(&[]), &archive(None), &image, Some(digest))
        };
        assert_eq!(held(Kind::Manifest, &this), Ok(Held::Image));
        assert_eq!(held(Kind::Index, &this), Ok(index(&[])));
        assert_eq!(held(Kind::Manifest, &other), Err(Lack::OtherDigest));
        assert_eq!(held(Kind::Index, &other), Err(Lack::OtherDigest));
        // Its digest is that of its config, which no line means.
        assert_eq!(held(Kind::Saved, &this), Err(Lack::OtherDigest));
    }

    #[test]
    fn of_an_index_by_its_digest_only_what_is_there_is_taken() {
        let mut image = found(Kind::Index, Some(&["linux/arm64/v8", "linux/amd64"]));
        let digest = image.digest.clone();
        image.absent = vec![Descriptor::of("text/x", Digest::of(b"absent"), 1)];
        let held = |wanted| held(&set(wanted), &archive(None), &image, Some(&digest));
        assert_eq!(held(&[]), Ok(index(&BOTH)));
        assert_eq!(held(&["linux/arm64"]), Ok(index(&["linux/arm64"])));
    }
}
