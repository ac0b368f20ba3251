use rstest::rstest;

use super::*;
use crate::coverage::{Key, Object, Value};

fn sample() -> (Begins, Entries) {
    let reference: crate::oci::Reference = "r.example/app:1".parse().unwrap();
    let key = |tag| Key::of_tag(reference.repository(), tag);
    let value = Value::awaited(Object { namespace: "a".into(), name: "b".into() });
    let keys = [key("1"), key("1").within("a"), key("2")];
    let begins = [String::new(), key("2").base().to_owned()].into();
    (begins, keys.into_iter().map(|key| (key, value.clone())).collect())
}

#[test]
fn together_they_have_all_and_say_so() {
    let (begins, entries) = sample();
    let maps = maps(&begins, &entries);
    let ranges: Vec<_> = maps.iter().map(|map| (map.from.as_str(), map.to.as_str())).collect();
    assert_eq!(ranges, [("", "r.example_sapp_c2"), ("r.example_sapp_c2", "")]);
    let sizes: Vec<_> = maps.iter().map(|map| map.data.len()).collect();
    assert_eq!(sizes, [2, 1]);
    let mut read = Entries::new();
    for map in &maps {
        assert!(map.name.starts_with(NAME) && map.name.len() < 63, "{}", map.name);
        let stored = map.over(None, "system");
        assert!(map.is(&stored) && is_sealed(&stored));
        assert_eq!(begin(&stored), Some(map.from.as_str()));
        read.extend(self::entries(&stored));
    }
    assert_eq!(read, entries);
}

/// What people do to one.
#[rstest]
#[case::a_value(|map: &mut ConfigMap| {
    map.data.as_mut().unwrap().insert("r.example_sapp_c1".into(), "1||yes|yes|||a/b|||".into());
}, false)]
#[case::one_more(|map: &mut ConfigMap| {
    map.data.as_mut().unwrap().insert("x".into(), "y".into());
}, false)]
#[case::one_less(|map: &mut ConfigMap| {
    map.data.as_mut().unwrap().pop_first();
}, false)]
#[case::all(|map: &mut ConfigMap| map.data = None, false)]
#[case::range(|map: &mut ConfigMap| {
    map.metadata.annotations.as_mut().unwrap().insert(TO.into(), "x".into());
}, false)]
#[case::annotations(|map: &mut ConfigMap| map.metadata.annotations = None, false)]
#[case::label(|map: &mut ConfigMap| map.metadata.labels = None, true)]
#[case::bytes(|map: &mut ConfigMap| {
    map.binary_data = Some([("x".to_owned(), k8s_openapi::ByteString(vec![1]))].into());
}, true)]
#[case::for_ever(|map: &mut ConfigMap| map.immutable = Some(true), true)]
fn an_edit_is_seen(#[case] edit: fn(&mut ConfigMap), #[case] sealed: bool) {
    let (begins, entries) = sample();
    let map = &maps(&begins, &entries)[0];
    let mut stored = map.over(None, "system");
    edit(&mut stored);
    assert!(!map.is(&stored));
    assert_eq!(is_sealed(&stored), sealed);
    assert!(map.is(&map.over(Some(&stored), "system")), "and undone");
}

#[test]
fn what_others_add_to_it_stays() {
    let (begins, entries) = sample();
    let map = &maps(&begins, &entries)[0];
    let mut stored = map.over(None, "system");
    stored.metadata.resource_version = Some("7".into());
    stored.metadata.labels.as_mut().unwrap().insert("team".into(), "x".into());
    stored.metadata.annotations.as_mut().unwrap().insert("note".into(), "y".into());
    assert!(map.is(&stored));
    let over = map.over(Some(&stored), "system");
    assert_eq!(over.metadata, stored.metadata);
}

#[test]
fn a_copy_is_not_where_a_map_begins() {
    let (begins, entries) = sample();
    let mut stored = maps(&begins, &entries)[1].over(None, "system");
    stored.metadata.name = Some("multiarch-coverage-copy".into());
    assert_eq!(begin(&stored), None);
    assert_eq!(range(&stored), Some(("r.example_sapp_c2", "")));
}
