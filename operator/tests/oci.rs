//! The nouns against the field's own code (`e2e/fixtures` wrote what it answers), and their laws.
//!
//! Where the operator means something else than that code, the case is listed here with the reason:
//! a case that is not listed has to agree, and one that is listed has to differ.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use multiarch_operator::oci::{
    Descriptor, Digest, Index, Manifest, Platform, RawManifest, Reference, media_type,
};
use proptest::{collection, prelude::*, sample::select};
use serde::{Deserialize, de::DeserializeOwned};

/// What containerd parses and the operator refuses.
const REFUSED_PLATFORMS: [&str; 9] = [
    // `FormatAll` drops them, with the part before them.
    "linux/.",
    "linux/..",
    "linux/amd64/..",
    // What they spell is formatted as it is, which does not parse again.
    "linux(%E2%9C%93)/amd64",
    "linux(%20)/amd64",
    "linux(a%20b+c%20d)/amd64",
    "linux(%00)/amd64",
    "linux(+%20)/amd64",
    "linux(%2A)/amd64",
];

/// What distribution parses and the operator refuses.
const REFUSED_REFERENCES: [&str; 3] = [
    // Neither a host nor a path on Docker Hub: distribution gives a repository without a host.
    "exa_mple.com/app",
    // No such port.
    "example.com:99999/app",
    // No registry computes sha384, and the image spec does not register it.
    concat!(
        "example.com/a@sha384:0123456789abcdef0123456789abcdef",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    ),
];

/// What the operator writes in another spelling than distribution, so that one repository has one:
/// hosts in lower case, and Docker Hub's API by the name of the Hub.
const RESPELLED_REFERENCES: [(&str, &str); 6] = [
    ("registry-1.docker.io/library/alpine", "docker.io/library/alpine"),
    ("DOCKER.IO/alpine", "docker.io/library/alpine"),
    ("LOCALHOST/app", "localhost/app"),
    ("Example.com/app", "example.com/app"),
    ("EXAMPLE.COM:5000/app", "example.com:5000/app"),
    ("[2001:DB8::1]/app", "[2001:db8::1]/app"),
];

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let path = fixtures().join(name);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(name: &str) -> String {
    let path = fixtures().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[derive(Deserialize)]
struct Platforms {
    parse: Vec<Parsed>,
    compare: Vec<Compared>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parsed {
    input: String,
    ok: bool,
    #[serde(default)]
    host_dependent: bool,
    #[serde(flatten)]
    platform: Option<Fields>,
    normalized: Option<Fields>,
    #[serde(default)]
    format_all: String,
    #[serde(default)]
    normalized_format_all: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    os: String,
    architecture: String,
    variant: String,
    os_version: String,
    os_features: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compared {
    a: String,
    b: String,
    equal_normalized: bool,
}

fn fields(platform: Platform) -> Fields {
    Fields {
        os: platform.os,
        architecture: platform.architecture,
        variant: platform.variant.unwrap_or_default(),
        os_version: platform.os_version.unwrap_or_default(),
        os_features: platform.os_features,
    }
}

#[test]
fn platforms_are_containerds() {
    let table: Platforms = fixture("platforms.json");
    assert!(table.parse.len() > 200);
    let mut listed = 0;
    for row in table.parse {
        let input = &row.input;
        let ours = input.parse::<Platform>();
        if REFUSED_PLATFORMS.contains(&input.as_str()) {
            assert!(row.ok, "{input:?} is refused by containerd too");
            listed += 1;
        } else if row.ok && !row.host_dependent {
            let ours = ours.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(ours.to_string(), row.format_all, "{input:?} formatted");
            let normalized = ours.normalized();
            assert_eq!(normalized.to_string(), row.normalized_format_all, "{input:?} normalised");
            assert_eq!(Some(fields(ours)), row.platform, "{input:?}");
            assert_eq!(Some(fields(normalized)), row.normalized, "{input:?} normalised");
            continue;
        }
        assert!(ours.is_err(), "{input:?} is refused, not {ours:?}");
    }
    assert_eq!(listed, REFUSED_PLATFORMS.len());
}

#[test]
fn platforms_are_the_same_where_containerds_are() {
    let table: Platforms = fixture("platforms.json");
    assert!(table.compare.len() > 300);
    for Compared { a, b, equal_normalized } in table.compare {
        let (left, right): (Platform, Platform) = (a.parse().unwrap(), b.parse().unwrap());
        assert_eq!(left.same_as(&right), equal_normalized, "{a} and {b}");
    }
}

#[derive(Deserialize)]
struct References {
    references: Vec<ReferenceRow>,
}

#[derive(Deserialize)]
struct ReferenceRow {
    input: String,
    normalized: Named,
}

#[derive(Deserialize)]
struct Named {
    ok: bool,
    tag: String,
    digest: String,
    string: String,
}

#[test]
fn references_are_distributions() {
    let table: References = fixture("references.json");
    assert!(table.references.len() > 170);
    let mut listed = 0;
    for ReferenceRow { input, normalized } in table.references {
        let ours = input.parse::<Reference>();
        if !normalized.ok || REFUSED_REFERENCES.contains(&input.as_str()) {
            listed += usize::from(normalized.ok);
            assert!(ours.is_err(), "{input:?} is refused, not {ours:?}");
            continue;
        }
        let respelled = RESPELLED_REFERENCES.iter().find(|(text, _)| *text == input);
        let expected = respelled.map_or(normalized.string.as_str(), |(_, ours)| *ours);
        if respelled.is_some() {
            assert_ne!(normalized.string, expected, "distribution spells {input:?} so too");
            listed += 1;
        }
        if normalized.tag.is_empty() && normalized.digest.is_empty() {
            // distribution leaves it to others to think of `latest`; the operator asks for a tag.
            assert_eq!(ours.unwrap_err().why, "name a tag or a digest", "{input:?}");
            let tagged: Reference = format!("{input}:x").parse().unwrap();
            assert_eq!(tagged.to_string(), format!("{expected}:x"), "{input:?}");
            continue;
        }
        let ours = ours.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(ours.to_string(), expected, "{input:?}");
        assert_eq!(ours.tag().unwrap_or_default(), normalized.tag, "{input:?}");
        let digest = ours.digest().map(Digest::as_str).unwrap_or_default();
        assert_eq!(digest, normalized.digest, "{input:?}");
    }
    assert_eq!(listed, REFUSED_REFERENCES.len() + RESPELLED_REFERENCES.len());
}

#[derive(Deserialize)]
struct Strings {
    strings: Vec<Escaped>,
}

#[derive(Deserialize)]
struct Escaped {
    text: String,
    json: String,
}

#[test]
fn strings_are_escaped_as_go_does() {
    let table: Strings = fixture("strings.json");
    assert!(table.strings.len() > 20);
    for Escaped { text, json } in table.strings {
        let index = Index::new(Vec::new(), BTreeMap::from([("k".to_owned(), text)]));
        let expected = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[],"annotations":{{"k":{json}}}}}"#,
            media_type::OCI_INDEX
        );
        let raw = index.to_raw();
        assert_eq!(std::str::from_utf8(raw.bytes()).unwrap(), expected);
        assert_eq!(raw.parse(), Ok(Manifest::Index(index)));
    }
}

