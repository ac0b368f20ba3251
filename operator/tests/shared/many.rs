//! Many objects that name one source, run as the controller does it: how often it is asked for, and how soon they know what is new.

use std::{cmp::Reverse, collections::BinaryHeap, ops::RangeInclusive, sync::Arc, time::Duration};

use jiff::Timestamp;
use multiarch_operator::{
    backoff,
    error::Retry,
    reconcile::since::Since,
    registry::{
        RegistryError,
        memory::{Image, Store},
        shared::Shared,
    },
};
use tokio::time::{Instant, advance};

use super::{MIB, PATH, asked, object::Object};

const OBJECTS: usize = 100;
const SHORT: Duration = Duration::from_mins(5);
const LONG: Duration = Duration::from_mins(10);
const HEAD: &str = "HEAD manifest team/app:base";

/// An object, and when its last run was over.
struct Run {
    object: Object,
    ended: Instant,
}

impl Run {
    /// Because an interval is over.
    async fn again(&mut self, clock: &Clock, shared: &Shared<Store>, interval: Duration) {
        let since = Since::interval(Instant::now(), interval, self.ended);
        self.object.run_at(clock.now(), shared, since).await;
        self.ended = Instant::now();
    }

    /// The same for one that is new, and was `seen` to be so.
    async fn begin(&mut self, clock: &Clock, shared: &Shared<Store>, seen: Instant) {
        let since = Since::edited(Instant::now(), LONG, self.ended, seen);
        self.object.run_at(clock.now(), shared, since).await;
        self.ended = Instant::now();
    }

    fn digest(&self) -> String {
        self.object.status.digest.clone().unwrap()
    }
}

/// Time as the controller has it, on tokio's clock.
struct Clock {
    start: Instant,
}

impl Clock {
    fn now(&self) -> Timestamp {
        Timestamp::constant(1_800_000_000, 0) + self.start.elapsed()
    }

    async fn until(&self, at: Instant) {
        advance(at.saturating_duration_since(Instant::now())).await;
    }
}

/// Objects that publish what `base` names, each under a tag of its own.
fn objects() -> Vec<Run> {
    let base = format!("r.example/{PATH}:base");
    let object = |n| Object::new(&format!("r.example/{PATH}:t{n}"), std::slice::from_ref(&base));
    (0..OBJECTS).map(|n| Run { object: object(n), ended: Instant::now() }).collect()
}

fn push_base(store: &Store, salt: &str) -> String {
    store.push(PATH, Some("base"), &Image::of("linux/amd64").salted(salt)).digest.to_string()
}

/// Runs `objects` as their intervals want it until `end`, and calls `after` each run.
async fn live(
    clock: &Clock,
    shared: &Shared<Store>,
    objects: &mut [Run],
    interval: impl Fn(usize) -> Duration,
    end: Instant,
    mut after: impl FnMut(usize, &Object),
) {
    let mut dice = fastrand::Rng::with_seed(7);
    // They came at some time in the past, each at its own.
    let start = |n: usize, dice: &mut fastrand::Rng| {
        Reverse((Instant::now() + interval(n).mul_f64(dice.f64()), n))
    };
    let mut next: BinaryHeap<_> = (0..objects.len()).map(|n| start(n, &mut dice)).collect();
    while let Some(Reverse((at, n))) = next.pop().filter(|Reverse((at, _))| *at < end) {
        clock.until(at).await;
        objects[n].again(clock, shared, interval(n)).await;
        after(n, &objects[n].object);
        let delay = backoff::delay(Retry::Interval, 0, interval(n), dice.f64());
        next.push(Reverse((Instant::now() + delay, n)));
    }
    clock.until(end).await;
}

/// How often it was asked what the source names, and how many manifests and configs were read, but for what the objects' own tags
/// named.
fn counted(store: &Store) -> (u32, usize) {
    let asked = asked(store);
    let heads = asked.iter().filter(|asked| *asked == HEAD).count();
    let is_read = |asked: &&String| asked.starts_with("GET") && !asked.contains(":t");
    (u32::try_from(heads).unwrap(), asked.iter().filter(is_read).count())
}

