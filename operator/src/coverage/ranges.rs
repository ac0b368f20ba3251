//! pure: which map has which keys.

use std::collections::BTreeSet;

use super::entries::{Entries, weight};

/// How much a map has at most, in bytes as it is stored; its own names and labels are within the rest of 256 KiB.
pub const LARGEST: usize = 254 * 1024;
/// How much the parts have that one that is too large is split into, about.
const PART: usize = 192 * 1024;
/// Neighbours that have no more than this together become one: far from where that is split again.
const SMALL: usize = 160 * 1024;

/// Where maps begin. Each goes on to where the next one begins, and the first one, `""`, is always there, so that together they have
/// every key, and none twice.
pub type Begins = BTreeSet<String>;

/// What stands between two keys of `Begins`.
#[derive(Clone, Copy)]
struct Part<'a> {
    from: &'a str,
    weight: usize,
}

/// Where maps begin that hold `entries`, after they have begun at `current`: as they did, unless one is too large, or neighbours are small.
#[must_use]
pub fn begins(current: &Begins, entries: &Entries) -> Begins {
    let groups = groups(entries);
    let mut parts = Vec::new();
    let mut rest = groups.as_slice();
    let mut froms = current.iter().map(String::as_str).filter(|from| !from.is_empty()).peekable();
    let mut from = "";
    loop {
        let to = froms.next();
        let end = to.map_or(rest.len(), |to| rest.partition_point(|group| group.from < to));
        let (own, behind) = rest.split_at(end);
        split(from, own, &mut parts);
        rest = behind;
        match to {
            Some(to) => from = to,
            None => break,
        }
    }
    merged(&parts).map(ToOwned::to_owned).collect()
}

/// All that is said of one reference, which no map parts, and its weight.
fn groups(entries: &Entries) -> Vec<Part<'_>> {
    let mut groups: Vec<Part<'_>> = Vec::new();
    for (key, value) in entries {
        let weight = weight(key.length(), value.to_string().len());
        match groups.last_mut().filter(|last| last.from == key.base()) {
            Some(last) => last.weight += weight,
            None => groups.push(Part { from: key.base(), weight }),
        }
    }
    groups
}

/// The part from `from` on, with these groups, or several where that is too large.
fn split<'a>(from: &'a str, groups: &[Part<'a>], parts: &mut Vec<Part<'a>>) {
    let whole: usize = groups.iter().map(|group| group.weight).sum();
    let mut part = Part { from, weight: 0 };
    let goal = if whole > LARGEST { whole / whole.div_ceil(PART) } else { LARGEST };
    for group in groups {
        if part.weight > 0 && (part.weight >= goal || part.weight + group.weight > LARGEST) {
            parts.push(part);
            part = Part { from: group.from, weight: 0 };
        }
        part.weight += group.weight;
    }
    parts.push(part);
}

fn merged<'a>(parts: &[Part<'a>]) -> impl Iterator<Item = &'a str> {
    let mut merged: Vec<Part<'a>> = Vec::new();
    for part in parts {
        match merged.last_mut().filter(|last| last.weight + part.weight <= SMALL) {
            Some(last) => last.weight += part.weight,
            None => merged.push(*part),
        }
    }
    merged.into_iter().map(|part| part.from)
}

#[cfg(test)]
mod tests;
