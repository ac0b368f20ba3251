//! What the writer knows when, and what it writes next.

use super::*;
use crate::coverage::{
    Object, Value,
    entries::Why,
    facts::Claim,
    key::Key,
    maps::{LABEL, TO},
};

const NOW: i64 = 1_000_000_000;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn facts(name: &str, reference: &str) -> Facts {
    let reference: crate::oci::Reference = reference.parse().unwrap();
    let object = Object { namespace: "a".into(), name: name.into() };
    let mut value = Value::awaited(object.clone());
    value.digest = Some(crate::oci::Digest::of(name.as_bytes()));
    value.published = true;
    let key = Key::of_tag(reference.repository(), reference.tag().unwrap());
    let claims = Some(vec![Claim { key, value, guessed: false }]);
    Facts { object, uid: name.into(), created: 1, claims }
}

/// What an API server makes of a write.
fn store(plan: &Plan, version: u64) -> ConfigMap {
    let change = plan.next().unwrap();
    let mut map = change.map.unwrap().over(plan.stored(change.name), "system");
    map.metadata.resource_version = Some(version.to_string());
    map
}

/// A plan of which everything is written, and its map.
fn settled(facts: &[Facts]) -> (Plan, ConfigMap) {
    let mut plan = Plan::default();
    plan.listed(Vec::new(), true, at(1));
    plan.work_out(facts, NOW, at(1));
    let map = store(&plan, 5);
    plan.wrote(map.clone());
    assert!(!plan.has_work() && plan.next().is_none());
    (plan, map)
}

#[test]
fn waits_since_its_first_news() {
    let mut plan = Plan::default();
    plan.listed(Vec::new(), true, at(1));
    plan.news(at(2));
    assert_eq!(plan.shown().since, Some(at(1)));
    plan.work_out(&[facts("x", "r.example/app:1")], NOW, at(3));
    plan.news(at(4));
    plan.work_out(&[facts("y", "r.example/app:1")], NOW, at(5));
    let shown = Shown { since: Some(at(1)), entries: 1, maps: 1, left_out: 0 };
    assert_eq!(plan.shown(), shown);
    let map = store(&plan, 5);
    plan.wrote(map);
    assert_eq!(plan.shown(), Shown { since: None, ..shown });
}

#[test]
fn its_own_write_comes_back_as_no_news() {
    let (mut plan, map) = settled(&[facts("x", "r.example/app:1")]);
    plan.saw(map.clone(), at(2));
    let mut older = map;
    older.metadata.resource_version = Some("4".into());
    older.data = None;
    plan.saw(older.clone(), at(2));
    plan.lost(&older, at(2));
    assert!(!plan.has_work());
}

/// Versions go back, and what is stored is what counts.
#[test]
fn a_restore_of_etcd_is_seen() {
    let old = [facts("x", "r.example/app:1")];
    let new = [facts("x", "r.example/app:2")];
    let (_, mut restored) = settled(&old);
    restored.metadata.resource_version = Some("10".into());
    let after = |tell: fn(&mut Plan, ConfigMap)| {
        let (mut plan, mut map) = settled(&new);
        map.metadata.resource_version = Some("1000".into());
        plan.wrote(map.clone());
        tell(&mut plan, restored.clone());
        plan.work_out(&new, NOW, at(2));
        let put_back = store(&plan, 11);
        let over = plan
            .next()
            .unwrap()
            .map
            .unwrap()
            .over(plan.stored(&map.metadata.name.unwrap()), "system");
        assert_eq!(
            over.metadata.resource_version.as_deref(),
            Some("10"),
            "or it is refused for ever"
        );
        let data = put_back.data.unwrap();
        assert!(data.contains_key("r.example_sapp_c2"), "{data:?}");
    };
    after(|plan, map| plan.listed(vec![map], false, at(2)));
    after(|plan, map| plan.read(map, at(2)));
}

#[test]
fn what_a_person_does_is_undone() {
    let all = [facts("x", "r.example/app:1")];
    let (mut plan, map) = settled(&all);
    let mut edited = map.clone();
    edited.metadata.resource_version = Some("6".into());
    let data = edited.data.as_mut().unwrap();
    let (_, value) = data.pop_first().unwrap();
    data.insert("r.example_sapp_cevil".into(), value);
    plan.saw(edited, at(2));
    plan.work_out(&all, NOW, at(2));
    let put_back = store(&plan, 7);
    assert_eq!(put_back.data, map.data, "and nothing of it is remembered");
    plan.wrote(put_back.clone());
    // Deleted.
    let mut deleted = put_back;
    deleted.metadata.resource_version = Some("8".into());
    plan.lost(&deleted, at(3));
    plan.work_out(&all, NOW, at(3));
    assert_eq!(store(&plan, 9).data, map.data);
    assert!(plan.stored(map.metadata.name.as_ref().unwrap()).is_none());
}

