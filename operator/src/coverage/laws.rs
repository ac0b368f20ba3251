//! What holds of the maps whatever becomes of the objects and of their writers.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageSpec, MultiArchImageStatus};
use proptest::prelude::*;

use super::{
    changes::{Stored, changes},
    entries::{self, KEPT, MOST},
    maps::{self, begin, maps, range},
    ranges::{Begins, begins},
    *,
};
use crate::oci::Digest;

const OBJECTS: usize = 6;
const DAY: i64 = 24 * 60 * 60;

/// What happens.
#[derive(Clone, Debug)]
enum Event {
    /// The spec of an object names this tag; it is made where it is not there.
    Edit {
        object: usize,
        tag: u8,
    },
    /// It has published what its spec names, by a push or as it found it.
    Publish {
        object: usize,
        digest: u8,
        pushed: bool,
    },
    Delete {
        object: usize,
    },
    /// It cannot be read any more, until the next edit.
    Spoil {
        object: usize,
    },
    Pass {
        days: i64,
    },
    /// The writer writes so many maps of those that are due.
    Write {
        most: usize,
    },
    /// Another writer takes over, and knows what the maps say.
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let object = 0..OBJECTS;
    let event = prop_oneof![
        4 => (object.clone(), 0_u8..4).prop_map(|(object, tag)| Event::Edit { object, tag }),
        8 => (object.clone(), 0_u8..12, any::<bool>())
            .prop_map(|(object, digest, pushed)| Event::Publish { object, digest, pushed }),
        1 => object.clone().prop_map(|object| Event::Delete { object }),
        1 => object.prop_map(|object| Event::Spoil { object }),
        2 => (0_i64..20).prop_map(|days| Event::Pass { days }),
        3 => (1_usize..4).prop_map(|most| Event::Write { most }),
        2 => Just(Event::Restart),
    ];
    proptest::collection::vec(event, 1..50)
}

/// Objects 0 and 1 are of one namespace, 2 and 3 of the next; even ones name one repository, odd ones another.
fn made(object: usize, tag: u8) -> MultiArchImage {
    let mut spec = MultiArchImageSpec::default();
    spec.target.image = format!("r.example/app{}:{tag}", object % 2);
    let mut made = MultiArchImage::new(&format!("o{object}"), spec);
    made.metadata.namespace = Some(format!("n{}", object / 2));
    made.metadata.creation_timestamp = Some(Time(Timestamp::from_second(9).unwrap()));
    made
}

#[derive(Default)]
struct World {
    objects: BTreeMap<usize, (MultiArchImage, bool)>,
    now: i64,
    entries: Entries,
    begins: Begins,
    stored: Stored,
    /// Who has ever pushed where.
    pushed: BTreeSet<(String, String)>,
    /// Of each object, when it let go of which tag or digest that it had served.
    left: BTreeMap<(String, String), i64>,
}

impl World {
    fn facts(&self) -> Vec<Facts> {
        let facts = self.objects.values().map(|(object, is_whole)| {
            if *is_whole { Facts::of(object) } else { Facts::unknown(&object.metadata) }
        });
        facts.collect()
    }

    /// What each object serves.
    fn served(&self) -> BTreeSet<(String, String)> {
        let served = |of: &Facts| {
            let claims = of.claims.clone().unwrap_or_default().into_iter();
            let claims = claims.filter(|claim| claim.value.digest.is_some());
            let object = of.object.to_string();
            claims.map(|claim| (object.clone(), claim.key.to_string())).collect::<Vec<_>>()
        };
        self.facts().iter().flat_map(served).collect()
    }

