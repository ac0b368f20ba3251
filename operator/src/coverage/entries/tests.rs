//! What is said of images, of whom, and for how long.

use super::*;
use crate::{
    coverage::value::FORMER,
    oci::{Digest, Repository},
};

fn repository() -> Repository {
    "r.example/app:1".parse::<crate::oci::Reference>().unwrap().repository().clone()
}

fn digest(of: u8) -> Digest {
    Digest::of(&[of])
}

fn tag(tag: &str) -> Key {
    Key::of_tag(&repository(), tag)
}

/// The facts of an object of `namespace` that is as old as `created`.
fn facts(namespace: &str, name: &str, created: i64) -> Facts {
    let object = Object { namespace: namespace.into(), name: name.into() };
    let uid = format!("{namespace}/{name}");
    Facts { object, uid, created, claims: Some(Vec::new()) }
}

/// `facts` with what it serves: `1=7` is the tag 1 with the digest of 7, `1` a tag that is to come.
fn with(mut facts: Facts, everywhere: bool, tags: &str) -> Facts {
    let scoped = |key: Key| if everywhere { key } else { key.within(&facts.object.namespace) };
    let mut claims = Vec::new();
    for word in tags.split(' ').filter(|word| !word.is_empty()) {
        let (name, of) = word.split_once('=').unwrap_or((word, ""));
        let mut value = Value::awaited(facts.object.clone());
        if !of.is_empty() {
            value.digest = Some(digest(of.parse().unwrap()));
            value.published = true;
            let key = scoped(Key::of_digest(&repository(), value.digest.as_ref().unwrap()));
            claims.push(Claim { key, value: value.clone(), guessed: false });
        }
        claims.push(Claim { key: scoped(tag(name)), value, guessed: false });
    }
    facts.claims = Some(claims);
    facts
}

const NOW: i64 = 1_000_000_000;
const DAY: i64 = 24 * 60 * 60;

fn step(previous: &Entries, facts: &[Facts], now: i64) -> Entries {
    let next = super::next(previous, facts, now);
    assert_eq!(next.left_out, BTreeSet::new());
    let again = super::next(&next.entries, facts, now);
    assert_eq!(again.entries, next.entries, "said once more it is the same");
    next.entries
}

fn former(entries: &Entries) -> Vec<(String, i64)> {
    let former = entries.iter().filter_map(|(key, value)| Some((key.reference(), value.until?)));
    former.map(|(reference, until)| (reference.replace("r.example/app", ""), until)).collect()
}

#[test]
fn a_tag_that_is_left_is_kept_for_thirty_days() {
    let app = || facts("team-a", "app", 1);
    let one = step(&Entries::new(), &[with(app(), true, "1=7")], NOW);
    let two = step(&one, &[with(app(), true, "2=8")], NOW + 5);
    let until = NOW + 5 + KEPT;
    let of_digest = format!("@{}", digest(7));
    assert_eq!(former(&two), [(of_digest, until), (":1".into(), until)]);
    assert_eq!(two[&tag("1")].digest, Some(digest(7)));
    assert!(two[&tag("1")].published, "it is admitted as before");
    let last = step(&two, &[with(app(), true, "2=8")], until - 1);
    assert_eq!(last, two);
    assert_eq!(former(&step(&last, &[with(app(), true, "2=8")], until)), []);
    assert_eq!(first_to_go(&two), Some(until));
}

#[test]
fn a_digest_that_is_left_is_remembered_under_its_tag() {
    let app = |of: u8| [with(facts("team-a", "app", 1), true, &format!("1={of}"))];
    let mut entries = Entries::new();
    for of in 0..8 {
        entries = step(&entries, &app(of), NOW + i64::from(of));
    }
    assert_eq!(entries[&tag("1")].former, [6, 5, 4, 3, 2].map(digest));
    assert_eq!(entries[&tag("1")].former.len(), FORMER);
    assert_eq!(former(&entries).len(), MOST);
    entries = step(&entries, &app(4), NOW + 9);
    assert_eq!(entries[&tag("1")].former, [7, 6, 5, 3, 2].map(digest), "a roll back");
    assert_eq!(entries[&Key::of_digest(&repository(), &digest(4))].until, None);
}

