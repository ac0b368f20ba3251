//! A line of a list → the `MultiArchImage` that the set owns for it, and whether one that is there is just that.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use multiarch_crds::{
    GROUP,
    v1alpha1::{
        MultiArchImage, MultiArchImageSet, MultiArchImageSetSpec, PlatformPolicy, SetArchive,
        VERSION,
    },
};
use serde_json::{Map, Value, json};

use super::{held::Held, lines::Image};
use crate::oci::{Digest, Reference};

/// The label of all that a set owns: the set's name, or its beginning where that is too long for a label.
pub const LABEL: &str = "multiarch.dev/set";
/// The annotation of what a set applies: a digest of all that it says. What it says no more is told by it, which is in the object until it is applied anew.
pub const APPLIED: &str = "multiarch.dev/applied";
/// The longest name that an object has, and a label's value, in bytes.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;
/// How much of an image's name is in that of its object.
const SLUG: usize = 40;

/// What is taken of an archive for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken<'a> {
    /// The archive.
    pub archive: &'a SetArchive,
    /// What the image is called there.
    pub name: Reference,
    /// What of it.
    pub held: Held,
}

/// Where an image of the list comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// Its registry.
    Registry,
    /// These archives.
    Archives(Vec<Taken<'a>>),
}

/// The name of the object for `target`: another one for each target, also where two read alike.
#[must_use]
pub fn name(set: &str, target: &Reference) -> String {
    let digest = Digest::of(target.to_string().as_bytes());
    let hex = digest.as_str().rsplit(':').next().unwrap_or_default();
    let path = target.repository().path();
    let short = path.rsplit_once('/').map_or(path, |(_, last)| last);
    let slug = slug(&format!("{short}-{}", target.tag().unwrap_or_default()), SLUG);
    let end = format!("-{slug}-{}", &hex[..8]);
    // What is cut off, the digest of the target makes up for within a set; sets of names that long and alike share none.
    let set = set.get(..LONGEST_NAME - end.len()).unwrap_or(set).trim_end_matches(['-', '.']);
    format!("{set}{end}")
}

/// `text` as a part of a name: a-z, 0-9 and `-`, at most `longest` of them.
fn slug(text: &str, longest: usize) -> String {
    let mut slug = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(longest);
    slug.trim_end_matches('-').to_owned()
}

/// The object for `image`, as it is applied. It has the labels called `same` of its set, so that the operator that watches the set by them watches it, too.
#[must_use]
pub fn object(set: &MultiArchImageSet, image: &Image, origin: &Origin<'_>, same: &[&str]) -> Value {
    let set_name = set.metadata.name.as_deref().unwrap_or_default();
    let label = set_name.get(..LONGEST_LABEL).unwrap_or(set_name);
    let mut labels = Map::new();
    labels.insert(LABEL.into(), label.trim_end_matches(['-', '.']).into());
    let of_set = set.metadata.labels.as_ref();
    let same = same.iter().filter_map(|key| Some((*key, of_set?.get(*key)?)));
    labels.extend(same.map(|(key, value)| (key.to_owned(), value.as_str().into())));
    let sources = sources(&set.spec, image, origin);
    let mut spec = set.spec.template.spec(&image.target.to_string(), sources);
    if let Origin::Archives(_) = origin {
        require(&mut spec, &set.spec.platforms);
    }
    let applied = Digest::of(json!([labels, spec]).to_string().as_bytes());
    let applied = applied.as_str().rsplit(':').next().unwrap_or_default();
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "MultiArchImage",
        "metadata": {
            "name": name(set_name, &image.target),
            "namespace": set.metadata.namespace,
            "labels": labels,
            "annotations": {APPLIED: &applied[..16]},
            "ownerReferences": [owner(set)],
        },
        "spec": spec,
    })
}

fn owner(set: &MultiArchImageSet) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "MultiArchImageSet",
        "name": set.metadata.name,
        "uid": set.metadata.uid,
        // Without blockOwnerDeletion, which would take a right to the set's finalizers where OwnerReferencesPermissionEnforcement is on.
        "controller": true,
    })
}

/// Whose the object is that has the name of a set's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The set's.
    Its,
    /// Nobody's for much longer: it is being deleted, or will be with the set of that name that was there before.
    Leaving,
    /// Somebody else's.
    Others,
}

