//! The clock is set, back or forth: what was dated by the wrong one holds nothing up for ever.

use jiff::SignedDuration;
use rstest::rstest;

use crate::world::*;

const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Published while the clock was a year ahead, and looked at by the right one.
#[tokio::test(start_paused = true)]
async fn what_was_pushed_in_the_future_is_no_lag() {
    let mut world = World::pair();
    world.now += YEAR;
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world.now -= YEAR;
    let published = world.tagged();
    world.push_foreign(&["linux/amd64"]);
    world.run().await;
    world.assert_ready("False", "DriftDetected");
    world.later(1);
    assert_eq!(world.run().await.events, ["DriftCorrected"]);
    assert_eq!(world.tagged(), published);
}

/// The clock of the next leader is a minute behind: what the last one has just pushed may lag all the same.
#[tokio::test(start_paused = true)]
async fn clocks_of_two_replicas_differ_a_little() {
    let mut world = World::published().await;
    let old = world.tagged().unwrap();
    world.move_to("amd64", "linux/amd64", "2");
    world.run().await;
    world.store.tag(PATH, TAG, old.digest());
    world.later(-1);
    world.run().await.assert_idle(3);
}

/// A push that is not seen is repeated, also when the clock jumps while it is waited for.
#[rstest]
#[case::forth(YEAR)]
#[case::back(-YEAR)]
#[tokio::test(start_paused = true)]
async fn a_push_that_was_not_seen_is_not_waited_for_for_ever(#[case] jump: SignedDuration) {
    let mut world = World::pair();
    world.lag(usize::MAX);
    assert_eq!(world.run().await.count("PUT"), 1);
    world.assert_ready("Unknown", "ReadingBack");
    world.now += jump;
    assert_eq!(world.run().await.count("PUT"), 1, "it is pushed again");
    world.store.mend();
    let (digest, tag) = world.pushed_elsewhere();
    world.store.tag(PATH, &tag, &digest);
    world.now += SignedDuration::from_secs(5);
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

/// Tags that were put back tomorrow do not count today.
#[tokio::test(start_paused = true)]
async fn corrections_of_the_future_do_not_count() {
    let mut world = World::published().await;
    world.now += YEAR;
    for round in 0..6 {
        world.later(5);
        world.push_foreign(&["linux/amd64"]);
        world.run().await;
        world.assert_ready("False", "DriftDetected");
        world.later(1);
        assert_eq!(world.run().await.events, ["DriftCorrected"], "{round}");
        if round == 2 {
            world.now -= YEAR;
        }
    }
}