#[test]
fn a_roll_back_of_the_spec_refuses_nothing() {
    let app = || facts("team-a", "app", 1);
    let one = step(&Entries::new(), &[with(app(), true, "1=7")], NOW);
    let two = step(&one, &[with(app(), true, "2=8")], NOW);
    let back = step(&two, &[with(app(), true, "2=8 1")], NOW + 1);
    assert_eq!(back[&tag("1")], two[&tag("1")], "it is served until it is published anew");
    let late = step(&back, &[with(app(), true, "2=8 1")], NOW + KEPT);
    assert!(!late[&tag("1")].published, "but not for ever");
}

#[test]
fn an_object_that_is_deleted_loses_all() {
    let (app, other) = (facts("team-a", "app", 1), with(facts("team-a", "other", 2), true, "x=1"));
    let one = step(&Entries::new(), &[with(app.clone(), true, "1=7"), other.clone()], NOW);
    let two = step(&one, &[with(app, true, "2=8"), other.clone()], NOW);
    assert_eq!(two.len(), 6);
    let gone = step(&two, std::slice::from_ref(&other), NOW);
    assert_eq!(gone, step(&Entries::new(), &[other], NOW));
}

#[test]
fn of_tags_that_are_left_at_once_the_short_ones_stay() {
    let tags = "1=7 1-amd64=1 1-arm64=2 1-s390x=3 1-riscv64=4 1-ppc64le=5 latest=7";
    let one = step(&Entries::new(), &[with(facts("a", "app", 1), true, tags)], NOW);
    let two = step(&one, &[with(facts("a", "app", 1), true, "2=8")], NOW);
    let tags: Vec<_> =
        former(&two).into_iter().map(|(tag, _)| tag).filter(|tag| tag.starts_with(':')).collect();
    assert_eq!(tags, [":1", ":1-amd64", ":1-arm64", ":1-s390x", ":latest"]);
}

/// As in `reconcile::claims`.
#[test]
fn of_two_that_have_pushed_the_older_keeps_the_tag() {
    let old = with(facts("team-b", "z", 1), true, "1=7");
    let young = with(facts("team-a", "a", 2), true, "1=8");
    let entries = step(&Entries::new(), &[young.clone(), old.clone()], NOW);
    assert_eq!(entries[&tag("1")].object, old.object);
    // What is served beats what is only named.
    let waits = with(facts("team-a", "waits", 0), true, "1");
    let entries = step(&entries, &[waits.clone(), young.clone()], NOW);
    assert_eq!(entries[&tag("1")].object, young.object);
    assert_eq!(entries[&tag("1")].former, [digest(7)], "of the tag, whoever served it");
    assert!(!step(&Entries::new(), &[waits], NOW)[&tag("1")].published);
}

#[test]
fn who_has_not_pushed_says_nothing_to_others() {
    let owner = with(facts("team-a", "app", 2), true, "1=7");
    let squatter = with(facts("team-b", "app", 1), false, "1");
    let reader = with(facts("team-c", "app", 1), false, "1=9");
    let entries = step(&Entries::new(), &[owner.clone(), squatter, reader], NOW);
    assert_eq!(entries[&tag("1")].object, owner.object);
    let within = |namespace| &entries[&tag("1").within(namespace)];
    assert!(!within("team-b").published && within("team-c").published);
}

#[test]
fn who_pushes_at_last_leaves_nothing_behind() {
    let app = || facts("team-a", "app", 1);
    let found = step(&Entries::new(), &[with(app(), false, "1=6")], NOW);
    let found = step(&found, &[with(app(), false, "1=7")], NOW);
    assert_eq!(found[&tag("1").within("team-a")].former, [digest(6)]);
    let pushed = step(&found, &[with(app(), true, "1=8")], NOW);
    assert_eq!(pushed[&tag("1")].former, [7, 6].map(digest));
    assert!(!pushed.contains_key(&tag("1").within("team-a")));
}

/// It moves to another repository, where it has not pushed yet.
#[test]
fn what_was_proven_stays_for_its_time() {
    let app = || facts("team-a", "app", 1);
    let pushed = step(&Entries::new(), &[with(app(), true, "1=7")], NOW);
    let later = step(&pushed, &[with(app(), false, "1=7")], NOW);
    assert_eq!(later[&tag("1")].until, Some(NOW + KEPT));
    assert!(later[&tag("1").within("team-a")].until.is_none());
}

#[test]
fn of_an_object_that_is_not_understood_all_stays() {
    let one = step(&Entries::new(), &[with(facts("team-a", "app", 1), true, "1=7 2")], NOW);
    let unknown = Facts { claims: None, ..facts("team-a", "app", 1) };
    assert_eq!(step(&one, std::slice::from_ref(&unknown), NOW + 40 * DAY), one);
    assert_eq!(step(&Entries::new(), &[unknown], NOW), Entries::new());
}

