//! What is remembered of a host for everyone: how it wants to be asked, and never for whom.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::OwnedMutexGuard, time::timeout};
use url::{Origin, Url};

use super::challenge::Challenge;
use crate::registry::{
    Access, Actions,
    tls::{Fingerprint, Tls},
};

/// Hosts come from users, so there is a bound; past it everything is learnt again.
const MOST: usize = 4096;

/// How long others wait for the first request's answer.
const HEAD_START: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Hosts(Mutex<HashMap<Site, Host>>);

/// A host, as those know it who trust and show the same certificates: to others it may be another
/// server, and what it gives to one client certificate is not for those who have none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Site {
    origin: Origin,
    certificates: Option<Fingerprint>,
}

/// What is known of one host.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// How it wants to be asked, once it said so.
    pub(super) challenge: Option<Challenge>,
    /// `GET /v2/` said that it asks nobody who they are, so its 404 is believed.
    pub(super) open: bool,
    /// Its HEAD of a manifest is of no use.
    pub(super) get_only: bool,
    /// The most that its token endpoint may be asked for, where that is not everything.
    pub(super) most: Option<Actions>,
    /// When it last was without a referrers API.
    pub(super) no_referrers: Option<Instant>,
    met: bool,
    first: Arc<tokio::sync::Mutex<()>>,
}

impl Site {
    /// The host of `url`, to whom `access` is for.
    pub(super) fn of(url: &Url, access: &Access) -> Self {
        Self { origin: url.origin(), certificates: access.certificates.fingerprint() }
    }

    /// The host of `url`, as it is reached with what an object has for just that host.
    pub(super) fn reached(url: &Url, tls: Option<&Tls>) -> Self {
        Self { origin: url.origin(), certificates: tls.map(Tls::fingerprint) }
    }

    /// For the log.
    pub(super) fn shown(&self) -> String {
        self.origin.ascii_serialization()
    }
}

impl Hosts {
    pub(super) fn get(&self, site: &Site) -> Host {
        self.with(site, |host| host.clone())
    }

    /// Keeps what was learnt.
    pub(super) fn learn(&self, site: &Site, learn: impl FnOnce(&mut Host)) {
        self.with(site, learn);
    }

    /// Lets the first request to a host go alone, so that requests which start together cost one
    /// challenge and not one each. Whoever waited goes on whatever became of the first, and before
    /// it has an answer when that takes long.
    pub(super) async fn first(&self, site: &Site) -> Option<OwnedMutexGuard<()>> {
        let host = self.get(site);
        if host.met {
            return None;
        }
        if let Ok(turn) = Arc::clone(&host.first).try_lock_owned() {
            return Some(turn);
        }
        // One tenant's repository may be slow to answer, or silent; that is no reason for the others to wait for it.
        let _ = timeout(HEAD_START, host.first.lock()).await;
        None
    }

    /// The first answer is there.
    pub(super) fn met(&self, site: &Site) {
        self.learn(site, |host| host.met = true);
    }

    fn with<T>(&self, site: &Site, act: impl FnOnce(&mut Host) -> T) -> T {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= MOST && !hosts.contains_key(site) {
            hosts.clear();
        }
        act(hosts.entry(site.clone()).or_default())
    }
}
