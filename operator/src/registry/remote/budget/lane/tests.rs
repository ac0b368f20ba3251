//! One host and one identity: what goes at once, what goes in a second, and who is next.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn object(n: u64) -> Object {
    Object::of(&n)
}

fn lane() -> Lane {
    Lane::new(Most::new(8, 20.0))
}

/// Asks so many times, and tells how many places were given at once.
fn given(lane: &mut Lane, of: u64, kind: Kind, times: usize, now: Instant) -> usize {
    let asked: Vec<_> = (0..times).map(|_| lane.ask(object(of), kind)).collect();
    lane.turn(now, Now::default());
    asked.iter().filter(|ticket| lane.given(**ticket).is_some()).count()
}

#[test]
fn places_are_left_for_objects_that_have_none() {
    let (mut lane, now) = (lane(), Instant::now());
    assert_eq!(given(&mut lane, 1, Kind::Request, 10, now), 6);
    assert_eq!(given(&mut lane, 2, Kind::Request, 10, now), 1);
    assert_eq!(given(&mut lane, 3, Kind::Request, 10, now), 1);
    assert_eq!(given(&mut lane, 4, Kind::Request, 10, now), 0, "eight at once");
}

/// However many blobs there are, whatever else is asked has places.
#[test]
fn uploads_never_have_all_places() {
    let (mut lane, now) = (lane(), Instant::now());
    assert_eq!(given(&mut lane, 1, Kind::Upload, 1000, now), 4);
    assert_eq!(given(&mut lane, 2, Kind::Upload, 1000, now), 1, "its first begins at once");
    assert_eq!(given(&mut lane, 3, Kind::Upload, 1000, now), 1);
    assert_eq!(given(&mut lane, 4, Kind::Upload, 1000, now), 0, "two places are for other things");
    assert_eq!(given(&mut lane, 1, Kind::Request, 5, now), 1, "also of those that upload");
    assert_eq!(given(&mut lane, 5, Kind::Request, 5, now), 1);
    assert_eq!(given(&mut lane, 1, Kind::Within, 5, now), 5, "an upload needs no second place");
}

#[rstest]
#[case::docker_hub(4, 3, 2)]
#[case::two(2, 1, 1)]
#[case::never_less_than_two(1, 1, 1)]
fn fewer_places(#[case] at_once: usize, #[case] requests: usize, #[case] uploads: usize) {
    let now = Instant::now();
    let mut lane = Lane::new(Most::new(at_once, 20.0));
    assert_eq!(given(&mut lane, 1, Kind::Request, 9, now), requests);
    let mut lane = Lane::new(Most::new(at_once, 20.0));
    assert_eq!(given(&mut lane, 1, Kind::Upload, 9, now), uploads);
    assert_eq!(given(&mut lane, 1, Kind::Request, 9, now), 1, "the source's GET of the same blob");
}

#[rstest]
#[case(20.0, 20, 1000)]
#[case(5.0, 5, 1000)]
#[case(7.5, 7, 933)]
#[case(0.5, 1, 2000)]
#[case(1e9, 1_000_000, 1)]
fn so_many_in_a_span(#[case] a_second: f64, #[case] sent: usize, #[case] millis: u128) {
    let most = Most::new(8, a_second);
    assert_eq!((most.sent, most.span.as_millis()), (sent, millis));
}

#[test]
fn what_was_not_sent_is_anothers_to_send() {
    let (mut lane, now) = (Lane::new(Most::new(8, 1.0)), Instant::now());
    let (first, second) = (lane.ask(object(1), Kind::Request), lane.ask(object(2), Kind::Request));
    assert!(lane.turn(now, Now::default()));
    assert!(lane.given(first).is_some() && lane.given(second).is_none());
    assert_eq!(lane.next(now), Some(now + SECOND));
    lane.leave(first, true);
    assert!(lane.turn(now, Now::default()));
    assert!(lane.given(second).is_some());
    lane.leave(second, false);
    let third = lane.ask(object(1), Kind::Request);
    assert!(!lane.turn(now, Now::default()));
    assert!(lane.turn(now + SECOND, Now::default()));
    lane.leave(third, false);
    assert!(lane.is_free() && !lane.is_idle(now + SECOND) && lane.is_idle(now + 2 * SECOND));
}

#[test]
fn a_pause_holds_all_but_what_cleans_up() {
    let (mut lane, now) = (lane(), Instant::now());
    let held = Now { held: true, ..Now::default() };
    let kinds = [Kind::Request, Kind::Pull, Kind::Within, Kind::Cleanup];
    let asked = kinds.map(|kind| lane.ask(object(1), kind));
    lane.turn(now, held);
    assert_eq!(asked.map(|ticket| lane.given(ticket).is_some()), [false, false, false, true]);
    lane.turn(now, Now::default());
    assert!(asked.iter().all(|ticket| lane.given(*ticket).is_some()));
}

#[test]
fn pulls_go_apart_while_few_are_left_and_nothing_else_waits_for_them() {
    let (mut lane, now) = (lane(), Instant::now());
    let few = Now { apart: Some(5 * SECOND), ..Now::default() };
    let (first, second) = (lane.ask(object(1), Kind::Pull), lane.ask(object(1), Kind::Pull));
    let other = lane.ask(object(1), Kind::Request);
    lane.turn(now, few);
    assert!(lane.given(first).is_some() && lane.given(second).is_none());
    assert!(lane.given(other).is_some());
    assert_eq!(lane.next(now), Some(now + 5 * SECOND));
    lane.turn(now + 4 * SECOND, few);
    assert!(lane.given(second).is_none());
    lane.turn(now + 5 * SECOND, few);
    assert!(lane.given(second).is_some());
}