/// Whose the object of `meta` is, seen from `set`.
#[must_use]
pub fn whose(meta: &ObjectMeta, set: &MultiArchImageSet) -> Whose {
    let mut owners = meta.owner_references.iter().flatten();
    let name = set.metadata.name.as_ref();
    if meta.deletion_timestamp.is_some() {
        Whose::Leaving
    } else if is_owned(meta, set) {
        Whose::Its
    } else if owners.any(|owner| {
        // The set itself, where it does not lead the object, is no other one.
        let is_gone = Some(&owner.uid) != set.metadata.uid.as_ref();
        owner.kind == "MultiArchImageSet" && Some(&owner.name) == name && is_gone
    }) {
        Whose::Leaving
    } else {
        Whose::Others
    }
}

/// Whether the object of `meta` is owned by `set`: made by it, and not only to go with it.
#[must_use]
pub fn is_owned(meta: &ObjectMeta, set: &MultiArchImageSet) -> bool {
    let uid = set.metadata.uid.as_ref();
    let mut owners = meta.owner_references.iter().flatten();
    owners.any(|owner| Some(&owner.uid) == uid && owner.controller == Some(true))
}

fn sources(spec: &MultiArchImageSetSpec, image: &Image, origin: &Origin<'_>) -> Vec<Value> {
    let chosen = |mut source: Value, platforms: &[String]| {
        if !platforms.is_empty() {
            source["platforms"] = json!(platforms);
        }
        source
    };
    let Origin::Archives(taken) = origin else {
        let source = json!({"name": "image", "image": image.source.to_string()});
        return vec![chosen(source, &spec.platforms)];
    };
    let mut names = HashSet::new();
    let each = taken.iter().map(|Taken { archive, name, held }| {
        // By its tag what the archive has under it, by a digest that.
        let digest = image.source.digest();
        let image = digest.map_or_else(|| name.clone(), |digest| name.pinned_to(digest));
        let mut source = json!({
            "name": source_name(&archive.path, &mut names),
            "archive": {"path": archive.path, "image": image.to_string()},
        });
        if archive.platform_policy == PlatformPolicy::Trust {
            source["platformPolicy"] = json!(PlatformPolicy::Trust);
        }
        match (&archive.platform, held) {
            (Some(platform), _) => chosen(source, std::slice::from_ref(platform)),
            (None, Held::Index(platforms)) => chosen(source, platforms),
            (None, Held::Image) => source,
        }
    });
    each.collect()
}

/// What the source of the archive at `path` is called: as no one of `names` is.
fn source_name(path: &str, names: &mut HashSet<String>) -> String {
    let slug = slug(path, 56);
    let slug = if slug.is_empty() { "archive".to_owned() } else { slug };
    let (mut name, mut count) = (slug.clone(), 1);
    while !names.insert(name.clone()) {
        count += 1;
        name = format!("{slug}-{count}");
    }
    name
}

/// Has `spec` wait for `platforms`, beside those that it waits for already: an archive that lacks an image says nothing of it.
fn require(spec: &mut Value, platforms: &[String]) {
    if platforms.is_empty() {
        return;
    }
    let required = spec["requiredPlatforms"].as_array().cloned().unwrap_or_default();
    let more = platforms.iter().map(|platform| json!(platform));
    let more: Vec<_> = more.filter(|platform| !required.contains(platform)).collect();
    spec["requiredPlatforms"] = required.into_iter().chain(more).collect();
}

/// Whether all that `applied` says is so in `live`, whatever else the API server and others have filled in.
#[must_use]
pub fn is_as_applied(applied: &Value, live: &MultiArchImage) -> bool {
    let wanted = serde_json::from_value::<MultiArchImage>(applied.clone());
    // What is none the API server is to refuse.
    let Some(wanted) = wanted.ok().and_then(|wanted| serde_json::to_value(wanted).ok()) else {
        return false;
    };
    let Ok(live) = serde_json::to_value(live) else { return false };
    let same = |field: &str| is_so(&applied[field], &wanted[field], &live[field]);
    let meta = |field: &str| {
        let [applied, wanted, live] =
            [applied, &wanted, &live].map(|object| &object["metadata"][field]);
        is_so(applied, wanted, live)
    };
    same("spec") && meta("labels") && meta("annotations")
}

