//! pure: what the maps said, and what the objects say now → what the maps are to say.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use super::{
    facts::{Claim, Facts},
    key::{Key, LONGEST},
    value::{Object, Value},
};

/// What the maps say, of all images.
pub type Entries = BTreeMap<Key, Value>;

/// For how long an entry is kept after its object has let go of the tag or digest: 30 days, in seconds.
pub const KEPT: i64 = 30 * 24 * 60 * 60;
/// How many tags, and how many digests, are kept of one object.
pub const MOST: usize = 5;
/// How many bytes all that is said of one reference may take. No map parts it, and the API server takes a map of 1 MiB at most.
const CROWD: usize = 896 * 1024;

/// What the maps are to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// It.
    pub entries: Entries,
    /// What does not fit in.
    pub left_out: BTreeSet<LeftOut>,
}

/// What an object has to say, and no map can hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeftOut {
    /// The object.
    pub object: Object,
    /// Its uid.
    pub uid: String,
    /// The image.
    pub reference: String,
    /// Why.
    pub why: Why,
}

/// Why something is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// The API server takes no such key.
    Key,
    /// Too many namespaces name the image.
    Crowd,
}

/// What the maps are to say at `now`, Unix time in seconds, after they have said `previous`, of the objects with these `facts`: all that there are.
#[must_use]
pub fn next<'a>(previous: &Entries, facts: impl IntoIterator<Item = &'a Facts>, now: i64) -> Next {
    let mut claims = Claims::default();
    for of in facts {
        claims.add(of, previous, now);
    }
    let mut entries = Entries::new();
    for (key, (of, claim)) in &claims.served {
        entries.insert((*key).clone(), with_memory(previous, of, claim, now));
    }
    let mut former = Former::default();
    let others = previous.iter().filter(|(key, _)| !claims.served.contains_key(key));
    for (key, value) in others {
        let Some(of) = claims.objects.get(&value.object) else { continue };
        if of.claims.is_none() {
            if is_kept(value, now) {
                entries.insert(key.clone(), value.clone());
            }
        } else if let Some(until) = claims.keeps(key, value, now) {
            former.add(key, value, until);
        }
    }
    entries.extend(former.kept());
    for (key, (_, claim)) in &claims.wanted {
        // What was served before serves until then: a rollback is not refused while it is published.
        entries.entry((*key).clone()).or_insert_with(|| claim.value.clone());
    }
    let mut left_out = claims.left_out;
    uncrowd(&mut entries, |value, key| {
        let uid = claims.objects.get(&value.object).map(|of| of.uid.clone());
        left_out.insert(LeftOut {
            object: value.object,
            uid: uid.unwrap_or_default(),
            reference: key.reference(),
            why: Why::Crowd,
        });
    });
    Next { entries, left_out }
}

/// `into` with what `other` remembers beside it: what another writer has written meanwhile.
pub fn absorb(into: &mut Entries, other: &Entries) {
    for (key, theirs) in other {
        let Some(ours) = into.get_mut(key) else {
            into.insert(key.clone(), theirs.clone());
            continue;
        };
        if !key.is_of_digest() {
            ours.remember(theirs.digest.iter().chain(&theirs.former));
        }
        ours.until = ours.until.and_then(|until| Some(until.max(theirs.until?)));
    }
}

/// When the first entry is to go that is kept for a time.
#[must_use]
pub fn first_to_go(entries: &Entries) -> Option<i64> {
    entries.values().filter_map(|value| value.until).min()
}

/// Who says what.
#[derive(Default)]
struct Claims<'a> {
    objects: HashMap<&'a Object, &'a Facts>,
    served: BTreeMap<&'a Key, (&'a Facts, &'a Claim)>,
    wanted: BTreeMap<&'a Key, (&'a Facts, &'a Claim)>,
    left_out: BTreeSet<LeftOut>,
}

impl<'a> Claims<'a> {
    fn add(&mut self, of: &'a Facts, previous: &Entries, now: i64) {
        self.objects.insert(&of.object, of);
        for claim in of.claims.iter().flatten() {
            if !claim.key.is_legal() {
                self.left_out.insert(LeftOut {
                    object: of.object.clone(),
                    uid: of.uid.clone(),
                    reference: claim.key.reference(),
                    why: Why::Key,
                });
                continue;
            }
            // An image that cannot be told is rather nobody's than a wrong one.
            if claim.guessed && remembered(previous, of, claim, now).is_none() {
                continue;
            }
            let is_served = claim.value.digest.is_some();
            let best = if is_served { &mut self.served } else { &mut self.wanted };
            let best = best.entry(&claim.key).or_insert((of, claim));
            if of.seniority() < best.0.seniority() {
                *best = (of, claim);
            }
        }
    }

