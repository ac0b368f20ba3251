//! pure: the Lease as it was seen, and this process's own clock → whether to take it, to keep it, or to wait.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};

/// The times of an election. Their order is what keeps two leaders apart: who cannot renew stops before others may take
/// the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait since the last renewal that they have seen.
    pub lease: Duration,
    /// How long the leader works on since its own last renewal.
    pub renew: Duration,
    /// Between two tries.
    pub retry: Duration,
}

/// One process that stands for election. Its clock is its own: how long ago something was, and nobody's date.
#[derive(Clone, Debug)]
pub struct Election {
    name: String,
    identity: String,
    timing: Timing,
    seen: Option<Seen>,
    /// When the last renewal that succeeded was sent.
    renewed: Option<Duration>,
}

/// The Lease, and since when it is as it is.
#[derive(Clone, Debug)]
struct Seen {
    lease: Lease,
    since: Duration,
}

/// What to do about the Lease.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Make it: there is none.
    Create(Lease),
    /// Write it over the one that was seen, if that is still there.
    Replace(Lease),
    /// Another process has it.
    Wait,
}

impl Timing {
    /// What is wrong with these times.
    pub fn check(&self) -> Result<(), String> {
        let Self { lease, renew, retry } = *self;
        if retry.is_zero() || renew <= retry {
            return Err(format!(
                "the renew deadline ({renew:?}) must be longer than the retry period ({retry:?}), and that longer than nothing"
            ));
        }
        if lease <= renew {
            return Err(format!(
                "the lease duration ({lease:?}) must be longer than the renew deadline ({renew:?}): between the two, a leader that cannot renew stops"
            ));
        }
        // The Lease has whole seconds.
        if lease.subsec_nanos() > 0 || i32::try_from(lease.as_secs()).is_err() {
            return Err(format!("the lease duration ({lease:?}) must be whole seconds"));
        }
        Ok(())
    }
}

impl Election {
    /// For the Lease called `name`.
    #[must_use]
    pub fn new(name: String, identity: String, timing: Timing) -> Self {
        Self { name, identity, timing, seen: None, renewed: None }
    }

    /// The Lease was read or written at `now`, and is `lease`; `None` where there is none.
    pub fn see(&mut self, lease: Option<Lease>, now: Duration) {
        let Some(lease) = lease else {
            self.seen = None;
            return;
        };
        // Only a holder's own words count: whoever labels the Lease does not renew it.
        let same = self.seen.as_ref().filter(|seen| seen.lease.spec == lease.spec);
        let since = same.map_or(now, |seen| seen.since);
        self.seen = Some(Seen { lease, since });
    }

    /// A renewal that was sent at `sent` succeeded.
    pub fn renewed(&mut self, sent: Duration) {
        self.renewed = Some(sent);
    }

    /// This process leads no longer, whatever the Lease says.
    pub fn step_down(&mut self) {
        self.renewed = None;
    }

    /// Until when this process may work.
    #[must_use]
    pub fn holds_until(&self) -> Option<Duration> {
        self.renewed.map(|sent| sent + self.timing.renew)
    }

    /// Who has the Lease, as far as this process knows.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        let spec = self.seen.as_ref()?.lease.spec.as_ref()?;
        spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// Whether this process has it.
    #[must_use]
    pub fn is_mine(&self) -> bool {
        self.holder() == Some(&self.identity)
    }

    /// What to do at `now`. `date` is for readers of the Lease only.
    #[must_use]
    pub fn act(&self, now: Duration, date: Timestamp) -> Act {
        let Some(Seen { lease, since }) = &self.seen else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let spec = self.spec(&LeaseSpec::default(), date);
            return Act::Create(Lease { metadata, spec: Some(spec) });
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let theirs = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        // Who holds it says for how long.
        let lasts = theirs.map_or(self.timing.lease, Duration::from_secs);
        if self.holder().is_some() && !self.is_mine() && now < *since + lasts {
            return Act::Wait;
        }
        let spec = self.spec(&spec, date);
        Act::Replace(Lease { metadata: lease.metadata.clone(), spec: Some(spec) })
    }

    /// The Lease without a holder, for others to take at once; `None` where this process does not have it.
    #[must_use]
    pub fn release(&self, date: Timestamp) -> Option<Lease> {
        let seen = self.seen.as_ref().filter(|_| self.is_mine())?;
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(MicroTime(date)),
            renew_time: Some(MicroTime(date)),
            ..seen.lease.spec.clone().unwrap_or_default()
        };
        Some(Lease { metadata: seen.lease.metadata.clone(), spec: Some(spec) })
    }

    /// `before` with this process as its holder.
    fn spec(&self, before: &LeaseSpec, date: Timestamp) -> LeaseSpec {
        let (was_mine, date) = (self.is_mine(), Some(MicroTime(date)));
        let transitions = match before.lease_transitions {
            None => 0,
            Some(so_far) => so_far.saturating_add(i32::from(!was_mine)),
        };
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.lease.as_secs()).ok(),
            acquire_time: if was_mine { before.acquire_time.clone() } else { date.clone() },
            renew_time: date,
            lease_transitions: Some(transitions),
            ..before.clone()
        }
    }
}

#[cfg(test)]
mod tests;
