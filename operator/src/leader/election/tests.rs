//! What one process does about the Lease, and that of several never two lead at once.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const TIMING: Timing = Timing {
    lease: Duration::from_secs(15),
    renew: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};
const DATE: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn election(identity: &str) -> Election {
    Election::new("leader".into(), identity.into(), TIMING)
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The Lease of `holder`, who renewed it at `date` and says that this lasts for `lasts`.
fn lease(holder: Option<&str>, date: i64, lasts: Option<i32>) -> Lease {
    let date = Timestamp::from_second(date).unwrap();
    let spec = LeaseSpec {
        holder_identity: holder.map(Into::into),
        lease_duration_seconds: lasts,
        acquire_time: Some(MicroTime(DATE)),
        renew_time: Some(MicroTime(date)),
        lease_transitions: Some(3),
        ..LeaseSpec::default()
    };
    let metadata = ObjectMeta {
        name: Some("leader".into()),
        resource_version: Some("7".into()),
        ..ObjectMeta::default()
    };
    Lease { metadata, spec: Some(spec) }
}

#[rstest]
#[case::nobodys(None, Some(15), 0, true)]
#[case::released(Some(""), Some(1), 0, true)]
#[case::mine(Some("me"), Some(15), 0, true)]
#[case::theirs(Some("other"), Some(15), 14, false)]
#[case::run_out(Some("other"), Some(15), 15, true)]
#[case::they_say_for_how_long(Some("other"), Some(60), 59, false)]
#[case::and_then_it_ends(Some("other"), Some(60), 60, true)]
#[case::they_do_not_say(Some("other"), None, 14, false)]
#[case::nonsense(Some("other"), Some(-1), 14, false)]
fn takes_what_nobody_holds(
    #[case] holder: Option<&str>,
    #[case] lasts: Option<i32>,
    #[case] later: u64,
    #[case] takes: bool,
) {
    let mut me = election("me");
    me.see(Some(lease(holder, 1, lasts)), at(100));
    let act = me.act(at(100 + later), DATE);
    assert_eq!(matches!(act, Act::Replace(_)), takes, "{act:?}");
    assert_eq!(act == Act::Wait, !takes);
}

#[test]
fn makes_the_lease_where_there_is_none() {
    let Act::Create(made) = election("me").act(at(0), DATE) else { panic!("it waits") };
    assert_eq!(made.metadata.name.as_deref(), Some("leader"));
    let spec = made.spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("me"));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(0)));
    assert_eq!(
        (spec.acquire_time, spec.renew_time),
        (Some(MicroTime(DATE)), Some(MicroTime(DATE)))
    );
}

/// What the holder wrote counts from when it was seen here, whatever its date says.
#[test]
fn dates_of_others_are_no_clock() {
    let mut me = election("me");
    for (now, date) in [(0, 1), (10, 4_000_000_000), (20, 5)] {
        me.see(Some(lease(Some("other"), date, Some(15))), at(now));
        assert_eq!(me.act(at(now + 14), DATE), Act::Wait);
    }
    me.see(Some(lease(Some("other"), 5, Some(15))), at(34));
    assert!(matches!(me.act(at(35), DATE), Act::Replace(_)), "it is as it was at 20");
}

#[test]
fn who_labels_the_lease_does_not_renew_it() {
    let mut me = election("me");
    me.see(Some(lease(Some("other"), 1, Some(15))), at(0));
    let mut labelled = lease(Some("other"), 1, Some(15));
    labelled.metadata.resource_version = Some("8".into());
    me.see(Some(labelled), at(14));
    let Act::Replace(taken) = me.act(at(15), DATE) else { panic!("it waits") };
    assert_eq!(taken.metadata.resource_version.as_deref(), Some("8"), "over what is there");
}

#[test]
fn says_who_has_it_and_since_when() {
    let mut me = election("me");
    me.see(Some(lease(Some("other"), 1, Some(15))), at(0));
    assert_eq!((me.holder(), me.is_mine()), (Some("other"), false));
    let Act::Replace(taken) = me.act(at(15), DATE) else { panic!("it waits") };
    let spec = taken.spec.clone().unwrap();
    assert_eq!((spec.lease_transitions, spec.acquire_time), (Some(4), Some(MicroTime(DATE))));
    me.see(Some(taken), at(15));
    assert!(me.is_mine());
    let later = DATE + jiff::SignedDuration::from_secs(2);
    let Act::Replace(renewed) = me.act(at(17), later) else { panic!("it waits") };
    let spec = renewed.spec.unwrap();
    assert_eq!((spec.lease_transitions, spec.acquire_time), (Some(4), Some(MicroTime(DATE))));
    assert_eq!(spec.renew_time, Some(MicroTime(later)));
}

