//! pure: the events of the watches of all MultiArchImages → the facts of each.

use std::collections::HashMap;

use kube::runtime::watcher::Event;

use super::{facts::Facts, value::Object};
use crate::controller::Watched;

/// What is known of the objects of all shards.
#[derive(Debug)]
pub struct Seen(Vec<Scope>);

/// What one watch has told.
#[derive(Debug, Default)]
struct Scope {
    known: HashMap<Object, Facts>,
    /// Of the list that comes in.
    fresh: HashMap<Object, Facts>,
    listed: bool,
}

impl Seen {
    /// Nothing yet, of so many watches.
    #[must_use]
    pub fn of(watches: usize) -> Self {
        Self(std::iter::repeat_with(Scope::default).take(watches).collect())
    }

    /// Whether all was listed; before, a part would be taken for the whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.iter().all(|scope| scope.listed)
    }

    /// The facts of each object.
    pub fn facts(&self) -> impl Iterator<Item = &Facts> {
        self.0.iter().flat_map(|scope| scope.known.values())
    }

    /// Takes an event of one watch; whether anything that the maps need is another now.
    pub fn take(&mut self, at: usize, event: &Event<Watched>) -> bool {
        let scope = &mut self.0[at];
        match event {
            Event::Init => {
                scope.fresh.clear();
                false
            }
            Event::InitApply(object) => {
                let facts = of(object);
                scope.fresh.insert(facts.object.clone(), facts);
                false
            }
            Event::InitDone => {
                let fresh = std::mem::take(&mut scope.fresh);
                let is_new = !scope.listed || fresh != scope.known;
                scope.known = fresh;
                scope.listed = true;
                is_new
            }
            Event::Apply(object) => {
                let facts = of(object);
                let is_new = scope.known.get(&facts.object) != Some(&facts);
                scope.known.insert(facts.object.clone(), facts);
                is_new
            }
            Event::Delete(object) => scope.known.remove(&of(object).object).is_some(),
        }
    }

    /// The list that one watch was at is none.
    pub fn broke_off(&mut self, at: usize) {
        self.0[at].fresh.clear();
    }
}

fn of(object: &Watched) -> Facts {
    match &object.0 {
        Ok(object) => Facts::of(object),
        Err(invalid) => Facts::unknown(&invalid.metadata),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageSpec};

    use super::*;

    fn object(name: &str, tag: &str) -> Watched {
        let mut spec = MultiArchImageSpec::default();
        spec.target.image = format!("r.example/app:{tag}");
        let mut object = MultiArchImage::new(name, spec);
        object.metadata.namespace = Some("a".into());
        DeserializeGuard(Ok(object))
    }

    fn list(seen: &mut Seen, at: usize, objects: &[&str]) -> bool {
        seen.take(at, &Event::Init);
        for name in objects {
            assert!(!seen.take(at, &Event::InitApply(object(name, "1"))));
        }
        seen.take(at, &Event::InitDone)
    }

    fn names(seen: &Seen) -> Vec<&str> {
        let mut names: Vec<_> = seen.facts().map(|of| of.object.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_part_is_not_the_whole() {
        let mut seen = Seen::of(2);
        assert!(list(&mut seen, 0, &["x"]) && !seen.is_whole());
        assert!(list(&mut seen, 1, &[]) && seen.is_whole());
    }

    #[test]
    fn only_what_the_maps_need_is_news() {
        let mut seen = Seen::of(1);
        list(&mut seen, 0, &["x", "y"]);
        assert!(!list(&mut seen, 0, &["y", "x"]), "the same once more");
        let mut other = object("x", "1");
        if let Ok(object) = &mut other.0 {
            object.spec.suspend = true;
            object.metadata.resource_version = Some("7".into());
        }
        assert!(!seen.take(0, &Event::Apply(other)));
        assert!(seen.take(0, &Event::Apply(object("x", "2"))));
        assert!(seen.take(0, &Event::Delete(object("y", "1"))));
        assert!(!seen.take(0, &Event::Delete(object("y", "1"))));
        assert_eq!(names(&seen), ["x"]);
    }

    #[test]
    fn what_a_later_list_lacks_is_gone() {
        let mut seen = Seen::of(2);
        list(&mut seen, 0, &["x", "y"]);
        list(&mut seen, 1, &["z"]);
        assert!(list(&mut seen, 0, &["y"]));
        assert_eq!(names(&seen), ["y", "z"]);
        // One that breaks off says nothing.
        seen.take(0, &Event::Init);
        seen.take(0, &Event::InitApply(object("w", "1")));
        seen.broke_off(0);
        assert_eq!(names(&seen), ["y", "z"]);
        assert!(!list(&mut seen, 0, &["y"]));
    }
}
