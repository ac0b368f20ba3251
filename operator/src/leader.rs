//! Holds a Lease, works while it is held, and lets go of it: of several replicas one works at a time.

pub mod election;
mod fence;
mod term;

use std::{future::Future, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::election::{Act, Election};
pub use self::{election::Timing, fence::Fenced, term::Term};
use crate::{error::causes, shutdown::Shutdown};

/// Which Lease, and when.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub lease: String,
    /// Who this process is; no other one is called so.
    pub identity: String,
    /// When it is taken, kept and lost.
    pub timing: Timing,
}

/// Why this process ends.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// Another process may lead by now, so this one must not be.
    #[error(
        "lost Lease {lease}, and work did not stop within {waited:?}: the process ends, so that no two lead at once"
    )]
    StillAtWork {
        /// The Lease.
        lease: String,
        /// For how long it was waited.
        waited: Duration,
    },
    /// A bug.
    #[error("the work of the leader broke off: {source}")]
    Broken {
        /// How.
        #[source]
        source: tokio::task::JoinError,
    },
}

/// Why a try came to nothing.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("failed to {verb} Lease {lease}: {source}")]
    Refused {
        verb: &'static str,
        lease: String,
        #[source]
        source: kube::Error,
    },
    #[error("failed to {verb} Lease {lease}: no answer within {limit:?}")]
    Late { verb: &'static str, lease: String, limit: Duration },
}

/// How a term ended.
enum End {
    /// The work is done.
    Done,
    /// Somebody else has the Lease, or may have it soon.
    Lost(String),
}

/// Longest wait for the work to stop after a loss. It is never longer than others wait for the Lease.
const LET_GO: Duration = Duration::from_secs(5);
/// How long the Lease is tried to be let go of at the end.
const RELEASE: Duration = Duration::from_secs(2);

/// Stands for election until `shutdown`, and does `work` whenever elected. `leads` is told of each change.
///
/// `client` must not try again by itself: a try that succeeds late would count from a wrong time.
pub async fn run<F: Future<Output = ()> + Send + 'static>(
    client: Client,
    options: Options,
    shutdown: &Shutdown,
    leads: impl Fn(bool),
    work: impl Fn(Term) -> F,
) -> Result<(), LeaderError> {
    let mut candidate = Candidate::new(client, options);
    leads(false);
    while candidate.acquire(&shutdown.stop).await {
        leads(true);
        info!(lease = candidate.lease, identity = candidate.identity, "leading");
        let end = candidate.lead(shutdown, &work).await;
        leads(false);
        match end? {
            End::Done => {
                candidate.release().await;
                break;
            }
            End::Lost(why) => warn!(lease = candidate.lease, why, "lost the lease; standing by"),
        }
    }
    Ok(())
}

struct Candidate {
    api: Api<Lease>,
    /// `namespace/name`, for people.
    lease: String,
    name: String,
    identity: String,
    timing: Timing,
    election: Election,
    /// The zero of this process's own clock.
    started: Instant,
    /// Whether the Lease may be another one than was seen last.
    stale: bool,
    /// The last failure that was told, or the last holder.
    told: Option<String>,
}

impl Candidate {
    fn new(client: Client, options: Options) -> Self {
        let Options { namespace, lease: name, identity, timing } = options;
        Self {
            api: Api::namespaced(client, &namespace),
            lease: format!("{namespace}/{name}"),
            election: Election::new(name.clone(), identity.clone(), timing),
            name,
            identity,
            timing,
            started: Instant::now(),
            stale: true,
            told: None,
        }
    }

    /// Tries until this process leads; whether it does, since `stop` ends that, too.
    async fn acquire(&mut self, stop: &CancellationToken) -> bool {
        loop {
            let tried = {
                let mut attempt = std::pin::pin!(self.attempt());
                tokio::select! {
                    () = stop.cancelled() => {
                        // It may be about to take the Lease, and must know to let go of it.
                        let _ = timeout(RELEASE, attempt).await;
                        None
                    }
                    tried = &mut attempt => Some(tried),
                }
            };
            let Some(tried) = tried else {
                if self.stale || self.election.is_mine() {
                    self.release().await;
                }
                return false;
            };
            match tried {
                Ok(()) if self.deadline().is_some() => {
                    self.told = None;
                    return true;
                }
                Ok(()) => self.tell_holder(),
                Err(error) => self.tell_failure(&error),
            }
            // Not all replicas at the same time, and never later than they were told.
            let pause = self.timing.retry.mul_f64(1.0 - 0.25 * fastrand::f64());
            tokio::select! {
                () = stop.cancelled() => return false,
                () = sleep(pause) => {}
            }
        }
    }