/// Whether `live` has what `wanted` has wherever `applied`, which it was read from, says something.
fn is_so(applied: &Value, wanted: &Value, live: &Value) -> bool {
    match applied {
        Value::Object(fields) => {
            fields.iter().all(|(key, value)| is_so(value, &wanted[key], &live[key]))
        }
        Value::Array(items) => {
            let count = |list: &Value| list.as_array().map_or(0, Vec::len);
            count(wanted) == count(live)
                && items.iter().enumerate().all(|(at, item)| is_so(item, &wanted[at], &live[at]))
        }
        _ => wanted == live,
    }
}

#[cfg(test)]
mod tests {
    use multiarch_crds::v1alpha1::Template;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::{oci::Platform, reconcile::sources::Sources};

    fn set(spec: &Value) -> MultiArchImageSet {
        let mut whole = json!({
            "images": ["a"],
            "to": {"registry": "registry.local:5000"},
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let spec = serde_json::from_value(whole).unwrap();
        let mut set = MultiArchImageSet::new("k3s", spec);
        set.metadata.uid = Some("uid".into());
        set.metadata.namespace = Some("team".into());
        set
    }

    fn pause() -> Image {
        Image {
            source: "docker.io/rancher/pause:3.1".parse().unwrap(),
            name: "docker.io/rancher/pause:3.1".parse().unwrap(),
            target: "registry.local:5000/rancher/pause:3.1".parse().unwrap(),
        }
    }

    #[rstest]
    #[case("r.io/rancher/pause:3.1", "k3s-pause-3-1-")]
    #[case("r.io/a/up:V1_2--x", "k3s-up-v1-2-x-")]
    #[case(
        "r.io/rancher/klipper-helm:v0.6.6-build20211022-and-more",
        "k3s-klipper-helm-v0-6-6-build20211022-and-mo-"
    )]
    fn a_name_reads_like_its_image(#[case] target: &str, #[case] begins: &str) {
        let name = name("k3s", &target.parse().unwrap());
        let digest = name.strip_prefix(begins).unwrap_or_else(|| panic!("{name}"));
        assert!(digest.len() == 8 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    }

    proptest! {
        #[test]
        fn a_name_is_an_objects(set in "[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?", path in "[a-z0-9]{1,90}", tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}") {
            let target: Reference = format!("r.io/{path}:{tag}").parse().unwrap();
            let name = name(&set, &target);
            prop_assert!(name.len() <= 253, "{}", name);
            let is_part = |part: &str| {
                let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
                ends(part.chars().next()) && ends(part.chars().next_back())
            };
            // What the set's own name has is not made better.
            let is_name = |name: &str| name.split('.').all(is_part);
            prop_assert!(!is_name(&set) || is_name(&name), "{}", name);
        }
    }

