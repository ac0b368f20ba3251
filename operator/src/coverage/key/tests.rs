//! Keys as they are written, read and told apart.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn key(reference: &str) -> Key {
    Key::of(&reference.parse().unwrap())
}

#[rstest]
#[case("registry.example.com/team/app:1.0", "registry.example.com_steam_sapp_c1.0")]
#[case("debian:12", "docker.io_slibrary_sdebian_c12")]
#[case("R.example.com:443/a__b/c:V_1", "r.example.com_sa____b_sc_cV__1")]
#[case("r.example.com:5000/n:n", "r.example.com_c5000_sn_cn")]
#[case("[2001:DB8::1]:5000/a:1", "_l2001_cdb8_c_c1_r_c5000_sa_c1")]
fn of_tags(#[case] reference: &str, #[case] expected: &str) {
    let key = key(reference);
    assert_eq!(key.to_string(), expected);
    assert!(key.is_legal() && !key.is_of_digest());
    assert_eq!(expected.parse(), Ok(key.clone()));
    let within = key.within("team-a");
    assert_eq!(within.to_string(), format!("{expected}_nteam-a"));
    assert_eq!(within.to_string().parse(), Ok(within.clone()));
    assert_eq!(within.everywhere(), key);
    assert_eq!((within.base(), within.namespace()), (key.base(), Some("team-a")));
}

#[test]
fn of_digests() {
    let key = key(&format!("r.example/app@{SHA256}"));
    assert_eq!(key.to_string(), format!("r.example_sapp_a{}", SHA256.replace(':', "_c")));
    assert!(key.is_legal() && key.is_of_digest());
    assert_eq!(key.reference(), format!("r.example/app@{SHA256}"));
}

#[rstest]
#[case::nothing("", KeyError::Reference)]
#[case::other_pair("r.example_xapp_c1", KeyError::Pair)]
#[case::half_a_pair("r.example_sapp_c1_", KeyError::Pair)]
#[case::no_tag("r.example_sapp", KeyError::Reference)]
#[case::not_canonical("R.example_sapp_c1", KeyError::Reference)]
#[case::not_whole("debian_c12", KeyError::Reference)]
#[case::no_namespace("r.example_sapp_c1_n", KeyError::Namespace)]
#[case::upper_case("r.example_sapp_c1_nTeam", KeyError::Namespace)]
#[case::two_namespaces("r.example_sapp_c1_na_nb", KeyError::Namespace)]
#[case::not_ascii("r.example_sapp_c1_é", KeyError::Pair)]
fn refuses(#[case] text: &str, #[case] why: KeyError) {
    assert_eq!(text.parse::<Key>(), Err(why));
}

#[test]
fn both_tag_and_digest_are_no_key() {
    let both = escaped(&format!("r.example/app:1@{SHA256}"));
    assert_eq!(both.parse::<Key>(), Err(KeyError::Reference));
}

#[test]
fn one_that_is_too_long_is_not_legal() {
    let of_length =
        |tag: usize| key(&format!("r.example/{}:{}", "a/".repeat(50) + "b", "t".repeat(tag)));
    // r.example_s, 50 times a_s, b_c
    let head = 11 + 150 + 3;
    assert_eq!(of_length(1).length(), head + 1);
    assert!(of_length(LONGEST - head).is_legal() && !of_length(LONGEST + 1 - head).is_legal());
    let fits = of_length(LONGEST - head - 3);
    assert!(fits.within("a").is_legal() && !fits.within("ab").is_legal());
}

/// Those of a namespace stand right behind the one that they are of, whatever follows.
#[test]
fn keys_of_one_reference_stand_together() {
    let one = key("r.example/app:1");
    let mut keys = [
        key("r.example/app:1-a"),
        one.within("b"),
        key("r.example/app:10"),
        one.within("a"),
        one.clone(),
    ];
    keys.sort();
    let expected = [one.clone(), one.within("a"), one.within("b")];
    let at = keys.iter().position(|key| *key == one).unwrap();
    assert_eq!(keys[at..at + 3], expected);
}

/// Written apart from the code above, as a reader of the maps might.
fn read(key: &str) -> (String, Option<String>) {
    let mut reference = String::new();
    let bytes = key.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'_', Some(b'n')) => return (reference, Some(key[at + 2..].into())),
            (b'_', Some(pair)) => {
                reference.push(match pair {
                    b'_' => '_',
                    b's' => '/',
                    b'c' => ':',
                    b'a' => '@',
                    b'l' => '[',
                    b'r' => ']',
                    other => panic!("{other}"),
                });
                at += 2;
            }
            (plain, _) => {
                reference.push(char::from(plain));
                at += 1;
            }
        }
    }
    (reference, None)
}

fn references() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        Just("docker.io".to_owned()),
        Just("[::1]:5000".to_owned()),
        "[a-z]{1,3}\\.[a-z]{2}(:[1-9][0-9]{0,3})?",
        "localhost(:5000)?",
    ];
    let path = "[a-z0-9]{1,2}((_|__|-|\\.)[a-z0-9]{1,2}){0,2}(/[ns]_[a-z0-9]){0,2}";
    let tag = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,6}";
    (host, path, prop_oneof![tag.prop_map(|tag| format!(":{tag}")), Just(format!("@{SHA256}"))])
        .prop_map(|(host, path, end)| format!("{host}/{path}{end}"))
}

proptest! {
    #[test]
    fn a_key_tells_the_reference_and_the_namespace(
        reference in references(),
        namespace in proptest::option::of("[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?"),
    ) {
        let reference: Reference = reference.parse().unwrap();
        let mut key = Key::of(&reference);
        if let Some(namespace) = &namespace {
            key = key.within(namespace);
        }
        let text = key.to_string();
        prop_assert!(key.is_legal());
        prop_assert_eq!(read(&text), (reference.to_string(), namespace.clone()));
        prop_assert_eq!(text.parse::<Key>(), Ok(key.clone()));
        prop_assert_eq!((key.reference(), key.length()), (reference.to_string(), text.len()));
    }

    #[test]
    fn any_text_is_told_from_any_other(one in "[_/:@\\[\\]a-z]{0,6}", other in "[_/:@\\[\\]a-z]{0,6}") {
        prop_assert_eq!(escaped(&one) == escaped(&other), one == other);
        prop_assert_eq!(unescaped(&escaped(&one)), Some(one));
    }

    #[test]
    fn any_bytes_are_a_key_or_none(text in "\\PC{0,20}|[_a-z.:n]{0,12}") {
        if let Ok(key) = text.parse::<Key>() {
            prop_assert_eq!(key.to_string(), text);
        }
    }
}