    /// Renews the Lease while `work` goes on.
    async fn lead<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        shutdown: &Shutdown,
        work: &impl Fn(Term) -> F,
    ) -> Result<End, LeaderError> {
        let (renewed, until) = watch::channel(self.deadline());
        let term = Term::of_lease(shutdown, until);
        // A task of its own: whatever it is at, the Lease is renewed in time.
        let mut working = tokio::spawn(work(term.clone()));
        let why = loop {
            let Some(deadline) = self.deadline() else { break self.why() };
            let retry = self.timing.retry;
            let tried = async {
                sleep(retry).await;
                self.attempt().await
            };
            let tried = tokio::select! {
                biased;
                done = &mut working => {
                    return done.map(|()| End::Done).map_err(|source| LeaderError::Broken { source });
                }
                () = sleep_until(deadline) => break self.why(),
                tried = tried => tried,
            };
            match tried {
                Ok(()) => {
                    self.told = None;
                    renewed.send_replace(self.deadline());
                }
                Err(error) => self.tell_failure(&error),
            }
        };
        self.election.step_down();
        // In this order: what is cut off finds that it may not write any more.
        renewed.send_replace(None);
        term.cut().cancel();
        self.let_go(&mut working).await?;
        Ok(End::Lost(why))
    }

    /// Waits until the work has stopped.
    async fn let_go(&self, working: &mut JoinHandle<()>) -> Result<(), LeaderError> {
        let waited = LET_GO.min(self.timing.lease.saturating_sub(self.timing.renew));
        match timeout(waited, working).await {
            Ok(done) => done.map_err(|source| LeaderError::Broken { source }),
            Err(_) => Err(LeaderError::StillAtWork { lease: self.lease.clone(), waited }),
        }
    }

    /// One try to take or to keep the Lease. Who has it afterwards is what the election has seen.
    async fn attempt(&mut self) -> Result<(), LeaseError> {
        // Once more where somebody else was faster: then it is seen who.
        for _ in 0..2 {
            if self.stale || !self.election.is_mine() {
                let (api, name) = (self.api.clone(), self.name.clone());
                let lease = self.call("read", async move { api.get_opt(&name).await }).await?;
                let now = self.now();
                self.election.see(lease, now);
                self.stale = false;
            }
            let sent = self.now();
            let (api, name, params) = (self.api.clone(), self.name.clone(), PostParams::default());
            let written = match self.election.act(sent, Timestamp::now()) {
                Act::Wait => {
                    self.election.step_down();
                    return Ok(());
                }
                Act::Create(lease) => {
                    self.stale = true;
                    self.call("create", async move { api.create(&params, &lease).await }).await
                }
                Act::Replace(lease) => {
                    self.stale = true;
                    let call = async move { api.replace(&name, &params, &lease).await };
                    self.call("update", call).await
                }
            };
            match written {
                Ok(lease) => {
                    let now = self.now();
                    self.election.see(Some(lease), now);
                    self.election.renewed(sent);
                    self.stale = false;
                    return Ok(());
                }
                Err(LeaseError::Refused { source: kube::Error::Api(status), verb, .. })
                    if status.is_conflict()
                        || status.is_already_exists()
                        || (status.is_not_found() && verb == "update") => {}
                Err(error) => return Err(error),
            }
        }
        debug!(lease = self.lease, "others were faster");
        Ok(())
    }

    /// Lets go of the Lease, so that another replica takes it at once.
    async fn release(&mut self) {
        let released = async {
            for _ in 0..2 {
                if self.stale {
                    let lease = self.api.get_opt(&self.name).await?;
                    let now = self.now();
                    self.election.see(lease, now);
                    self.stale = false;
                }
                let Some(lease) = self.election.release(Timestamp::now()) else {
                    return Ok(false);
                };
                match self.api.replace(&self.name, &PostParams::default(), &lease).await {
                    Err(kube::Error::Api(status)) if status.is_conflict() => self.stale = true,
                    written => return written.map(|_| true),
                }
            }
            Ok(false)
        };
        match timeout(RELEASE, released).await {
            Ok(Ok(true)) => info!(lease = self.lease, "let go of the lease"),
            // Somebody else has it.
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                warn!(lease = self.lease, error = causes(&error), "failed to let go of the lease");
            }
            Err(_) => warn!(lease = self.lease, "failed to let go of the lease within {RELEASE:?}"),
        }
    }

    /// `call`, for half of the time that there is to renew in.
    async fn call<T>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, LeaseError> {
        let (limit, lease) = (self.timing.renew / 2, self.lease.clone());
        match timeout(limit, call).await {
            Ok(answer) => answer.map_err(|source| LeaseError::Refused { verb, lease, source }),
            Err(_) => Err(LeaseError::Late { verb, lease, limit }),
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Until when this process may work.
    fn deadline(&self) -> Option<Instant> {
        let until = self.election.holds_until().filter(|_| self.election.is_mine())?;
        Some(self.started + until).filter(|until| Instant::now() < *until)
    }

    /// Why this process leads no longer.
    fn why(&self) -> String {
        match self.election.holder() {
            Some(holder) if !self.election.is_mine() => format!("{holder} has it"),
            _ => format!("it was not renewed within {:?}", self.timing.renew),
        }
    }

    fn tell_holder(&mut self) {
        let holder = self.election.holder().unwrap_or_default().to_owned();
        if self.told.as_ref() != Some(&holder) {
            info!(lease = self.lease, identity = self.identity, holder, "standing by");
            self.told = Some(holder);
        }
    }

    /// Not each time: a try comes every two seconds.
    fn tell_failure(&mut self, error: &LeaseError) {
        let words = causes(error);
        if self.told.as_ref() == Some(&words) {
            debug!(error = words, "trying again");
            return;
        }
        warn!(error = words, hint = hint(error), "failed to take or keep the lease; trying again");
        self.told = Some(words);
    }
}

/// What to do about it, where the API server's answer tells.
fn hint(error: &LeaseError) -> Option<&'static str> {
    let LeaseError::Refused { source: kube::Error::Api(status), .. } = error else { return None };
    match status.code {
        401 => Some(
            "the API server refused the credential: print a new kubeconfig, or give the Pod its token",
        ),
        403 => Some(
            "the operator lacks rights on this Lease: the chart's Role names those of its shards (rbac.create); else name another one by --leader-election-lease and --leader-election-namespace",
        ),
        404 => {
            Some("there is no such namespace: --leader-election-namespace names one that there is")
        }
        _ => None,
    }
}

