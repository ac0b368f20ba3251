//! Leadership on an API server in memory and a clock that jumps: who works when, and that nobody works for longer.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "leader/leases.rs"]
mod leases;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use multiarch_operator::{
    leader::{self, LeaderError, Options, Term, Timing},
    shutdown::Shutdown,
};
use rstest::rstest;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, advance, timeout},
};

use crate::leases::{Leases, Line};

const TIMING: Timing = Timing {
    lease: Duration::from_secs(15),
    renew: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

/// A process that stands for election, and whose work is to be counted.
struct Replica {
    shutdown: Shutdown,
    line: watch::Sender<Line>,
    /// Its term, while it works.
    term: watch::Receiver<Option<Term>>,
    leads: Arc<AtomicBool>,
    /// Whether its work ignores that it is cut off.
    stubborn: Arc<AtomicBool>,
    done: JoinHandle<Result<(), LeaderError>>,
}

/// Set while work goes on.
struct Working(watch::Sender<Option<Term>>, Arc<AtomicUsize>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.send_replace(None);
        self.1.fetch_sub(1, SeqCst);
    }
}

fn start(leases: &Leases, identity: &str) -> Replica {
    start_counted(leases, identity, &Arc::default())
}

/// One whose work counts itself in `at_work`, and finds that it is alone.
fn start_counted(leases: &Leases, identity: &str, at_work: &Arc<AtomicUsize>) -> Replica {
    let (client, line) = leases.client();
    let (shutdown, stubborn) = (Shutdown::default(), Arc::<AtomicBool>::default());
    let (terms, term) = watch::channel(None);
    let options = Options {
        namespace: "system".into(),
        lease: "leader".into(),
        identity: identity.into(),
        timing: TIMING,
    };
    let (at_work, ignores) = (Arc::clone(at_work), Arc::clone(&stubborn));
    let work = move |term: Term| {
        let (terms, at_work, ignores) = (terms.clone(), Arc::clone(&at_work), Arc::clone(&ignores));
        async move {
            assert_eq!(at_work.fetch_add(1, SeqCst), 0, "two work at once");
            assert!(term.holds());
            terms.send_replace(Some(term.clone()));
            let _working = Working(terms, at_work);
            tokio::select! {
                () = term.stop().cancelled() => {}
                () = term.cut().cancelled() => {}
            }
            if ignores.load(SeqCst) {
                std::future::pending::<()>().await;
            }
        }
    };
    let leads = Arc::<AtomicBool>::default();
    let (stops, told) = (shutdown.clone(), Arc::clone(&leads));
    let done = tokio::spawn(async move {
        leader::run(client, options, &stops, |leads| told.store(leads, SeqCst), work).await
    });
    Replica { shutdown, line, term, leads, stubborn, done }
}

impl Replica {
    /// Waits until it works, and how long that took.
    async fn works(&mut self) -> Duration {
        let since = Instant::now();
        let works = self.term.wait_for(Option::is_some);
        timeout(Duration::from_mins(5), works).await.expect("it does not work").unwrap();
        since.elapsed()
    }

    /// Waits until it does not work, and how long that took.
    async fn stands_by(&mut self) -> Duration {
        let since = Instant::now();
        let rests = self.term.wait_for(Option::is_none);
        timeout(Duration::from_mins(5), rests).await.expect("it works on").unwrap();
        since.elapsed()
    }

    fn is_at_work(&self) -> bool {
        self.term.borrow().is_some()
    }

    /// It is killed.
    fn kill(&self) {
        self.done.abort();
        self.line.send_replace(Line::Cut);
    }