#[test]
fn releases_only_what_it_has() {
    let mut me = election("me");
    assert_eq!(me.release(DATE), None);
    me.see(Some(lease(Some("other"), 1, Some(15))), at(0));
    assert_eq!(me.release(DATE), None);
    me.see(Some(lease(Some("me"), 1, Some(15))), at(0));
    let released = me.release(DATE).unwrap();
    let mut other = election("other");
    other.see(Some(released.clone()), at(0));
    let spec = released.spec.unwrap();
    assert_eq!(spec.lease_duration_seconds, Some(1));
    assert!(matches!(other.act(at(0), DATE), Act::Replace(_)), "others take it at once");
}

/// From when it was sent: others may have seen it at any time since.
#[test]
fn works_until_the_deadline_of_its_last_renewal() {
    let mut me = election("me");
    assert_eq!(me.holds_until(), None);
    me.renewed(at(5));
    assert_eq!(me.holds_until(), Some(at(15)));
    me.step_down();
    assert_eq!(me.holds_until(), None);
}

#[rstest]
#[case(15, 10, 2, true)]
#[case(15, 15, 2, false)]
#[case(15, 2, 2, false)]
#[case(15, 10, 0, false)]
#[case(3_000_000_000, 10, 2, false)]
fn times_must_be_in_order(
    #[case] lease: u64,
    #[case] renew: u64,
    #[case] retry: u64,
    #[case] fits: bool,
) {
    let timing = Timing { lease: at(lease), renew: at(renew), retry: at(retry) };
    assert_eq!(timing.check().is_ok(), fits, "{:?}", timing.check());
}

#[test]
fn a_lease_has_whole_seconds() {
    let timing = Timing { lease: Duration::from_millis(15_500), ..TIMING };
    assert!(timing.check().unwrap_err().contains("whole seconds"));
}

/// One look at the Lease and one try to write it, with what the network does to them, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Try {
    pause: u64,
    /// Until the answer to the look is there.
    looked: u64,
    /// Until the write is there.
    arrives: u64,
    answered: u64,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Answered,
    NeverArrives,
    /// The process goes on without an answer, and the write arrives all the same.
    Unanswered,
    /// It leads, and writes without a look.
    Blind,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Look,
    Decide,
    Arrive,
    Answer,
}

fn tries() -> impl Strategy<Value = Vec<Try>> {
    let fate = prop_oneof![
        6 => Just(Fate::Answered),
        1 => Just(Fate::NeverArrives),
        1 => Just(Fate::Unanswered),
        3 => Just(Fate::Blind),
    ];
    let delay = || prop_oneof![8 => 0..500_u64, 1 => 0..20_000_u64];
    let one =
        (prop_oneof![8 => 1000..3000_u64, 1 => 0..40_000_u64], delay(), delay(), delay(), fate);
    let one = one.prop_map(|(pause, looked, arrives, answered, fate)| Try {
        pause,
        looked,
        arrives,
        answered,
        fate,
    });
    proptest::collection::vec(one, 1..40)
}

/// An API server with one Lease, which is written only over what was seen.
#[derive(Default)]
struct Server(Option<Lease>, u64);

impl Server {
    fn write(&mut self, act: &Act) -> Option<Lease> {
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        let mut lease = match (act, &self.0) {
            (Act::Create(lease), None) => lease.clone(),
            (Act::Replace(lease), Some(there)) if version(lease) == version(there) => lease.clone(),
            _ => return None,
        };
        self.1 += 1;
        lease.metadata.resource_version = Some(self.1.to_string());
        self.0 = Some(lease.clone());
        Some(lease)
    }
}