/// Where none is left, those that wait for one have no place: whatever costs none has.
#[test]
fn pulls_have_no_place_while_none_is_left() {
    let (mut lane, now) = (lane(), Instant::now());
    let none = Now { no_pulls: true, ..Now::default() };
    let pulls: Vec<_> = (0..8).map(|n| lane.ask(object(n), Kind::Pull)).collect();
    let heads: Vec<_> = (0..8).map(|n| lane.ask(object(n), Kind::Request)).collect();
    lane.turn(now, none);
    assert!(pulls.iter().all(|ticket| lane.given(*ticket).is_none()));
    assert!(heads.iter().all(|ticket| lane.given(*ticket).is_some()));
}

/// One object asks for a thousand things, and two others for one each a moment later: they are next.
#[test]
fn turns_are_by_object() {
    let (mut lane, now) = (Lane::new(Most::new(2, 1.0)), Instant::now());
    let many: Vec<_> = (0..1000).map(|_| lane.ask(object(1), Kind::Request)).collect();
    lane.turn(now, Now::default());
    let few = [2, 3].map(|of| lane.ask(object(of), Kind::Request));
    let mut given = Vec::new();
    let mut last = many[0];
    for second in 1..=4 {
        lane.leave(last, false);
        lane.turn(now + second * SECOND, Now::default());
        let new = many
            .iter()
            .chain(&few)
            .find(|ticket| lane.given(**ticket) == Some(now + second * SECOND));
        last = *new.unwrap();
        given.push(if few.contains(&last) { "few" } else { "many" });
    }
    assert_eq!(given, ["many", "few", "few", "many"], "whoever waited first, and then in turn");
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u64, usize),
    /// Of those places that are given or waited for, one.
    Leave(prop::sample::Index, bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u64, 0..5_usize).prop_map(|(of, kind)| Step::Ask(of, kind)),
        3 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(at, unused)| Step::Leave(at, unused)),
        2 => (1..400_u64).prop_map(Step::Wait),
    ]
}

const KINDS: [Kind; 5] = [Kind::Request, Kind::Pull, Kind::Cleanup, Kind::Upload, Kind::Within];

proptest! {
    /// Never more at once, never more in a span, never an upload in the last places; and nobody waits
    /// for what is there.
    #[test]
    fn laws(
        at_once in 2..10_usize,
        a_second in 1..8_u32,
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let most = Most::new(at_once, f64::from(a_second));
        let (mut lane, begun) = (Lane::new(most), Instant::now());
        let (mut now, mut held) = (begun, Vec::new());
        // What really went, by when.
        let mut went: Vec<Instant> = Vec::new();
        for step in steps {
            match step {
                Step::Ask(of, kind) => held.push((lane.ask(object(of), KINDS[kind]), KINDS[kind], of)),
                Step::Leave(at, unused) if !held.is_empty() => {
                    let (ticket, kind, _) = held.remove(at.index(held.len()));
                    if let Some(given) = lane.given(ticket).filter(|_| unused && kind != Kind::Upload) {
                        let at = went.iter().rposition(|then| *then == given).unwrap();
                        went.remove(at);
                    }
                    lane.leave(ticket, unused);
                }
                Step::Leave(..) => {}
                Step::Wait(millis) => now += Duration::from_millis(millis),
            }
            let waited: Vec<_> = held.iter().filter(|(t, ..)| lane.given(*t).is_none()).map(|(t, kind, _)| (*t, *kind)).collect();
            lane.turn(now, Now::default());
            let new = waited.iter().filter(|(t, kind)| lane.given(*t).is_some() && *kind != Kind::Upload);
            went.extend(new.map(|_| now));

            let has = |kinds: &[Kind]| held.iter().filter(|(t, kind, _)| lane.given(*t).is_some() && kinds.contains(kind)).count();
            let (requests, uploads) = (has(&KINDS[..3]), has(&[Kind::Upload]));
            prop_assert!(requests + uploads <= at_once);
            prop_assert!(uploads <= most.first_uploads() && uploads < at_once);
            let lately = went.iter().filter(|then| now - **then < most.span).count();
            prop_assert!(lately <= most.sent, "{} in {:?}", lately, most.span);
            for (ticket, kind, of) in &held {
                if lane.given(*ticket).is_none() {
                    prop_assert!(!lane.may(object(*of), *kind, now, Now::default()));
                }
            }
            // Whoever has nothing waits for the others only where all places are taken.
            if lately < most.sent && requests + uploads < at_once {
                for of in 0..4 {
                    let mine = |given: bool| held.iter().filter(|(t, kind, who)| *who == of && KINDS[..3].contains(kind) && lane.given(*t).is_some() == given).count();
                    prop_assert!(mine(true) > 0 || mine(false) == 0);
                }
            }
        }
        for (ticket, ..) in held {
            lane.leave(ticket, false);
        }
        prop_assert!(lane.is_free() && lane.turns.is_empty() && lane.waiting.is_empty() && lane.used.is_empty());
        prop_assert_eq!(lane.all, Used::default());
    }
}
