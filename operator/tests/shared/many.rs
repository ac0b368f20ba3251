//! Many objects that name one source, run as the controller does it: how often it is asked for, and how soon they know what is new.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc, time::Duration};

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
fn objects(store: &Store) -> Vec<Object> {
    store.push(PATH, Some("base"), &Image::of("linux/amd64"));
    let base = format!("r.example/{PATH}:base");
    let object = |n| Object::new(&format!("r.example/{PATH}:t{n}"), std::slice::from_ref(&base));
    (0..OBJECTS).map(object).collect()
}

/// Runs `objects` as their intervals want it until `end`, and calls `after` each run.
async fn live(
    clock: &Clock,
    shared: &Shared<Store>,
    objects: &mut [Object],
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
        let since = Since::interval(Instant::now(), interval(n));
        objects[n].run_at(clock.now(), shared, since).await;
        after(n, &objects[n]);
        let delay = backoff::delay(Retry::Interval, 0, interval(n), dice.f64());
        next.push(Reverse((Instant::now() + delay, n)));
    }
    clock.until(end).await;
}

fn heads(store: &Store) -> u32 {
    u32::try_from(asked(store).iter().filter(|asked| *asked == HEAD).count()).unwrap()
}

/// The manifests and configs that were read, but for what the objects' own tags named.
fn reads(store: &Store) -> usize {
    let is_read = |asked: &&String| asked.starts_with("GET") && !asked.contains(":t");
    asked(store).iter().filter(is_read).count()
}

async fn begin() -> (Clock, Store, Shared<Store>, Vec<Object>) {
    advance(Duration::from_hours(2)).await;
    let (clock, store) = (Clock { start: Instant::now() }, Store::new());
    let shared = Shared::new(store.clone(), MIB, Arc::new(|_| {}));
    let mut objects = objects(&store);
    for object in &mut objects {
        object.run_at(clock.now(), &shared, Since::anew(Instant::now())).await;
        assert_eq!(object.ready().0, "Succeeded");
    }
    (clock, store, shared, objects)
}

/// As often as the object with the shortest interval would ask by itself: once in an interval, which
/// jitter shortens by a tenth at most.
#[tokio::test(start_paused = true)]
async fn one_source_is_asked_for_once_an_interval() {
    let (clock, store, shared, mut objects) = begin().await;
    assert_eq!(reads(&store), 2, "the manifest and the config, for all of them");
    let mut runs = 0;
    for (interval, expected) in [(LONG, 10), (SHORT, 20)] {
        let of = |n| if n == 0 { interval } else { LONG };
        // What is known from before is too old by then.
        advance(LONG).await;
        let end = Instant::now() + 10 * LONG;
        live(&clock, &shared, &mut objects, of, end, |_, _| runs += 1).await;
        let heads = heads(&store);
        assert!((expected - 1..=expected * 10 / 9 + 1).contains(&heads), "{heads} in {expected}");
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
        let image = Image::of("linux/amd64").salted(&change.to_string());
        let news = store.push(PATH, Some("base"), &image).digest.to_string();
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
        // Between a look at the old and the next one is an interval, and the first look of `live`
        // is up to one interval late.
        assert!(last.is_some_and(|last| last <= LONG.mul_f64(1.9)), "{last:?}");
        assert_eq!(reads(&store), 2, "the new manifest and its config, for all of them");
    }
}

/// A failure hides whether HEADs are enough, so everything is read: of what is kept, by HEADs.
#[tokio::test(start_paused = true)]
async fn after_a_failure_what_is_kept_is_looked_at() {
    let (clock, store, shared, mut objects) = begin().await;
    let run = async |object: &mut Object| {
        advance(LONG).await;
        asked(&store);
        object.run_at(clock.now(), &shared, Since::interval(Instant::now(), LONG)).await;
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
        assert_eq!(objects[0].ready().0, "RateLimited");
        store.mend();
        let again = run(&mut objects[0]).await;
        assert_eq!(objects[0].ready().0, "Succeeded");
        assert_eq!(again, [HEAD.to_owned(), "HEAD manifest team/app:t0".to_owned()]);
    }
}

/// What another one was told says that nothing changed, and is not enough to publish by.
#[tokio::test(start_paused = true)]
async fn what_is_done_is_done_on_ones_own_answers() {
    let (clock, store, shared, mut objects) = begin().await;
    // An answer of before, that one object has acted on, and that is true no more.
    advance(LONG).await;
    store.push(PATH, Some("base"), &Image::of("linux/amd64").salted("first"));
    let mut run = async |n: usize| {
        objects[n].run_at(clock.now(), &shared, Since::interval(Instant::now(), LONG)).await;
        objects[n].status.digest.clone().unwrap()
    };
    run(0).await;
    advance(Duration::from_mins(1)).await;
    let now = store.push(PATH, Some("base"), &Image::of("linux/amd64").salted("second"));
    asked(&store);
    assert_eq!(run(1).await, now.digest.to_string());
    assert_eq!(heads(&store), 1);
}