/// The folders of `fixtures/index`, each with an index that regctl made.
fn cases() -> Vec<String> {
    let cases: Vec<_> = fs::read_dir(fixtures().join("index"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| format!("index/{}", entry.file_name().to_string_lossy()))
        .collect();
    assert!(cases.len() >= 9, "{cases:?}");
    cases
}

fn parse_index(raw: &RawManifest) -> Index {
    match raw.parse().unwrap() {
        Manifest::Index(index) => index,
        Manifest::Image(image) => panic!("{image:?} is no index"),
    }
}

#[test]
fn indexes_are_regctls() {
    for case in cases() {
        let theirs = text(&format!("{case}/index.json"));
        let children: Vec<Descriptor> = fixture(&format!("{case}/children.json"));
        let ours = Index {
            schema_version: 2,
            media_type: text(&format!("{case}/media-type")).trim().into(),
            artifact_type: None,
            manifests: children.clone(),
            subject: None,
            annotations: fixture(&format!("{case}/annotations.json")),
        };
        let raw = ours.to_raw();
        assert_eq!(std::str::from_utf8(raw.bytes()).unwrap(), theirs, "{case}");
        assert_eq!(raw.digest().as_str(), text(&format!("{case}/digest")).trim(), "{case}");

        let read = RawManifest::from_response(None, theirs.into()).unwrap();
        assert_eq!(read, raw, "{case}");
        assert_eq!(parse_index(&read), ours, "{case}");

        let mut canonical = Index::new(children, ours.annotations.clone());
        canonical.media_type = ours.media_type.clone();
        assert!(canonical.satisfies(&ours) && ours.satisfies(&canonical), "{case}");
    }
}

fn option() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_.%+()/-]{1,12}"
}

fn platform() -> impl Strategy<Value = Platform> {
    let word = "[A-Za-z0-9_-]{1,8}";
    let os = prop_oneof![select(vec!["linux", "windows", "macos"]).prop_map_into(), word];
    let architectures = ["amd64", "x86_64", "arm", "armhf", "armel", "arm64", "AArch64", "i386"];
    let architecture = prop_oneof![select(architectures.to_vec()).prop_map_into(), word];
    let variants = ["", "v1", "v2", "5", "6", "7", "8", "v8.0", "v9.0", "V7"];
    let variant = prop_oneof![select(variants.to_vec()).prop_map_into(), word];
    let features = collection::vec(prop_oneof![Just(String::new()), option()], 0..4);
    (os, architecture, proptest::option::of(variant), proptest::option::of(option()), features)
        .prop_map(|(os, architecture, variant, os_version, os_features)| Platform {
            architecture,
            os,
            os_version,
            os_features,
            variant,
        })
}

