//! What may be asked of a host now, and by whom: so many requests at once and a second, in turn, and none while it is away or wants a pause (REGISTRY.md rules 10 and 14).

mod circuit;
mod hold;
mod lane;
mod quota;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderMap;
use tokio::{sync::Notify, time::sleep_until};
use tracing::{info, warn};
use url::Url;

use self::{
    circuit::{Away, Circuit},
    hold::Hold,
    lane::{Lane, Most, Now, Ticket},
    quota::{Quota, Spare},
};
pub(super) use self::{lane::Kind, quota::Left};
use super::{failure::Failure, hosts::Site, limits::Limits, refusal, token::Identity};
use crate::registry::{Access, Object, tls::Tls};

/// Hosts come from users, so there is a bound; past it what nobody uses is forgotten.
const MOST: usize = 4096;
/// Who was not told to pause waits no longer than this for who was: the registry's word may have been about
/// one repository.
const OTHERS: Duration = Duration::from_mins(1);
/// What Docker Hub gets at once and a second, since it counts by address and by account (REGISTRY.md rule 14).
const DOCKER_HUB: (usize, f64) = (4, 5.0);

/// The budgets of all hosts.
pub(super) struct Budgets {
    limits: Limits,
    begun: (Instant, Timestamp),
    known: Mutex<Known>,
}

/// Who asks, as far as budgets go.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    identity: Option<Identity>,
    object: Object,
}

/// Whose budget it is.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    site: Site,
    identity: Option<Identity>,
}

#[derive(Default)]
struct Known {
    sites: HashMap<Site, OfSite>,
    accounts: HashMap<Key, Account>,
}

/// What is shared by all who reach a host in the same way.
#[derive(Default)]
struct OfSite {
    hold: Hold,
    /// Whether connections are made.
    connects: Outages,
}

/// What one identity has at one host.
struct Account {
    lane: Lane,
    hold: Hold,
    quota: Quota,
    /// Whether requests are answered. Not shared with other identities: what never answers may be one's repository.
    answers: Outages,
    changed: Arc<Notify>,
}

/// Whether a host answers, and what its last failure was.
#[derive(Default)]
struct Outages {
    circuit: Circuit,
    last: Option<Failure>,
}

/// A place among the requests to a host, until this is dropped.
pub(super) struct Slot {
    budgets: Arc<Budgets>,
    key: Key,
    ticket: Ticket,
    sent: Instant,
    probes: Probes,
    state: State,
}

/// Whether a request is the one that sees whether a host is back.
#[derive(Clone, Copy, Default)]
struct Probes {
    connects: bool,
    answers: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was sent yet.
    Waits,
    /// What came of it is not known yet.
    Goes,
    /// It is.
    Told,
}

/// What a look at the budget came to.
enum Look {
    Go(Probes),
    /// Until something changes, or until then.
    Wait(Option<Instant>),
}

impl Asker {
    pub(super) fn of(access: &Access) -> Self {
        Self { identity: access.credential.as_ref().map(Identity::of), object: access.object }
    }
}

impl Budgets {
    pub(super) fn new(limits: &Limits) -> Self {
        let begun = (now(), Timestamp::now());
        Self { limits: limits.clone(), begun, known: Mutex::default() }
    }

    /// A place for a request to the host of `url`, as soon as there is one. An error where that would take too long, or
    /// where the host is away.
    pub(super) async fn enter(
        self: &Arc<Self>,
        asker: Asker,
        (url, tls): (&Url, Option<&Tls>),
        kind: Kind,
    ) -> Result<Slot, Failure> {
        let key = Key { site: Site::reached(url, tls), identity: asker.identity };
        let (ticket, changed) = {
            let mut known = self.known();
            let account = self.account(&mut known, &key, url);
            (account.lane.ask(asker.object, kind), Arc::clone(&account.changed))
        };
        let (sent, probes, state) = (now(), Probes::default(), State::Waits);
        let mut slot = Slot { budgets: Arc::clone(self), key, ticket, sent, probes, state };
        loop {
            // From here on, also what changes before it is awaited.
            let notified = changed.notified();
            match self.look(&slot, kind, now())? {
                Look::Go(probes) => {
                    (slot.sent, slot.probes, slot.state) = (now(), probes, State::Goes);
                    return Ok(slot);
                }
                Look::Wait(None) => notified.await,
                Look::Wait(Some(until)) => tokio::select! {
                    () = notified => {}
                    () = sleep_until(until.into()) => {}
                },
            }
        }
    }