/// Who leads from when until when, as each believes it.
fn reigns(timing: Timing, processes: &[(u64, Vec<Try>)]) -> Vec<(usize, Duration, Duration)> {
    let mut steps = Vec::new();
    for (who, (_, tries)) in processes.iter().enumerate() {
        let mut now = 0;
        for (nth, one) in tries.iter().enumerate() {
            let look = now + one.pause;
            let decide = look + one.looked;
            let arrive = decide + one.arrives;
            let answer = arrive + one.answered;
            let at = [look, decide, arrive, answer];
            let kinds = [Step::Look, Step::Decide, Step::Arrive, Step::Answer];
            steps.extend(at.into_iter().zip(kinds).map(|(at, step)| (at, who, nth, step)));
            now = if one.fate == Fate::Unanswered { decide + 5000 } else { answer };
        }
    }
    steps.sort_by_key(|(at, who, nth, _)| (*at, *who, *nth));
    let mut server = Server::default();
    let stands = |who| Election::new("leader".into(), format!("process-{who}"), timing);
    let mut elections: Vec<_> = (0..processes.len()).map(stands).collect();
    let mut looked = vec![None; processes.len()];
    let mut written = std::collections::HashMap::new();
    let mut answers = std::collections::HashMap::new();
    let mut reigns: Vec<(usize, Duration, Duration)> = Vec::new();
    for (at, who, nth, step) in steps {
        let offset = processes[who].0;
        let now = Duration::from_millis(at + offset);
        let (me, one) = (&mut elections[who], processes[who].1[nth]);
        if me.holds_until().is_some_and(|until| until <= now) {
            me.step_down();
        }
        match step {
            Step::Look => looked[who] = Some(server.0.clone()),
            Step::Decide => {
                if !(one.fate == Fate::Blind && me.is_mine()) {
                    me.see(looked[who].take().unwrap(), now);
                }
                if !me.is_mine() {
                    me.step_down();
                }
                // Everybody's date is wrong in a way of its own.
                let date = DATE
                    + jiff::SignedDuration::from_millis(
                        i64::try_from(at / (offset % 7 + 1)).unwrap(),
                    );
                written.insert((who, nth), (me.act(now, date), now));
            }
            Step::Arrive if one.fate == Fate::NeverArrives => {}
            Step::Arrive => {
                // A process that went on has decided anew; what it sent before arrives as it was.
                let (act, _) = &written[&(who, nth)];
                answers.insert((who, nth), server.write(act));
            }
            Step::Answer => {
                let answer = answers.remove(&(who, nth)).flatten();
                let (Some(lease), Fate::Answered | Fate::Blind) = (answer, one.fate) else {
                    continue;
                };
                let sent = written[&(who, nth)].1;
                me.see(Some(lease), now);
                let before = me.holds_until();
                me.renewed(sent);
                let until = sent + timing.renew;
                let here = |time: Duration| time.saturating_sub(Duration::from_millis(offset));
                match reigns.iter_mut().rev().find(|reign| reign.0 == who) {
                    _ if until <= now => me.step_down(),
                    Some(reign) if before.is_some() => reign.2 = here(until),
                    _ => reigns.push((who, here(now), here(until))),
                }
            }
        }
        let me = &elections[who];
        // Who sees that another one has it stops at once.
        if me.holds_until().is_none()
            && let Some(reign) = reigns.iter_mut().rev().find(|reign| reign.0 == who)
        {
            reign.2 = reign.2.min(Duration::from_millis(at));
        }
    }
    reigns
}

/// Two reigns of which the second begins before the first ends.
fn two_at_once(
    mut reigns: Vec<(usize, Duration, Duration)>,
) -> Option<[(usize, Duration, Duration); 2]> {
    reigns.sort_by_key(|reign| reign.1);
    let two = reigns.windows(2).find(|pair| pair[1].1 < pair[0].2)?;
    Some([two[0], two[1]])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever the network does, and whatever the clocks say.
    #[test]
    fn never_two_lead_at_once(
        processes in proptest::collection::vec((0..1_000_000_u64, tries()), 2..4)
    ) {
        let two = two_at_once(reigns(TIMING, &processes));
        prop_assert_eq!(two, None);
    }
}

/// The first dies after some renewals, and the second tries for a minute.
fn succession(timing: Timing) -> Vec<(usize, Duration, Duration)> {
    let steady = Try { pause: 2000, looked: 10, arrives: 10, answered: 10, fate: Fate::Answered };
    reigns(timing, &[(0, vec![steady; 5]), (77_777, vec![steady; 30])])
}

/// The law above speaks of something.
#[test]
fn leaders_come_and_go() {
    let reigns = succession(TIMING);
    let [(first, _, end), (second, begin, _)] = reigns[..] else { panic!("{reigns:?}") };
    assert_eq!((first, second), (0, 1));
    assert!(begin >= end && begin <= end + Duration::from_secs(15), "{reigns:?}");
}

/// … and would be broken by times that are not in order.
#[test]
fn who_works_for_longer_than_others_wait_is_not_alone() {
    let timing = Timing { renew: Duration::from_secs(20), ..TIMING };
    assert!(timing.check().is_err());
    assert!(two_at_once(succession(timing)).is_some());
}