    #[test]
    fn an_image_of_a_registry_is_mirrored_whole() {
        let object = object(&set(&json!({})), &pause(), &Origin::Registry, &[]);
        let spec = serde_json::from_value(object["spec"].clone()).unwrap();
        let sources = Sources::parse(&spec).unwrap();
        assert!(sources.mirrors());
        assert_eq!(sources.target, pause().target);
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "uid");
        assert_eq!(object["metadata"]["namespace"], "team");
        assert_eq!(object["metadata"]["labels"], json!({"multiarch.dev/set": "k3s"}));
    }

    #[test]
    fn platforms_are_chosen_and_the_template_says_the_rest() {
        let template = json!({
            "target": {"secretRef": {"name": "push"}},
            "source": {"secretRef": {"name": "pull"}},
            "interval": "1h",
        });
        let set = set(&json!({"platforms": ["linux/amd64"], "template": template}));
        let object = object(&set, &pause(), &Origin::Registry, &[]);
        let spec = &object["spec"];
        assert_eq!(spec["target"]["secretRef"]["name"], "push");
        assert_eq!(spec["target"]["image"], "registry.local:5000/rancher/pause:3.1");
        assert_eq!(spec["sources"][0]["secretRef"]["name"], "pull");
        assert_eq!(spec["sources"][0]["platforms"], json!(["linux/amd64"]));
        assert_eq!(spec["interval"], "1h");
        assert!(spec.get("source").is_none());
    }

    #[test]
    fn an_image_of_archives_has_a_source_for_each() {
        let archives = json!([
            {"path": "k3s/arm64.tar.zst", "platform": "linux/arm64"},
            {"path": "k3s-arm64.tar.zst", "platform": "linux/arm/v7", "platformPolicy": "Trust"},
            {"path": "all.tar"},
        ]);
        let set = set(&json!({"archives": archives, "platforms": ["linux/s390x"]}));
        let held = [Held::Image, Held::Image, Held::Index(vec!["linux/s390x".into()])];
        let object = object(&set, &pause(), &taken(&set, held), &[]);
        let image = "docker.io/rancher/pause:3.1";
        let expected = json!([
            {"name": "k3s-arm64-tar-zst", "archive": {"path": "k3s/arm64.tar.zst", "image": image}, "platforms": ["linux/arm64"]},
            {"name": "k3s-arm64-tar-zst-2", "archive": {"path": "k3s-arm64.tar.zst", "image": image}, "platforms": ["linux/arm/v7"], "platformPolicy": "Trust"},
            {"name": "all-tar", "archive": {"path": "all.tar", "image": image}, "platforms": ["linux/s390x"]},
        ]);
        assert_eq!(object["spec"]["sources"], expected);
        assert!("linux/arm/v7".parse::<Platform>().is_ok());
    }

    /// What is taken of each archive of `set`.
    fn taken<const N: usize>(set: &MultiArchImageSet, held: [Held; N]) -> Origin<'_> {
        let each = set.spec.archives.iter().zip(held);
        let each = each.map(|(archive, held)| Taken { archive, name: pause().name, held });
        Origin::Archives(each.collect())
    }

    #[test]
    fn a_digest_goes_along() {
        let archives = json!([{"path": "a.tar"}]);
        let set = set(&json!({"archives": archives}));
        let digest = Digest::of(b"index");
        let mut image = pause();
        image.source = image.source.pinned_to(&digest);
        let object = object(&set, &image, &taken(&set, [Held::Index(Vec::new())]), &[]);
        let expected = format!("docker.io/rancher/pause:3.1@{digest}");
        assert_eq!(object["spec"]["sources"][0]["archive"]["image"], expected);
        let spec = serde_json::from_value(object["spec"].clone()).unwrap();
        assert!(Sources::parse(&spec).unwrap().mirrors());
    }

    /// An archive that lacks the image has no source that could be waited for.
    #[test]
    fn the_platforms_are_waited_for_whatever_archives_have() {
        let archives = json!([{"path": "amd64.tar", "platform": "linux/amd64"}]);
        let template = json!({"requiredPlatforms": ["linux/s390x", "linux/arm64"]});
        let spec = json!({
            "archives": archives, "platforms": ["linux/amd64", "linux/arm64"], "template": template,
        });
        let set = set(&spec);
        let of = |origin: &Origin<'_>| {
            let object = object(&set, &pause(), origin, &[]);
            object["spec"]["requiredPlatforms"].clone()
        };
        let all = json!(["linux/s390x", "linux/arm64", "linux/amd64"]);
        assert_eq!(of(&taken(&set, [Held::Image])), all);
        // A source in a registry waits for them by itself.
        assert_eq!(of(&Origin::Registry), template["requiredPlatforms"]);
    }

    /// The API server refuses a credential for a file.
    #[test]
    fn nobody_logs_in_to_an_archive() {
        let archives = json!([{"path": "a.tar"}]);
        let template = json!({"source": {"secretRef": {"name": "pull"}}});
        let set = set(&json!({"archives": archives, "template": template}));
        let source =
            |origin: &Origin<'_>| object(&set, &pause(), origin, &[])["spec"]["sources"][0].clone();
        assert_eq!(source(&taken(&set, [Held::Image])).get("secretRef"), None);
        assert_eq!(source(&Origin::Registry)["secretRef"]["name"], "pull");
    }

    #[test]
    fn each_source_has_a_name_of_its_own() {
        let mut names = HashSet::new();
        let paths = ["a.tar", "a-tar", "a-tar-2", "a/tar", "é", "è"];
        let called = paths.map(|path| source_name(path, &mut names));
        assert_eq!(called, ["a-tar", "a-tar-2", "a-tar-2-2", "a-tar-3", "archive", "archive-2"]);
    }

    #[test]
    fn a_tag_that_the_line_has_is_no_additional_one() {
        let template = |tags: &[&str]| json!({"template": {"target": {"additionalTags": tags}}});
        let of = |tags: &[&str]| {
            let object = object(&set(&template(tags)), &pause(), &Origin::Registry, &[]);
            object["spec"]["target"]["additionalTags"].clone()
        };
        assert_eq!(of(&["mirrored", "3.1"]), json!(["mirrored"]));
        assert_eq!(of(&["3.1"]), json!([]));
    }

    #[test]
    fn what_others_fill_in_is_no_difference() {
        let template = json!({"interval": "90m", "imagePullSecrets": [{"name": "pull"}]});
        let applied =
            object(&set(&json!({"template": template})), &pause(), &Origin::Registry, &[]);
        let mut live: MultiArchImage = serde_json::from_value(applied.clone()).unwrap();
        assert!(is_as_applied(&applied, &live), "also where it is spelt in another way");
        live.spec.suspend = true;
        live.metadata.labels.get_or_insert_default().insert("a".into(), "b".into());
        assert!(is_as_applied(&applied, &live));
        let changes: [fn(&mut MultiArchImage); 5] = [
            |live| live.spec.interval = std::time::Duration::from_mins(10).into(),
            |live| live.spec.sources[0].image = "docker.io/rancher/pause:3.2".into(),
            |live| live.spec.image_pull_secrets.clear(),
            |live| live.metadata.labels.get_or_insert_default().clear(),
            |live| live.metadata.annotations.get_or_insert_default().clear(),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut other = live.clone();
            change(&mut other);
            assert!(!is_as_applied(&applied, &other), "{at}");
        }
    }

    /// Else what is taken out of the template would stay in the objects for ever.
    #[test]
    fn what_is_said_no_more_is_a_difference() {
        let before = json!({"platforms": ["linux/amd64"], "template": {"interval": "90m"}});
        let applied = |spec: &Value| object(&set(spec), &pause(), &Origin::Registry, &[]);
        let live = serde_json::from_value(applied(&before)).unwrap();
        assert!(is_as_applied(&applied(&before), &live));
        for less in
            [json!({"platforms": ["linux/amd64"]}), json!({"template": {"interval": "90m"}})]
        {
            assert!(!is_as_applied(&applied(&less), &live), "{less}");
        }
    }

    #[test]
    fn an_object_of_the_name_is_the_sets_or_leaves_or_is_somebodys() {
        let set = set(&json!({}));
        let owned = |kind: &str, name: &str, uid: &str| {
            ObjectMeta {
            owner_references: Some(
                serde_json::from_value(json!([
                    {"apiVersion": "a/v1", "kind": kind, "name": name, "uid": uid, "controller": true},
                ]))
                .unwrap(),
            ),
            ..ObjectMeta::default()
        }
        };
        let its = owned("MultiArchImageSet", "k3s", "uid");
        // A user's own, who wants it to go with the set.
        let mut beside = its.clone();
        beside.owner_references.as_mut().unwrap()[0].controller = None;
        assert!(is_owned(&its, &set) && !is_owned(&beside, &set));
        let now = jiff::Timestamp::UNIX_EPOCH;
        let deleted = ObjectMeta {
            deletion_timestamp: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now)),
            ..its.clone()
        };
        for (meta, expected) in [
            (its, Whose::Its),
            (beside, Whose::Others),
            (deleted, Whose::Leaving),
            (owned("MultiArchImageSet", "k3s", "of before"), Whose::Leaving),
            (owned("MultiArchImageSet", "other", "another"), Whose::Others),
            (owned("Application", "k3s", "another"), Whose::Others),
            (ObjectMeta::default(), Whose::Others),
        ] {
            assert_eq!(whose(&meta, &set), expected, "{meta:?}");
        }
    }

    #[test]
    fn a_template_that_says_nothing_is_nothing() {
        assert!(Template::default().is_empty());
        let set = set(&json!({}));
        assert!(serde_json::to_value(&set.spec).unwrap().get("template").is_none());
    }
}
