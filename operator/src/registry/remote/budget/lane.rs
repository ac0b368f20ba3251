//! pure: the requests of one identity to one host: how many at once, how many in a span of time, and whose turn it is.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::registry::Object;

/// What is asked for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// A request that is over with its answer.
    Request,
    /// GET of a manifest, which is what registries count as a pull.
    Pull,
    /// What cleans up after us: it goes also while the registry wants a pause.
    Cleanup,
    /// All that the upload of one blob takes. Its own requests are [`Kind::Within`] it.
    Upload,
    /// A request of an upload that has its place.
    Within,
}

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// At once.
    at_once: usize,
    /// So many within `span`.
    sent: usize,
    span: Duration,
}

/// A place that was asked for, or given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

#[derive(Debug)]
pub(super) struct Lane {
    most: Most,
    serial: u64,
    places: HashMap<Ticket, Place>,
    /// The objects that wait, in the order of their turns.
    turns: VecDeque<Object>,
    /// What each of them waits for, in the order of asking.
    waiting: HashMap<Object, VecDeque<Ticket>>,
    used: HashMap<Object, Used>,
    all: Used,
    /// When the last requests went.
    sent: VecDeque<Instant>,
    /// No pull before this.
    next_pull: Option<Instant>,
}

#[derive(Debug)]
struct Place {
    object: Object,
    kind: Kind,
    given: Option<Instant>,
}

/// Places that are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    requests: usize,
    uploads: usize,
}

/// What keeps requests from going, beside the lane's own limits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Now {
    /// The registry wants a pause, so that nothing goes but what cleans up.
    pub(super) held: bool,
    /// Pulls are to be spared: so far apart.
    pub(super) apart: Option<Duration>,
    /// None of them is left, so that those that wait have no place.
    pub(super) no_pulls: bool,
}

impl Most {
    /// `at_once`, and `a_second`: where that is not a whole number, as many in a longer or a shorter span.
    pub(super) fn new(at_once: usize, a_second: f64) -> Self {
        let whole = a_second.floor().clamp(1.0, 1e6);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to what fits"
        )]
        let sent = whole as usize;
        let span = Duration::try_from_secs_f64(whole / a_second).unwrap_or(Duration::from_hours(1));
        // An upload has one, and its own requests need another.
        Self { at_once: at_once.max(2), sent, span }
    }

    /// Places that are left to objects which have none.
    fn kept(self) -> usize {
        (self.at_once / 4).max(1)
    }

    /// Uploads of objects that have one already.
    fn uploads(self) -> usize {
        (self.at_once / 2).max(1)
    }

    /// Uploads of all objects: what is left is for what is over soon.
    fn first_uploads(self) -> usize {
        (self.at_once * 3 / 4).max(1)
    }
}

impl Used {
    fn all(self) -> usize {
        self.requests + self.uploads
    }

    fn count(&mut self, kind: Kind, by: isize) {
        let count = match kind {
            Kind::Request | Kind::Pull | Kind::Cleanup => &mut self.requests,
            Kind::Upload => &mut self.uploads,
            Kind::Within => return,
        };
        *count = count.saturating_add_signed(by);
    }
}

impl Lane {
    pub(super) fn new(most: Most) -> Self {
        Self {
            most,
            serial: 0,
            places: HashMap::new(),
            turns: VecDeque::new(),
            waiting: HashMap::new(),
            used: HashMap::new(),
            all: Used::default(),
            sent: VecDeque::new(),
            next_pull: None,
        }
    }

    /// Asks for a place on behalf of `object`.
    pub(super) fn ask(&mut self, object: Object, kind: Kind) -> Ticket {
        self.serial += 1;
        let ticket = Ticket(self.serial);
        self.places.insert(ticket, Place { object, kind, given: None });
        let waiting = self.waiting.entry(object).or_default();
        if waiting.is_empty() {
            self.turns.push_back(object);
        }
        waiting.push_back(ticket);
        ticket
    }

    /// Gives the places that there are, object after object, and says whether any was given.
    pub(super) fn turn(&mut self, now: Instant, of: Now) -> bool {
        self.forget(now);
        let (mut passed, mut any) = (0, false);
        while let Some(&object) = self.turns.get(passed) {
            let Some(ticket) = self.first(object, now, of) else {
                passed += 1;
                continue;
            };
            any = true;
            self.give(ticket, now, of);
            self.turns.remove(passed);
            if self.stop_waiting(object, ticket) {
                self.turns.push_back(object);
            }
            // What the others wait for may still be there, and theirs is the next turn.
            passed = 0;
        }
        any
    }