    /// Until when an entry is kept that nobody serves any more; `None` where it goes.
    fn keeps(&self, key: &Key, value: &Value, now: i64) -> Option<i64> {
        // What was never there is nothing to go back to.
        value.digest.as_ref()?;
        if key.namespace().is_some() {
            // Its object has pushed since, and says the same to all.
            let served = self.served.get(&key.everywhere());
            if served.is_some_and(|(of, _)| of.object == value.object) {
                return None;
            }
        }
        let until = value.until.unwrap_or(now.saturating_add(KEPT));
        (until > now).then_some(until)
    }
}

fn is_kept(value: &Value, now: i64) -> bool {
    value.until.is_none_or(|until| until > now)
}

/// What was said of an image before this claim.
fn before<'a>(previous: &'a Entries, of: &Facts, claim: &Claim, now: i64) -> Option<&'a Value> {
    let key = &claim.key;
    let kept = |key: &Key| previous.get(key).filter(|value| is_kept(value, now));
    let within = || {
        let before = kept(&key.within(&of.object.namespace));
        before.filter(|before| key.namespace().is_none() && before.object == of.object)
    };
    kept(key).or_else(within)
}

/// What the object itself has said of what it served there.
fn remembered<'a>(previous: &'a Entries, of: &Facts, claim: &Claim, now: i64) -> Option<&'a Value> {
    let before = before(previous, of, claim, now)?;
    (before.object == of.object && before.digest.is_some()).then_some(before)
}

/// What is said of an image that is served, with what was served before under its tag.
fn with_memory(previous: &Entries, of: &Facts, claim: &Claim, now: i64) -> Value {
    let (key, mut value) = (&claim.key, claim.value.clone());
    if claim.guessed
        && let Some(before) = remembered(previous, of, claim, now)
    {
        value.digest.clone_from(&before.digest);
        value.platforms = before.platforms.clone();
        value.missing = before.missing.clone();
        value.nodes_missing = before.nodes_missing.clone();
        value.complete = before.complete;
    }
    if !key.is_of_digest()
        && let Some(before) = before(previous, of, claim, now)
    {
        value.remember(before.digest.iter().chain(&before.former));
    }
    value
}

/// What objects have let go of.
#[derive(Default)]
struct Former<'a>(HashMap<(&'a Object, bool), Vec<Left<'a>>>);

/// What was let go of, and until when it is kept.
type Left<'a> = (&'a Key, &'a Value, i64);

impl<'a> Former<'a> {
    fn add(&mut self, key: &'a Key, value: &'a Value, until: i64) {
        self.0.entry((&value.object, key.is_of_digest())).or_default().push((key, value, until));
    }

    /// Of each object the newest tags and digests. Of those that it let go of at once, tags that are short: those of single images
    /// are made of the target's.
    fn kept(self) -> impl Iterator<Item = (Key, Value)> {
        self.0.into_values().flat_map(|mut left| {
            left.sort_by_key(|(key, _, until)| (Reverse(*until), key.length(), *key));
            left.truncate(MOST);
            let kept = left.into_iter();
            kept.map(|(key, value, until)| {
                (key.clone(), Value { until: Some(until), ..value.clone() })
            })
        })
    }
}

/// How many bytes an entry takes in a map as it is stored: its key stands in `managedFields`, too.
pub(super) fn weight(key: usize, value: usize) -> usize {
    2 * key + value + 24
}

/// Takes out what is too much of one reference, from the end, and tells it.
fn uncrowd(entries: &mut Entries, mut told: impl FnMut(Value, Key)) {
    /// Fewer never are too much, whatever they say.
    const FEW: usize = 64;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for key in entries.keys() {
        *counts.entry(key.base()).or_default() += 1;
    }
    let many = counts.into_iter().filter(|(_, count)| *count > FEW);
    let many: Vec<String> = many.map(|(base, _)| base.to_owned()).collect();
    for base in many {
        let mut room = CROWD;
        let of_base = entries.iter().filter(|(key, _)| key.base() == base);
        let over: Vec<Key> = of_base
            .filter_map(|(key, value)| {
                let left = room.checked_sub(weight(key.length(), value.to_string().len()));
                room = left.unwrap_or_default();
                left.is_none().then(|| key.clone())
            })
            .collect();
        for key in over {
            if let Some(value) = entries.remove(&key) {
                told(value, key);
            }
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reference = &self.reference;
        match self.why {
            Why::Key => write!(
                f,
                "admission policies do not see {reference}, and with requireManaged they refuse its Pods: as the key of a ConfigMap it would have more than {LONGEST} characters; shorten its repository or its tag"
            ),
            Why::Crowd => write!(
                f,
                "admission policies do not see {reference} in this namespace, and with requireManaged they refuse its Pods where no MultiArchImage has pushed it: more namespaces name that image than a ConfigMap has room for; let fewer MultiArchImages name it"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