fn descriptor() -> impl Strategy<Value = Descriptor> {
    let annotations = collection::btree_map("[a-z<é]{1,3}", ".{0,4}", 0..3);
    (platform(), any::<bool>(), 0_u8..6, annotations).prop_map(|(platform, attests, of, more)| {
        let raw = RawManifest::new(media_type::OCI_MANIFEST, vec![of].into());
        let mut child = Descriptor { platform: Some(platform), ..raw.descriptor() };
        child.annotations = more;
        if attests {
            let subject = Digest::of(&[of.saturating_sub(3)]).to_string();
            child.annotations.insert("vnd.docker.reference.digest".into(), subject);
            let kind = "attestation-manifest".to_owned();
            child.annotations.insert("vnd.docker.reference.type".into(), kind);
        }
        child
    })
}

/// Documents that look like manifests, so that more than the first byte is read.
fn document() -> impl Strategy<Value = String> {
    let keys = [
        "schemaVersion",
        "mediaType",
        "manifests",
        "layers",
        "config",
        "fsLayers",
        "Layers",
        "annotations",
        "subject",
        "digest",
        "size",
        "platform",
        "os",
        "artifactType",
        "urls",
    ];
    let values = [
        "2",
        "1",
        "-1",
        "1e999",
        "null",
        "true",
        "\"\"",
        "\"\\ud800\"",
        "[]",
        "{}",
        "\"application/vnd.oci.image.index.v1+json\"",
        "\"application/vnd.oci.image.manifest.v1+json\"",
        "\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
    ];
    let leaf = select(values.to_vec()).prop_map(str::to_owned);
    leaf.prop_recursive(4, 64, 8, move |value| {
        let pair = (select(keys.to_vec()), value.clone()).prop_map(|(k, v)| format!("\"{k}\":{v}"));
        prop_oneof![
            4 => collection::vec(pair, 0..8).prop_map(|pairs| format!("{{{}}}", pairs.join(","))),
            1 => collection::vec(value, 0..3).prop_map(|values| format!("[{}]", values.join(","))),
        ]
    })
}

fn content_type() -> impl Strategy<Value = Option<&'static str>> {
    select(vec![
        None,
        Some("application/octet-stream"),
        Some(media_type::OCI_INDEX),
        Some(media_type::OCI_MANIFEST),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_normalised_platform_is_what_its_text_parses_to(platform in platform()) {
        let normalized = platform.normalized();
        prop_assert_eq!(normalized.to_string().parse::<Platform>(), Ok(normalized));
    }

    #[test]
    fn normalising_twice_is_normalising(platform in platform()) {
        let normalized = platform.normalized();
        prop_assert_eq!(normalized.normalized(), normalized.clone());
        prop_assert!(platform.same_as(&normalized) && platform.covers(&normalized));
        prop_assert!(normalized.agrees_with(&platform.to_string()).unwrap());
    }

    #[test]
    fn a_reference_is_what_its_text_parses_to(
        text in "(\\[::1\\]|[A-Za-z]{1,3}\\.[a-z]{1,3}|localhost)?(:0?(443|80))?/?[a-z]{1,3}(/[a-z]{1,3})?(:[a-zA-Z.-]{1,3})?"
    ) {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse::<Reference>(), Ok(reference));
        }
    }

    #[test]
    fn index_bytes_do_not_depend_on_the_order_given(
        (given, shuffled) in collection::vec(descriptor(), 0..8)
            .prop_flat_map(|given| (Just(given.clone()), Just(given).prop_shuffle()))
    ) {
        let one = Index::new(given, BTreeMap::new());
        let other = Index::new(shuffled, BTreeMap::new());
        prop_assert_eq!(one.to_raw(), other.to_raw());
        prop_assert!(one.satisfies(&other));
        let again = Index::new(one.manifests.clone(), BTreeMap::new());
        prop_assert_eq!(again, one);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        header in content_type(),
        bytes in collection::vec(any::<u8>(), 0..64),
    ) {
        RawManifest::from_response(header, bytes.into()).ok();
    }

    #[test]
    fn any_document_is_read_or_refused(header in content_type(), document in document()) {
        if let Ok(raw) = RawManifest::from_response(header, document.clone().into()) {
            prop_assert_eq!(raw.bytes(), document.as_bytes());
            prop_assert!(raw.parse().is_ok(), "what was read parses");
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in ".{0,40}") {
        text.parse::<Platform>().ok();
        text.parse::<Reference>().ok();
        text.parse::<Digest>().ok();
    }
}