    /// When the place was given.
    pub(super) fn given(&self, ticket: Ticket) -> Option<Instant> {
        self.places.get(&ticket)?.given
    }

    /// Gives the place back, or no longer waits for it. `unused`: nothing was sent.
    pub(super) fn leave(&mut self, ticket: Ticket, unused: bool) {
        let Some(Place { object, kind, given }) = self.places.remove(&ticket) else { return };
        let Some(given) = given else {
            if !self.stop_waiting(object, ticket) {
                self.turns.retain(|other| *other != object);
            }
            return;
        };
        self.all.count(kind, -1);
        if let Some(used) = self.used.get_mut(&object) {
            used.count(kind, -1);
            if *used == Used::default() {
                self.used.remove(&object);
            }
        }
        if unused
            && kind != Kind::Upload
            && let Some(at) = self.sent.iter().rposition(|sent| *sent == given)
        {
            self.sent.remove(at);
        }
    }

    /// When there may be a place although none was given back.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let waits = |kind: fn(Kind) -> bool| {
            self.waiting.values().flatten().any(|ticket| kind(self.places[ticket].kind))
        };
        let full = self.sent.len() >= self.most.sent;
        let oldest = self.sent.front().filter(|_| full && waits(|kind| kind != Kind::Upload));
        let oldest = oldest.map(|sent| *sent + self.most.span);
        let pull = self.next_pull.filter(|_| waits(|kind| kind == Kind::Pull));
        oldest.into_iter().chain(pull).filter(|at| *at > now).min()
    }

    /// Whether nobody has or wants a place.
    pub(super) fn is_free(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether it could be forgotten, and nobody would notice.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.is_free()
            && self.sent.back().is_none_or(|sent| now >= *sent + self.most.span)
            && self.next_pull.is_none_or(|at| now >= at)
    }

    /// The first place that `object` waits for and may have.
    fn first(&self, object: Object, now: Instant, of: Now) -> Option<Ticket> {
        let mut waiting = self.waiting.get(&object)?.iter();
        waiting.find(|ticket| self.may(object, self.places[ticket].kind, now, of)).copied()
    }

    fn may(&self, object: Object, kind: Kind, now: Instant, of: Now) -> bool {
        let Most { at_once, sent, .. } = self.most;
        let own = self.used.get(&object).copied().unwrap_or_default();
        let is_first = match kind {
            Kind::Upload => own.uploads == 0,
            _ => own.requests == 0,
        };
        let room = self.all.all() < if is_first { at_once } else { at_once - self.most.kept() };
        let goes = self.sent.len() < sent && (!of.held || kind == Kind::Cleanup);
        match kind {
            Kind::Request | Kind::Cleanup => room && goes,
            Kind::Pull => {
                let waits = of.apart.is_some() && self.next_pull.is_some_and(|at| now < at);
                room && goes && !waits && !of.no_pulls
            }
            Kind::Upload => {
                let most = self.most;
                let uploads = if is_first { most.first_uploads() } else { most.uploads() };
                room && self.all.uploads < uploads
            }
            Kind::Within => goes,
        }
    }

    fn give(&mut self, ticket: Ticket, now: Instant, of: Now) {
        let Some(place) = self.places.get_mut(&ticket) else { return };
        place.given = Some(now);
        let (object, kind) = (place.object, place.kind);
        self.all.count(kind, 1);
        if kind != Kind::Within {
            self.used.entry(object).or_default().count(kind, 1);
        }
        if kind != Kind::Upload {
            self.sent.push_back(now);
        }
        if kind == Kind::Pull {
            self.next_pull = of.apart.map(|apart| now + apart);
        }
    }

    /// `object` waits for `ticket` no more; whether it waits for another one.
    fn stop_waiting(&mut self, object: Object, ticket: Ticket) -> bool {
        let Some(waiting) = self.waiting.get_mut(&object) else { return false };
        waiting.retain(|other| *other != ticket);
        let more = !waiting.is_empty();
        if !more {
            self.waiting.remove(&object);
        }
        more
    }

    /// Forgets what was sent more than a span ago.
    fn forget(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|sent| now >= *sent + self.most.span) {
            self.sent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