    async fn terminate(self) -> Result<(), LeaderError> {
        self.shutdown.stop.cancel();
        timeout(Duration::from_mins(1), self.done).await.expect("it does not end").unwrap()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn the_first_works_and_the_second_stands_by() {
    let leases = Leases::default();
    let mut first = start(&leases, "first");
    assert!(first.works().await < seconds(1));
    assert_eq!(leases.holder().as_deref(), Some("first"));
    let second = start(&leases, "second");
    leases.asked(200).await;
    assert!(first.is_at_work() && first.leads.load(SeqCst));
    assert!(!second.is_at_work() && !second.leads.load(SeqCst));
    let lease = leases.lease().unwrap();
    assert_eq!(lease["spec"]["leaseTransitions"], 0);
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 15);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_is_followed_when_its_lease_has_run_out() {
    let leases = Leases::default();
    let mut first = start(&leases, "first");
    first.works().await;
    let mut second = start(&leases, "second");
    leases.asked(20).await;
    first.kill();
    let took = second.works().await;
    // It saw the last renewal two seconds late at most, and looks each two seconds.
    assert!((seconds(13)..seconds(20)).contains(&took), "{took:?}");
    assert_eq!(leases.lease().unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_told_to_stop_is_followed_at_once() {
    let leases = Leases::default();
    let mut first = start(&leases, "first");
    first.works().await;
    let mut second = start(&leases, "second");
    leases.asked(20).await;
    first.terminate().await.unwrap();
    let took = second.works().await;
    assert!(took <= TIMING.retry, "{took:?}");
    assert_eq!(leases.holder().as_deref(), Some("second"));
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_let_go_of_when_the_work_has_ended_and_not_before() {
    let leases = Leases::default();
    let mut first = start(&leases, "first");
    first.works().await;
    first.stubborn.store(true, SeqCst);
    first.shutdown.stop.cancel();
    leases.asked(30).await;
    assert_eq!(leases.holder().as_deref(), Some("first"), "it is renewed meanwhile");
    assert!(first.is_at_work());
}

#[tokio::test(start_paused = true)]
async fn who_stands_by_ends_at_once_and_takes_nothing_along() {
    let leases = Leases::default();
    leases.put("other", 3600);
    let second = start(&leases, "second");
    leases.asked(3).await;
    let since = Instant::now();
    second.terminate().await.unwrap();
    assert_eq!(since.elapsed(), Duration::ZERO);
    assert_eq!(leases.holder().as_deref(), Some("other"));
}

/// Told to stop while it takes the Lease: that it has it, it does not know.
#[tokio::test(start_paused = true)]
async fn a_lease_that_was_just_won_is_let_go_of() {
    let leases = Leases::default();
    let first = start(&leases, "first");
    first.line.send_replace(Line::DeafToWrites);
    leases.asked(2).await;
    assert_eq!(leases.holder().as_deref(), Some("first"));
    assert!(!first.is_at_work());
    first.terminate().await.unwrap();
    assert_eq!(leases.holder().as_deref(), Some(""));
}

#[rstest]
#[case::no_request_arrives(Line::Cut)]
#[case::no_answer_arrives(Line::Deaf)]
#[case::unavailable(Line::Refused(503))]
#[case::no_rights(Line::Refused(403))]
#[tokio::test(start_paused = true)]
async fn who_cannot_renew_stops_in_time_and_comes_back(#[case] line: Line) {
    let leases = Leases::default();
    let mut first = start(&leases, "first");
    first.works().await;
    leases.asked(10).await;
    let term = first.term.borrow().clone().unwrap();
    first.line.send_replace(line);
    let took = first.stands_by().await;
    assert!((seconds(8)..=seconds(10)).contains(&took), "{took:?}");
    assert!(!term.holds() && term.cut().is_cancelled() && !first.leads.load(SeqCst));
    // In the same process.
    first.line.send_replace(Line::Open);
    let took = first.works().await;
    assert!(took <= seconds(10), "{took:?}");
    assert!(!term.holds(), "that was another term");
    first.terminate().await.unwrap();
    assert_eq!(leases.holder().as_deref(), Some(""));
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_is_ridden_out() {
    let leases = Leases::default();
    let mut first = start(&leases, "first");
    first.works().await;
    for line in [Line::Cut, Line::Deaf, Line::Refused(500), Line::Refused(429)] {
        first.line.send_replace(line);
        leases.asked(1).await;
        first.line.send_replace(Line::Open);
        // The one that was cut is given up after five seconds.
        leases.asked(3).await;
        assert!(first.is_at_work(), "{line:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_sees_another_holder_stops_at_once() {
    let leases = Leases::default();
    let mut first = start(&leases, "first");
    first.works().await;
    leases.put("usurper", 15);
    let took = first.stands_by().await;
    assert!(took <= seconds(2), "{took:?}");
    let took = first.works().await;
    assert!((seconds(13)..=seconds(17)).contains(&took), "{took:?}");
    assert_eq!(
        leases.lease().unwrap()["metadata"]["labels"]["of"],
        "somebody",
        "what others wrote stays"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_deleted_is_made_anew() {
    let leases = Leases::default();
    let mut first = start(&leases, "first");
    first.works().await;
    leases.delete();
    leases.asked(3).await;
    assert!(first.is_at_work());
    assert_eq!(leases.holder().as_deref(), Some("first"));
}

/// The process ends: another one may be at work by then.
#[tokio::test(start_paused = true)]
async fn work_that_does_not_stop_ends_the_process() {
    let leases = Leases::default();
    let mut first = start(&leases, "first");
    first.works().await;
    first.stubborn.store(true, SeqCst);
    first.line.send_replace(Line::Cut);
    let since = Instant::now();
    let ended =
        timeout(Duration::from_mins(1), &mut first.done).await.expect("it goes on").unwrap();
    let Err(LeaderError::StillAtWork { waited, .. }) = ended else { panic!("{ended:?}") };
    assert_eq!(waited, seconds(5));
    assert!(since.elapsed() <= seconds(15), "before others may work");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_at_the_start_is_waited_for() {
    let leases = Leases::default();
    let mut first = start(&leases, "first");
    first.line.send_replace(Line::Refused(503));
    leases.asked(1000).await;
    assert!(!first.is_at_work() && !first.done.is_finished());
    first.line.send_replace(Line::Open);
    assert!(first.works().await <= TIMING.retry);
}

/// A process that was stopped for a while, and does not know it.
#[tokio::test(start_paused = true)]
async fn who_wakes_up_late_may_not_write() {
    let leases = Leases::default();
    let mut first = start(&leases, "first");
    first.works().await;
    let term = first.term.borrow().clone().unwrap();
    assert!(term.holds());
    advance(seconds(30)).await;
    assert!(!term.holds(), "before anybody told it");
    term.cut().cancelled().await;
    first.works().await;
    assert!(!term.holds(), "it is another term");
}

/// Whatever the network does to whom: each finds that it is alone when it begins to work, and the work goes on.
#[rstest]
#[tokio::test(start_paused = true)]
async fn of_several_one_works_at_a_time(#[values(1, 2, 3, 4)] seed: u64) {
    let (leases, at_work) = (Leases::default(), Arc::<AtomicUsize>::default());
    let replicas: Vec<_> =
        (0..3).map(|n| start_counted(&leases, &format!("replica-{n}"), &at_work)).collect();
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut reigns, mut last) = (0, None);
    for _ in 0..400 {
        let line = match random.u8(..10) {
            0 => Line::Cut,
            1 => Line::Deaf,
            2 => Line::Refused(503),
            _ => Line::Open,
        };
        replicas[random.usize(..replicas.len())].line.send_replace(line);
        leases.asked(random.u64(1..15)).await;
        let now = replicas.iter().position(Replica::is_at_work);
        reigns += usize::from(now.is_some() && now != last);
        last = now.or(last);
        assert!(replicas.iter().all(|replica| !replica.done.is_finished()), "one ended");
    }
    assert!(reigns > 10, "{reigns}: nothing happened");
}