/// How often one object alone would ask in so many intervals, which jitter shortens by a tenth at most.
fn alone(intervals: u32) -> RangeInclusive<u32> {
    intervals - 1..=intervals * 10 / 9 + 1
}

/// A registry without any image yet.
async fn nothing() -> (Clock, Store, Shared<Store>, Vec<Run>) {
    advance(Duration::from_hours(2)).await;
    let (clock, store) = (Clock { start: Instant::now() }, Store::new());
    let shared = Shared::new(store.clone(), MIB, Arc::new(|_| {}));
    (clock, store, shared, objects())
}

/// Objects that came at once, and were run one after the other.
async fn begin() -> (Clock, Store, Shared<Store>, Vec<Run>) {
    let (clock, store, shared, mut objects) = nothing().await;
    push_base(&store, "");
    let seen = Instant::now();
    for run in &mut objects {
        advance(Duration::from_secs(1)).await;
        run.begin(&clock, &shared, seen).await;
        assert_eq!(run.object.ready().0, "Succeeded");
    }
    (clock, store, shared, objects)
}

/// As often as the object with the shortest interval would ask by itself: once in an interval, which
/// jitter shortens by a tenth at most.
#[tokio::test(start_paused = true)]
async fn one_source_is_asked_for_once_an_interval() {
    let (clock, store, shared, mut objects) = begin().await;
    assert_eq!(counted(&store), (0, 2), "the manifest and the config, for all of them");
    let mut runs = 0;
    for (interval, expected) in [(LONG, 10), (SHORT, 20)] {
        let of = |n| if n == 0 { interval } else { LONG };
        // What is known from before is too old by then.
        advance(LONG).await;
        let end = Instant::now() + 10 * LONG;
        live(&clock, &shared, &mut objects, of, end, |_, _| runs += 1).await;
        let (heads, _) = counted(&store);
        assert!(alone(expected).contains(&heads), "{heads} in {expected}");
    }
    assert!(runs >= 2 * 10 * OBJECTS, "{runs}");
}

/// Nobody who shares knows of news later than an interval after whoever asked does.
#[tokio::test(start_paused = true)]
async fn news_reach_everybody_within_two_intervals() {
    let (clock, store, shared, mut objects) = begin().await;
    let mut dice = fastrand::Rng::with_seed(11);
    for change in 0..8 {
        let end = Instant::now() + LONG + LONG.mul_f64(dice.f64());
        live(&clock, &shared, &mut objects, |_| LONG, end, |_, _| {}).await;
        let news = push_base(&store, &change.to_string());
        let (changed, mut seen) = (Instant::now(), vec![None; OBJECTS]);
        let end = Instant::now() + 3 * LONG;
        store.forget();
        live(
            &clock,
            &shared,
            &mut objects,
            |_| LONG,
            end,
            |n, object| {
                if object.status.digest.as_ref() == Some(&news) {
                    seen[n].get_or_insert(changed.elapsed());
                }
            },
        )
        .await;
        let last = seen.iter().map(|seen| seen.expect("not seen at all")).max();
        // The first look within an interval, by an answer that may be older than the news; the second
        // one an interval later by one that is not.
        assert!(last.is_some_and(|last| last <= LONG.mul_f64(1.9)), "{last:?}");
        let (heads, reads) = counted(&store);
        assert!(alone(3).contains(&heads), "{heads}: as often as without news");
        assert_eq!(reads, 2, "the new manifest and its config, for all of them");
    }
}

