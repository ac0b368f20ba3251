use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn digest(of: u8) -> Digest {
    Digest::of(&[of])
}

fn object() -> Object {
    Object { namespace: "team-a".into(), name: "app".into() }
}

fn platforms(texts: &[&str]) -> Words {
    let parsed: Vec<Platform> = texts.iter().map(|text| text.parse().unwrap()).collect();
    Words::of_nodes(&parsed)
}

#[test]
fn has_its_fields_in_this_order() {
    let awaited = Value::awaited(object());
    assert_eq!(awaited.to_string(), "1||no|no|||team-a/app|||");
    let mut value = Value {
        digest: Some(digest(1)),
        published: true,
        complete: false,
        platforms: platforms(&[
            "linux/arm/v7",
            "linux/amd64",
            "windows(10.0.20348)/amd64",
            "linux/arm64/v8",
        ]),
        missing: Words::shown(["linux/s390x", "linux/ppc64le"]),
        nodes_missing: Words::shown(["windows(10.0.17763)/amd64"]),
        until: Some(1_800_000_000),
        ..awaited
    };
    value.remember([&digest(2), &digest(3)]);
    let (one, two, three) = (digest(1), digest(2), digest(3));
    assert_eq!(
        value.to_string(),
        format!(
            "1|{one}|yes|no|linux/amd64,linux/arm,linux/arm64,windows/amd64|linux/ppc64le,linux/s390x|team-a/app|{two},{three}|windows(10.0.17763)/amd64|1800000000"
        )
    );
    assert_eq!(value.to_string().parse(), Ok(value));
}

#[test]
fn remembers_five_digests_and_none_twice() {
    let mut value = Value { digest: Some(digest(0)), ..Value::awaited(object()) };
    let digests: Vec<_> = [1, 0, 2, 1, 3, 4, 5, 6].map(digest).into();
    value.remember(&digests);
    assert_eq!(value.former, [1, 2, 3, 4, 5].map(digest));
}

/// What a later version adds is no reason to forget what this one knows.
#[test]
fn passes_over_fields_that_it_does_not_know() {
    let value = Value::awaited(object());
    assert_eq!(format!("{value}|new|fields").parse(), Ok(value));
}

#[rstest]
#[case("", "version")]
#[case("2||no|no|||a/b|||", "version")]
#[case("1|sha256:1|no|no|||a/b|||", "digest")]
#[case("1||maybe|no|||a/b|||", "published")]
#[case("1||no||||a/b|||", "complete")]
#[case("1||no|no|a,,b||a/b|||", "platforms")]
#[case("1||no|no||\u{e9}|a/b|||", "missing")]
#[case("1||no|no|||ab|||", "object")]
#[case("1||no|no|||A/b|||", "object")]
#[case("1||no|no|||a/b|x||", "former digests")]
#[case("1||no|no|||a/b||\n|", "nodes missing")]
#[case("1||no|no|||a/b||", "until")]
#[case("1||no|no|||a/b|||soon", "until")]
fn refuses(#[case] text: &str, #[case] field: &'static str) {
    assert_eq!(text.parse::<Value>(), Err(ValueError { field }));
}

/// A registry says what an image is for, and a map has room for many images.
#[test]
fn what_a_registry_says_has_its_room() {
    let long = "a".repeat(LABEL + 1);
    assert_eq!(platforms(&[&format!("linux/{long}"), "linux/amd64"]).to_string(), "linux/amd64");
    let many: Vec<String> = (0..300).map(|n| format!("linux/{n:0>40}")).collect();
    let shown = Words::shown(many.iter().map(String::as_str));
    let text = shown.to_string();
    assert!(text.len() < LIST + 20 && text.ends_with(",~257 more"), "{text}");
    assert_eq!(Words::parse(&text), Some(shown));
    let parsed: Vec<Platform> = many.iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(Words::of_nodes(&parsed).iter().count(), 43);
}

#[test]
fn what_would_part_fields_or_words_is_no_word() {
    let shown = Words::shown(["linux/amd64", "a|b", "a,b", "", "a\nb", "\u{e9}"]);
    assert_eq!(shown.to_string(), "linux/amd64");
}

fn values() -> impl Strategy<Value = Value> {
    let digests = |most| proptest::collection::vec(any::<u8>().prop_map(digest), 0..=most);
    let words = || {
        let words = proptest::collection::vec("[ -~]{0,8}|linux/[a-z0-9]{3}", 0..6);
        words.prop_map(|words| Words::shown(words.iter().map(String::as_str)))
    };
    (
        proptest::option::of(any::<u8>().prop_map(digest)),
        any::<(bool, bool)>(),
        (words(), words(), words()),
        digests(FORMER),
        proptest::option::of(any::<i64>()),
    )
        .prop_map(
            |(
                digest,
                (published, complete),
                (platforms, missing, nodes_missing),
                former,
                until,
            )| {
                Value {
                    digest,
                    published,
                    complete,
                    platforms,
                    missing,
                    object: object(),
                    former,
                    nodes_missing,
                    until,
                }
            },
        )
}

proptest! {
    #[test]
    fn reads_what_it_writes(value in values()) {
        let text = value.to_string();
        // As a policy reads it.
        let fields: Vec<_> = text.split('|').collect();
        prop_assert_eq!(fields.len(), 10);
        prop_assert_eq!(fields[1], value.digest.as_ref().map(ToString::to_string).unwrap_or_default());
        prop_assert_eq!(fields[2] == "yes", value.published);
        prop_assert_eq!(fields[6], "team-a/app");
        let former: Vec<_> = fields[7].split(',').filter(|it| !it.is_empty()).collect();
        prop_assert_eq!(former, value.former.iter().map(Digest::as_str).collect::<Vec<_>>());
        prop_assert_eq!(text.parse(), Ok(value));
    }

    #[test]
    fn any_text_is_a_value_or_none(text in "\\PC{0,30}|1(\\|[a-z0-9/,]{0,3}){9}") {
        if let Ok(value) = text.parse::<Value>() {
            prop_assert_eq!(value.to_string().parse(), Ok(value));
        }
    }
}
