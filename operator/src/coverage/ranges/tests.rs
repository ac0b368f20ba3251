use proptest::prelude::*;

use super::*;
use crate::coverage::{Key, Object, Value};

/// Entries of these tags, each of some `weight` with its `within` many namespaces.
fn entries(tags: impl IntoIterator<Item = (u32, usize, usize)>) -> Entries {
    let reference: crate::oci::Reference = "r.example/app:1".parse().unwrap();
    let mut entries = Entries::new();
    for (tag, fill, within) in tags {
        let key = Key::of_tag(reference.repository(), &format!("{tag:0>6}"));
        let object = Object { namespace: "n".into(), name: "x".repeat(fill.clamp(1, 60_000)) };
        let value = Value::awaited(object);
        for n in 0..within {
            entries.insert(key.within(&format!("n{n}")), value.clone());
        }
        entries.insert(key, value);
    }
    entries
}

fn weights(begins: &Begins, entries: &Entries) -> Vec<usize> {
    let maps = crate::coverage::maps::maps(begins, entries);
    let of =
        |map: &crate::coverage::Map| map.data.iter().map(|(k, v)| weight(k.len(), v.len())).sum();
    maps.iter().map(of).collect()
}

fn first() -> Begins {
    [String::new()].into()
}

#[test]
fn nothing_is_one_map() {
    assert_eq!(begins(&Begins::new(), &Entries::new()), first());
    assert_eq!(begins(&first(), &entries([(1, 10, 3)])), first());
}

#[test]
fn many_are_few_maps() {
    let many = entries((0..5000).map(|tag| (tag, 250, 0)));
    let begins = begins(&first(), &many);
    let weights = weights(&begins, &many);
    assert!(weights.len() <= 1 + weights.iter().sum::<usize>() / PART, "{weights:?}");
    assert!(weights.iter().all(|weight| *weight <= LARGEST), "{weights:?}");
}

#[test]
fn one_that_grows_is_split_alone_and_comes_together_late() {
    let many = |most: u32| entries((0..most).map(|tag| (tag * 2, 1000, 0)));
    let mut current = first();
    let mut seen = Vec::new();
    for most in (0..1000).chain((0..1000).rev()) {
        let next = begins(&current, &many(most));
        if next != current {
            seen.push((most, next.len()));
            // What is not split or joined begins as it did.
            assert!(next.is_subset(&current) || next.is_superset(&current));
        }
        current = next;
    }
    assert!(seen.len() >= 8 && seen.len() < 40, "{seen:?}");
    assert_eq!(current, first());
}

#[test]
fn what_is_said_of_one_image_is_never_parted() {
    let crowd = entries([(1, 10, 0), (2, 1000, 400), (3, 10, 0)]);
    let begins = begins(&first(), &crowd);
    let weights = weights(&begins, &crowd);
    assert!(weights.iter().any(|weight| *weight > LARGEST), "{weights:?}");
    assert_eq!(begins.len(), 3, "{begins:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes and goes: all is covered, and no map is too large, or small beside a small one.
    #[test]
    fn ranges_are_few_and_small(
        rounds in proptest::collection::vec(
            proptest::collection::vec((0_u32..300, 1_usize..30_000, 0_usize..4), 0..40), 1..6),
    ) {
        let mut current = Begins::new();
        for round in rounds {
            let entries = entries(round);
            let next = begins(&current, &entries);
            let weights = weights(&next, &entries);
            prop_assert!(next.contains(""));
            prop_assert_eq!(&begins(&next, &entries), &next, "said once more it is the same");
            for weight in &weights {
                prop_assert!(*weight <= LARGEST, "{:?}", weights);
            }
            for pair in weights.windows(2) {
                prop_assert!(pair[0] + pair[1] > SMALL, "{:?}", weights);
            }
            current = next;
        }
    }
}