    fn look(&self, slot: &Slot, kind: Kind, now: Instant) -> Result<Look, Failure> {
        let mut known = self.known();
        let Known { sites, accounts } = &mut *known;
        let of_site = sites.entry(slot.key.site.clone()).or_default();
        // It has a ticket, so it is not forgotten.
        let Some(account) = accounts.get_mut(&slot.key) else { return Ok(Look::Wait(None)) };
        for outages in [&of_site.connects, &account.answers] {
            outages.circuit.check(now).map_err(|away| self.away(outages, away))?;
        }
        let held = [of_site.hold.at(now), account.hold.at(now)].into_iter().flatten();
        let held = held.max_by_key(|held| held.until).filter(|_| kind != Kind::Cleanup);
        if let Some(held) = held
            && held.until - now > self.limits.patience
        {
            let wait = held.said.then(|| held.until - now);
            return Err(Failure::Paused { status: held.status, wait });
        }
        let spare = account.quota.spare(now);
        if let (Spare::Nothing { until }, Kind::Pull) = (spare, kind) {
            let wait = until - now;
            if wait > self.limits.patience {
                return Err(Failure::NoneLeft { wait });
            }
            return Ok(Look::Wait(Some(until)));
        }
        let apart = match spare {
            Spare::Apart(apart) => Some(apart),
            Spare::Plenty | Spare::Nothing { .. } => None,
        };
        let any = of_site.hold.at(now).or(account.hold.at(now));
        let no_pulls = matches!(spare, Spare::Nothing { .. });
        if account.lane.turn(now, Now { held: any.is_some(), apart, no_pulls }) {
            account.changed.notify_waiters();
        }
        if let Some(held) = held {
            return Ok(Look::Wait(Some(held.until)));
        }
        if account.lane.given(slot.ticket).is_none() {
            return Ok(Look::Wait(account.lane.next(now)));
        }
        if kind == Kind::Upload {
            return Ok(Look::Go(Probes::default()));
        }
        let connects = of_site.connects.circuit.enter(now);
        let connects = connects.map_err(|away| self.away(&of_site.connects, away))?;
        let answers = account.answers.circuit.enter(now);
        let answers = answers.map_err(|away| self.away(&account.answers, away))?;
        Ok(Look::Go(Probes { connects, answers }))
    }

    /// The same failure again, without asking.
    fn away(&self, outages: &Outages, away: Away) -> Failure {
        let (instant, then) = self.begun;
        let since = away.since.saturating_duration_since(instant);
        let since =
            SignedDuration::try_from(since).ok().and_then(|since| then.checked_add(since).ok());
        let why = outages.last.clone().unwrap_or_else(|| Failure::protocol("nothing"));
        Failure::Away { since: Some(since.unwrap_or(then)), why: Box::new(why) }
    }