    fn play(&mut self, event: &Event) {
        match *event {
            Event::Edit { object, tag } => {
                let status = self.objects.get(&object).and_then(|(it, _)| it.status.clone());
                let made = MultiArchImage { status, ..made(object, tag) };
                self.objects.insert(object, (made, true));
            }
            Event::Publish { object, digest, pushed } => {
                let Some((object, true)) = self.objects.get_mut(&object) else { return };
                let target = &object.spec.target.image;
                let (repository, tag) = target.rsplit_once(':').unwrap();
                let status = object.status.get_or_insert_with(MultiArchImageStatus::default);
                status.reference = Some(format!("{target}@{}", Digest::of(&[digest])));
                status.tags = vec![tag.into()];
                status.conditions = vec![Condition {
                    type_: "Published".into(),
                    status: "True".into(),
                    last_transition_time: Time(Timestamp::UNIX_EPOCH),
                    message: String::new(),
                    observed_generation: None,
                    reason: "Succeeded".into(),
                }];
                if pushed {
                    status.pushed_to = Some(repository.into());
                    let of = Facts::of(object).object.to_string();
                    self.pushed.insert((of, repository.into()));
                }
            }
            Event::Delete { object } => drop(self.objects.remove(&object)),
            Event::Spoil { object } => {
                if let Some((_, is_whole)) = self.objects.get_mut(&object) {
                    *is_whole = false;
                }
            }
            Event::Pass { days } => self.now += days * DAY,
            Event::Write { .. } | Event::Restart => {}
        }
    }

    /// One turn of the writer.
    fn turn(&mut self) {
        let facts = self.facts();
        self.entries = entries::next(&self.entries, &facts, self.now).entries;
        self.begins = begins(&self.begins, &self.entries);
    }

    /// Writes up to `most` maps, in an order that is allowed.
    fn write(&mut self, most: usize) -> Result<(), TestCaseError> {
        for _ in 0..most {
            let maps = maps(&self.begins, &self.entries);
            let before = self.stored.clone();
            let changes = changes(&maps, &before);
            let Some(change) = changes.iter().find(|change| change.waits_for.is_empty()) else {
                prop_assert!(changes.is_empty(), "they wait for each other: {changes:?}");
                return Ok(());
            };
            match change.map {
                Some(map) => {
                    let over = map.over(before.get(change.name), "system");
                    self.stored.insert(change.name.into(), over);
                }
                None => drop(self.stored.remove(change.name)),
            }
            // What was there and is to be there is there all the time, and so is every range.
            let (had, has) = (keys(&before), keys(&self.stored));
            let to_be = maps.iter().flat_map(|map| map.data.keys());
            for key in to_be.filter(|key| had.contains(key.as_str())) {
                prop_assert!(has.contains(key.as_str()), "{key} is in no map");
            }
            if covers(&before) {
                prop_assert!(covers(&self.stored), "a range is of no map");
            }
        }
        Ok(())
    }

    /// As a writer that begins.
    fn restart(&mut self) {
        self.entries = Entries::new();
        for map in self.stored.values() {
            let read = maps::entries(map);
            entries::absorb(&mut self.entries, &read);
        }
        self.begins = self.stored.values().filter_map(begin).map(ToOwned::to_owned).collect();
    }
}

/// All keys of all maps.
fn keys(stored: &Stored) -> HashSet<&str> {
    let data = stored.values().flat_map(|map| map.data.iter().flatten());
    data.map(|(key, _)| key.as_str()).collect()
}