#[test]
fn what_another_writer_does_is_remembered() {
    let (mut plan, _) = settled(&[facts("x", "r.example/app:1")]);
    let (other, _) = settled(&[facts("x", "r.example/app:2")]);
    let mut theirs = other.stored.values().next().unwrap().clone();
    theirs.metadata.resource_version = Some("6".into());
    plan.saw(theirs, at(2));
    plan.work_out(&[facts("x", "r.example/app:3")], NOW, at(2));
    let data = store(&plan, 7).data.unwrap();
    let keys: Vec<_> = data.keys().map(String::as_str).collect();
    assert_eq!(keys, ["r.example_sapp_c1", "r.example_sapp_c2", "r.example_sapp_c3"]);
}

#[test]
fn a_writer_that_begins_knows_what_the_maps_say() {
    let (_, map) = settled(&[facts("x", "r.example/app:1")]);
    let mut plan = Plan::default();
    // Somebody has edited it meanwhile, which is no reason to forget the rest.
    let mut edited = map.clone();
    edited.data.as_mut().unwrap().insert("junk".into(), "junk".into());
    let mut stray = map.clone();
    stray.metadata.name = Some("multiarch-coverage-copy".into());
    plan.listed(vec![edited, stray], true, at(1));
    plan.work_out(&[facts("x", "r.example/app:2")], NOW, at(1));
    let first = plan.next().unwrap();
    assert_eq!(first.map.unwrap().data.len(), 2);
    assert!(
        first
            .map
            .unwrap()
            .data
            .values()
            .any(|value| value.ends_with(&format!("|{}", NOW + entries::KEPT)))
    );
    assert_eq!(plan.expires(), Some(NOW + entries::KEPT));
    let first = store(&plan, 9);
    plan.wrote(first);
    let stray = plan.next().unwrap();
    assert_eq!((stray.name, stray.map), ("multiarch-coverage-copy", None));
    plan.gone("multiarch-coverage-copy", at(2));
    assert!(plan.next().is_none());
}

/// A map that a list lacks is written anew, and one whose keys people have mixed up is no dead end.
#[test]
fn there_is_always_a_next_write() {
    let all = [facts("x", "r.example/app:1"), facts("y", "r.example/app:2")];
    let (mut plan, map) = settled(&all);
    plan.listed(Vec::new(), false, at(2));
    plan.work_out(&all, NOW, at(2));
    assert_eq!(plan.next().unwrap().map.unwrap().data.len(), 2);
    // Two maps that each have what the other is to have.
    plan.begins.insert("r.example_sapp_c2".into());
    plan.maps = maps(&plan.begins, &plan.entries);
    let mut mixed: Vec<_> = plan.maps.iter().map(|map| map.over(None, "system")).collect();
    let first = mixed[0].data.take();
    mixed[0].data = std::mem::replace(&mut mixed[1].data, first);
    for (version, map) in mixed.iter_mut().enumerate() {
        map.metadata.annotations.as_mut().unwrap().remove(TO);
        map.metadata.labels.as_mut().unwrap().remove(LABEL);
        map.metadata.resource_version = Some((20 + version).to_string());
        plan.stored.insert(map.metadata.name.clone().unwrap(), map.clone());
    }
    let waiting = changes(&plan.maps, &plan.stored);
    assert!(waiting.iter().all(|change| change.waits_for.len() == 1), "{waiting:?}");
    assert!(plan.next().is_some());
    assert_eq!(map.data.unwrap().len(), 2);
}

#[test]
fn what_is_left_out_is_told_once() {
    let mut plan = Plan::default();
    plan.listed(Vec::new(), true, at(1));
    let long = facts("x", &format!("r.example/{}:{}", "a_".repeat(60) + "a", "t".repeat(100)));
    for round in 0..2 {
        plan.news(at(round));
        plan.work_out([&long], NOW, at(round));
        let told = plan.untold();
        assert_eq!(
            told.iter().map(|it| it.why).collect::<Vec<_>>(),
            [Why::Key][..1 - usize::try_from(round).unwrap()]
        );
        assert_eq!(plan.shown().left_out, 1);
    }
    plan.news(at(3));
    plan.work_out([], NOW, at(3));
    assert_eq!((plan.untold().len(), plan.shown().left_out), (0, 0));
    plan.news(at(4));
    plan.work_out([&long], NOW, at(4));
    assert_eq!(plan.untold().len(), 1, "once more where it has come back");
}