    fn account<'a>(&self, known: &'a mut Known, key: &Key, url: &Url) -> &'a mut Account {
        let now = now();
        if known.sites.len() >= MOST && !known.sites.contains_key(&key.site) {
            known.sites.retain(|_, site| !site.is_idle(now));
        }
        if known.accounts.len() >= MOST && !known.accounts.contains_key(key) {
            known.accounts.retain(|_, account| !account.is_idle(now));
        }
        // Those in use are few: each is a request on its way.
        if known.sites.len() >= MOST {
            known.sites.clear();
        }
        if known.accounts.len() >= MOST {
            known.accounts.retain(|_, account| !account.lane.is_free());
        }
        known.accounts.entry(key.clone()).or_insert_with(|| Account {
            lane: Lane::new(most(url, &self.limits)),
            hold: Hold::default(),
            quota: Quota::default(),
            answers: Outages::default(),
            changed: Arc::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The host answered: with this status, and these headers. What it says is left of a quota.
    pub(super) fn answered(&mut self, status: u16, headers: &HeaderMap) -> Option<u64> {
        self.state = State::Told;
        let (now, wait) = (now(), refusal::wait(headers));
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let left = Left::of(header, SystemTime::now());
        let mut known = self.budgets.known();
        let Known { sites, accounts } = &mut *known;
        let site = sites.entry(self.key.site.clone()).or_default();
        let account = accounts.get_mut(&self.key)?;
        let back = !site.connects.circuit.is_closed() || !account.answers.circuit.is_closed();
        site.connects.answered();
        account.answers.answered();
        if back {
            info!(host = self.key.site.shown(), "a host answers again");
        }
        if let Some(left) = left {
            account.quota.told(left, now);
        }
        let times = (self.sent, now);
        match (status, wait) {
            (429, wait) => {
                let wait = wait.ok_or(self.budgets.limits.backoff);
                account.hold.told(times, status, wait, fastrand::f64());
            }
            // Its word to one, and for a while what everyone goes by.
            (503, Some(wait)) => {
                account.hold.told(times, status, Ok(wait), 0.0);
                site.hold.told(times, status, Ok(wait.min(OTHERS)), 0.0);
            }
            _ => account.hold.answered(self.sent),
        }
        account.changed.notify_waiters();
        left.map(|left| left.remaining)
    }

    /// No answer came.
    pub(super) fn failed(&mut self, failure: &Failure) {
        self.state = State::Told;
        let (connects, answers) = (failure.is_of_connecting(), failure.is_of_silence());
        let mut known = self.budgets.known();
        let Known { sites, accounts } = &mut *known;
        let site = sites.entry(self.key.site.clone()).or_default();
        let Some(account) = accounts.get_mut(&self.key) else { return };
        let first = self.budgets.limits.away;
        let mut away = site.connects.tell(connects.then_some(failure), self.probes.connects, first);
        away |= account.answers.tell(answers.then_some(failure), self.probes.answers, first);
        // Who was connected to is there.
        if !connects && failure.was_connected() {
            site.connects.answered();
        }
        if away {
            let (host, why) = (self.key.site.shown(), failure.words(None));
            warn!(host, why, "a host does not answer: asked once at a time until it does");
        }
        account.changed.notify_waiters();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut known = self.budgets.known();
        let Known { sites, accounts } = &mut *known;
        if self.state == State::Goes {
            // Nobody saw how it ended.
            if let Some(site) = sites.get_mut(&self.key.site)
                && self.probes.connects
            {
                site.connects.circuit.abandoned();
            }
            if let Some(account) = accounts.get_mut(&self.key)
                && self.probes.answers
            {
                account.answers.circuit.abandoned();
            }
        }
        if let Some(account) = accounts.get_mut(&self.key) {
            account.lane.leave(self.ticket, self.state == State::Waits);
            account.changed.notify_waiters();
        }
    }
}

impl Outages {
    fn answered(&mut self) {
        self.circuit.answered();
        self.last = None;
    }

    /// Counts `failure`, where it is of this kind. Whether the host is taken to be away since.
    fn tell(&mut self, failure: Option<&Failure>, probe: bool, first: Duration) -> bool {
        let Some(failure) = failure else {
            if probe {
                self.circuit.abandoned();
            }
            return false;
        };
        self.last = Some(failure.clone());
        self.circuit.failed(now(), probe, (first, fastrand::f64()))
    }
}

impl OfSite {
    fn is_idle(&self, now: Instant) -> bool {
        self.hold.is_over(now) && self.connects.circuit.is_closed()
    }
}

impl Account {
    fn is_idle(&self, now: Instant) -> bool {
        self.lane.is_idle(now)
            && self.hold.is_over(now)
            && self.quota.is_idle(now)
            && self.answers.circuit.is_closed()
    }
}

/// How much one identity may have at the host of `url`.
fn most(url: &Url, limits: &Limits) -> Most {
    let host = url.host_str().unwrap_or_default();
    let is_docker_hub = host == "docker.io" || host.ends_with(".docker.io");
    let (at_once, a_second) = if is_docker_hub { DOCKER_HUB } else { (usize::MAX, f64::MAX) };
    Most::new(limits.at_once.min(at_once), limits.a_second.min(a_second))
}

/// By the clock that tests may stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