/// Whether each key has a map that answers for it.
fn covers(stored: &Stored) -> bool {
    let mut ranges: Vec<_> = stored.values().filter_map(range).collect();
    ranges.sort_unstable();
    let mut to = Some("");
    for (from, end) in ranges {
        if to.is_some_and(|to| from <= to) {
            to = if end.is_empty() { None } else { to.max(Some(end)) };
        }
    }
    to.is_none()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_is_lost_and_nothing_is_said_in_anothers_name(events in events()) {
        let mut world = World { now: 1_000_000, ..World::default() };
        for event in &events {
            let before = world.served();
            let was = world.entries.clone();
            world.play(event);
            world.turn();
            let served = world.served();
            let names: BTreeSet<_> = world.facts().iter().map(|of| of.object.to_string()).collect();
            let spoiled: BTreeSet<_> = world.facts().iter()
                .filter(|of| of.claims.is_none()).map(|of| of.object.to_string()).collect();
            for (object, key) in &served {
                // Of an image that is served there is an entry, of one that serves it.
                let parsed: Key = key.parse().unwrap();
                let value = &world.entries[&parsed];
                prop_assert!(value.until.is_none() && value.published, "{key} {value}");
                let by = (value.object.to_string(), key.clone());
                prop_assert!(served.contains(&by), "{key} is of {object}, and not {value}");
                world.left.remove(&(object.clone(), key.clone()));
            }
            for (object, key) in before.difference(&served) {
                let parsed: Key = key.parse().unwrap();
                // It was this object's, and not another one's that served it, too.
                let was_its = was.get(&parsed).is_some_and(|value| value.object.to_string() == *object);
                if names.contains(object) && !spoiled.contains(object) && was_its {
                    world.left.insert((object.clone(), key.clone()), world.now);
                }
            }
            let (now, all) = (world.now, &world.entries);
            world.left.retain(|(object, key), at| {
                let parsed: Key = key.parse().unwrap();
                let everywhere = (object.clone(), parsed.everywhere().to_string());
                let is_said_to_all = parsed.namespace().is_some() && served.contains(&everywhere)
                    && all.get(&parsed.everywhere()).is_some_and(|value| value.object.to_string() == *object);
                names.contains(object) && *at + KEPT > now && !is_said_to_all
                    && !served.iter().any(|(_, other)| other == key)
            });
            for ((object, key), at) in &world.left {
                let parsed: Key = key.parse().unwrap();
                let newer = world.left.iter().filter(|((other, then), when)| {
                    let digest = then.parse::<Key>().unwrap().is_of_digest();
                    other == object && digest == parsed.is_of_digest() && *when >= at
                });
                if newer.count() <= MOST {
                    let value = world.entries.get(&parsed);
                    prop_assert!(value.is_some(), "{key} of {object} is forgotten");
                    prop_assert_eq!(value.and_then(|value| value.until), Some(at + KEPT));
                }
            }
            for (key, value) in &world.entries {
                prop_assert!(names.contains(&value.object.to_string()), "{key} of nobody");
                let (object, reference) = (value.object.to_string(), key.reference());
                let cut = reference.find('@').or(reference.rfind(':')).unwrap();
                let repository = reference[..cut].to_owned();
                match key.namespace() {
                    Some(namespace) => prop_assert_eq!(namespace, &value.object.namespace),
                    None => prop_assert!(
                        world.pushed.contains(&(object, repository)),
                        "{} has never pushed to {}", value, reference
                    ),
                }
            }
            match event {
                Event::Write { most } => world.write(*most)?,
                Event::Restart => {
                    // Whatever was not written is written by the next one; what was is known to it.
                    world.write(usize::MAX)?;
                    let (entries, begins) = (world.entries.clone(), world.begins.clone());
                    world.restart();
                    prop_assert_eq!(&world.entries, &entries);
                    prop_assert_eq!(&world.begins, &begins);
                }
                _ => {}
            }
        }
        world.write(usize::MAX)?;
        let mut seen = BTreeSet::new();
        for map in world.stored.values() {
            for key in map.data.iter().flatten().map(|(key, _)| key) {
                prop_assert!(seen.insert(key.clone()), "{key} is in two maps");
            }
        }
        prop_assert_eq!(seen.len(), world.entries.len());
        prop_assert!(covers(&world.stored));
    }

    /// Also where maps split and come together while writers come and go between any two writes.
    #[test]
    fn a_key_is_never_in_no_map(
        rounds in proptest::collection::vec((0_usize..150, 0_usize..150, 1_usize..9, any::<bool>()), 1..6),
    ) {
        let mut world = World::default();
        let object = Object { namespace: "n".into(), name: "x".repeat(5000) };
        let reference: crate::oci::Reference = "r.example/app:1".parse().unwrap();
        for (first, count, most, restarts) in rounds {
            world.entries = (first..first + count)
                .map(|tag| Key::of_tag(reference.repository(), &format!("{tag:0>5}")))
                .map(|key| (key, Value::awaited(object.clone())))
                .collect();
            world.begins = begins(&world.begins, &world.entries);
            world.write(most)?;
            if restarts {
                let entries = world.entries.clone();
                world.restart();
                world.begins = begins(&world.begins, &entries);
                world.entries = entries;
                world.write(usize::MAX)?;
            }
        }
        world.write(usize::MAX)?;
        prop_assert!(covers(&world.stored));
        prop_assert_eq!(world.stored.len(), world.begins.len());
    }
}