/// A name for this process that no other one has.
#[must_use]
pub fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let random = fastrand::u128(..);
    // The form of a UUID, as other controllers' identities have it.
    let part = |from: u32, digits: u32| (random >> from) & ((1 << digits) - 1);
    let parts = (part(96, 32), part(80, 16), part(64, 16), part(48, 16), part(0, 48));
    let (host, (head, low, mid, high, tail)) = (host.trim(), parts);
    format!("{host}_{head:08x}-{low:04x}-{mid:04x}-{high:04x}-{tail:012x}")
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::credential(401, Some("kubeconfig"))]
    #[case::rights(403, Some("rbac.create"))]
    #[case::namespace(404, Some("--leader-election-namespace"))]
    #[case::away(503, None)]
    fn says_what_to_do(#[case] code: u16, #[case] words: Option<&str>) {
        let status = Status { code, message: "why".into(), ..Status::default() };
        let source = kube::Error::Api(Box::new(status));
        let error = LeaseError::Refused { verb: "create", lease: "a/b".into(), source };
        assert!(causes(&error).starts_with("failed to create Lease a/b: "), "{}", causes(&error));
        let hint = hint(&error);
        assert_eq!(hint.is_some(), words.is_some(), "{hint:?}");
        assert!(words.is_none_or(|words| hint.is_some_and(|hint| hint.contains(words))));
    }

    #[test]
    fn an_answer_that_is_late_has_no_hint() {
        let limit = Duration::from_secs(5);
        let error = LeaseError::Late { verb: "read", lease: "a/b".into(), limit };
        assert_eq!(causes(&error), "failed to read Lease a/b: no answer within 5s");
        assert_eq!(hint(&error), None);
    }

    #[test]
    fn no_two_processes_are_called_the_same() {
        let (one, other) = (identity(), identity());
        assert_ne!(one, other);
        let (_, id) = one.rsplit_once('_').unwrap();
        let parts: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{one}");
    }
}