/// A failure hides whether HEADs are enough, so everything is read: of what is kept, by HEADs.
#[tokio::test(start_paused = true)]
async fn after_a_failure_what_is_kept_is_looked_at() {
    let (clock, store, shared, mut objects) = begin().await;
    let run = async |run: &mut Run| {
        advance(LONG).await;
        asked(&store);
        run.again(&clock, &shared, LONG).await;
        asked(&store)
    };
    for _ in 0..2 {
        store.fail(
            |_| true,
            |request| RegistryError::RateLimited {
                host: "r.example".into(),
                request: request.clone(),
                retry_after: None,
            },
        );
        run(&mut objects[0]).await;
        assert_eq!(objects[0].object.ready().0, "RateLimited");
        store.mend();
        let again = run(&mut objects[0]).await;
        assert_eq!(objects[0].object.ready().0, "Succeeded");
        assert_eq!(again, [HEAD.to_owned(), "HEAD manifest team/app:t0".to_owned()]);
    }
}

/// What is not there yet is asked for as what is there, and whoever waits for it has it within two intervals.
#[tokio::test(start_paused = true)]
async fn what_all_wait_for_is_asked_for_once_an_interval() {
    let (clock, store, shared, mut objects) = nothing().await;
    let seen = Instant::now();
    for run in &mut objects {
        advance(Duration::from_secs(1)).await;
        run.begin(&clock, &shared, seen).await;
        assert_eq!(run.object.ready().0, "WaitingForPlatforms");
    }
    assert_eq!(counted(&store), (0, 1), "for all of them");
    advance(LONG).await;
    let end = Instant::now() + 10 * LONG;
    live(&clock, &shared, &mut objects, |_| LONG, end, |_, _| {}).await;
    let (heads, reads) = counted(&store);
    assert!(alone(10).contains(&heads), "{heads}");
    assert_eq!(reads, 0);

    let digest = push_base(&store, "");
    let (came, mut seen) = (Instant::now(), vec![None; OBJECTS]);
    let end = Instant::now() + 3 * LONG;
    let see = |n: usize, object: &Object| {
        if object.status.digest.as_ref() == Some(&digest) {
            seen[n].get_or_insert(came.elapsed());
        }
    };
    live(&clock, &shared, &mut objects, |_| LONG, end, see).await;
    let last = seen.iter().map(|seen| seen.expect("not seen at all")).max();
    assert!(last.is_some_and(|last| last <= LONG.mul_f64(1.9)), "{last:?}");
    let (heads, reads) = counted(&store);
    assert!(alone(3).contains(&heads), "{heads}");
    assert_eq!(reads, 2);
}

/// What is gone is acted upon, so that everybody looks for it.
#[tokio::test(start_paused = true)]
async fn that_something_is_gone_is_seen_by_everybody() {
    let (clock, store, shared, mut objects) = begin().await;
    advance(LONG).await;
    store.delete_tag(PATH, "base");
    counted(&store);
    for run in &mut objects[..10] {
        run.again(&clock, &shared, LONG).await;
    }
    let (heads, _) = counted(&store);
    assert!(heads >= 10, "{heads}");
}

/// Whoever comes, or edits, means what is there by then, and not what others were told before.
#[tokio::test(start_paused = true)]
async fn an_edit_is_of_what_is_there_since() {
    let (clock, store, shared, mut objects) = begin().await;
    let news = push_base(&store, "news");
    let old = objects[0].digest();
    advance(Duration::from_secs(1)).await;
    objects[0].again(&clock, &shared, LONG).await;
    assert_eq!(objects[0].digest(), old, "what was asked a moment ago");
    objects[1].begin(&clock, &shared, Instant::now()).await;
    assert_eq!(objects[1].digest(), news);
}

/// An answer of before what an object knows takes it nowhere: another process has looked since, say, and led meanwhile.
#[tokio::test(start_paused = true)]
async fn nobody_is_taken_back_by_an_older_answer() {
    let (clock, store, shared, mut objects) = begin().await;
    advance(LONG).await;
    objects[0].again(&clock, &shared, LONG).await;
    advance(Duration::from_secs(1)).await;
    let news = push_base(&store, "news");
    let other = Shared::new(store.clone(), MIB, Arc::new(|_| {}));
    objects[1].again(&clock, &other, LONG).await;
    assert_eq!(objects[1].digest(), news);
    advance(Duration::from_secs(1)).await;
    objects[1].again(&clock, &shared, LONG).await;
    assert_eq!(objects[1].digest(), news);
}