#[test]
fn what_cannot_be_told_any_more_stands_as_it_was() {
    let app = || with(facts("team-a", "app", 1), true, "1=7 1-amd64=3");
    let before = step(&Entries::new(), &[app()], NOW);
    let mut guessed = with(facts("team-a", "app", 1), true, "1=7 1-amd64=7");
    for claim in guessed.claims.iter_mut().flatten() {
        claim.guessed = claim.key == tag("1-amd64");
    }
    let after = step(&before, &[guessed.clone()], NOW);
    assert_eq!(after[&tag("1-amd64")], before[&tag("1-amd64")]);
    // The map was lost, or it was another object's: the index's digest would have Pods refused that are pinned to the image's.
    let lost = step(&Entries::new(), &[guessed.clone()], NOW);
    assert!(!lost.contains_key(&tag("1-amd64")) && lost.contains_key(&tag("1")));
    let other = with(facts("team-b", "other", 2), true, "1-amd64=5");
    let theirs = step(&Entries::new(), std::slice::from_ref(&other), NOW);
    assert_eq!(step(&theirs, &[guessed, other.clone()], NOW)[&tag("1-amd64")].object, other.object);
}

#[test]
fn another_writer_is_believed_in_what_it_remembers() {
    let app = |of: u8| [with(facts("team-a", "app", 1), true, &format!("1={of}"))];
    let mut ours = step(&Entries::new(), &app(1), NOW);
    let theirs = step(
        &step(&ours, &app(2), NOW + 1),
        &[with(facts("team-a", "app", 1), true, "2=3")],
        NOW + 2,
    );
    absorb(&mut ours, &theirs);
    let next = step(&ours, &[with(facts("team-a", "app", 1), true, "2=4")], NOW + 3);
    assert_eq!(next[&tag("2")].former, [digest(3)]);
    assert_eq!(next[&tag("1")].former, [digest(2)], "{:?}", next[&tag("1")]);
    let digests: Vec<_> = [1, 2, 3].map(|of| Key::of_digest(&repository(), &digest(of))).into();
    assert!(digests.iter().all(|key| next.contains_key(key)));
}

#[test]
fn a_key_that_is_too_long_is_left_out_and_told() {
    let mut long = facts("team-a", "app", 1);
    let key = tag(&"t".repeat(128)).within("team-a");
    let reference: crate::oci::Reference =
        format!("r.example/{}x:1", "a_".repeat(60)).parse().unwrap();
    let key_of = |tag: &str| Key::of_tag(reference.repository(), tag);
    let value = Value::awaited(long.object.clone());
    let claim = |key: Key| Claim { key, value: value.clone(), guessed: false };
    long.claims = Some(vec![claim(key), claim(key_of(&"t".repeat(64))), claim(key_of("1"))]);
    let next = next(&Entries::new(), [&long], NOW);
    assert_eq!(next.entries.len(), 2);
    let told: Vec<_> = next.left_out.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("253") && told[0].contains("a_x:ttt"), "{told:?}");
    assert!(told[0].contains("with requireManaged they refuse its Pods"), "{told:?}");
}

#[test]
fn one_image_that_a_thousand_namespaces_name_has_its_room() {
    let many = (0..3000).map(|n| {
        let namespace = format!("{n:0>60}");
        let mut of = with(facts(&namespace, "app", 1), false, "1=7");
        for claim in of.claims.iter_mut().flatten() {
            claim.key = tag("1").within(&namespace);
        }
        of
    });
    let mut many: Vec<_> = many.collect();
    many.push(with(facts("team-a", "app", 2), true, "1=7"));
    let next = next(&Entries::new(), &many, NOW);
    assert!(next.entries.contains_key(&tag("1")), "who has pushed is heard first");
    let of_tag = next.entries.iter().filter(|(key, _)| key.base() == tag("1").base());
    let sum: usize = of_tag.map(|(key, value)| weight(key.length(), value.to_string().len())).sum();
    assert!(sum <= CROWD && sum > CROWD / 2, "{sum}");
    assert_eq!(next.entries.len() - 1 + next.left_out.len(), 3001);
    let told = next.left_out.first().unwrap().to_string();
    assert!(told.contains("r.example/app:1 in this namespace, and with requireManaged"), "{told}");
}
