//! Each operation with each fault, on a real API server and real registries: published and right, or an honest word, and few requests.

mod cases;
mod kind;
mod play;

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use multiarch_e2e::{scale::tell, scenario::scenario_of_two_stores};

use self::{
    cases::{Case, cases},
    kind::{Images, Kind},
    play::{PATIENCE, Played, play},
};
use crate::engine::{Engine, short};

/// How many cases are played at once.
const AT_ONCE: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_it_ends_right_or_says_what_is_wrong() -> Result<()> {
    scenario_of_two_stores(async |s, elsewhere| {
        let engine = Engine::start(&s.client, 64, short()).await?;
        let here = engine.objects().within(PATIENCE);
        let process = s.objects().within(PATIENCE);
        let images = Images::new()?;
        let registries = (elsewhere, &s.registry);
        let mut honest = BTreeMap::new();
        for kind in Kind::ALL {
            let name = format!("{kind:?}").to_lowercase();
            let played = play(registries, &here, &name, (kind, None), &images).await;
            honest.insert(kind, played.with_context(|| name)?.requests);
        }
        let cases = cases();
        let played =
            stream::iter(cases.iter().enumerate().map(|(n, case)| {
                let (images, name) = (&images, format!("case-{n}"));
                let objects = if is_of_the_process(n, case) { &process } else { &here };
                async move {
                    (n, play(registries, objects, &name, (case.kind, Some(case)), images).await)
                }
            }));
        let mut played: Vec<_> = played.buffer_unordered(AT_ONCE).collect().await;
        played.sort_by_key(|(n, _)| *n);
        let judged: Vec<_> = played
            .into_iter()
            .map(|(n, played)| (n, judge(&cases[n], honest[&cases[n].kind], played)))
            .collect();
        tell(&table(&cases, &honest, &judged));
        engine.namespace.delete().await?;
        let wrong = judged.iter().filter_map(|(n, (_, wrong))| Some((n, wrong.as_ref().err()?)));
        let wrong: Vec<_> = wrong.map(|(n, wrong)| format!("{n}: {wrong:#}")).collect();
        ensure!(wrong.is_empty(), "{} cases went wrong:\n{}", wrong.len(), wrong.join("\n\n"));
        Ok(())
    })
    .await
}

/// Every eighth is played by the operator's own process, where nothing waits for its limits of time, or is kept there and not
/// asked for again.
fn is_of_the_process(n: usize, case: &Case) -> bool {
    n % 8 == 1 && !case.is_slow() && !case.is_kept()
}

type Judged = (Option<Played>, Result<()>);

fn judge(case: &Case, honest: usize, played: Result<Played>) -> Judged {
    let played = match played {
        Ok(played) => played,
        Err(error) => return (None, Err(error)),
    };
    let limit = honest + case.more;
    let bounded = if played.disturbed == 0 {
        Err(anyhow::anyhow!("there was no trouble"))
    } else if played.requests > limit {
        Err(anyhow::anyhow!("{} requests, more than {limit}", played.requests))
    } else {
        Ok(())
    };
    (Some(played), bounded)
}

fn table(cases: &[Case], honest: &BTreeMap<Kind, usize>, judged: &[(usize, Judged)]) -> String {
    let mut lines = vec![format!(
        "{:>3} {:<8} {:<6} {:<26} {:<48} {:<42} {:>5} {:>5} {:>5} {:>5} {:>6}",
        "", "object", "at", "operation", "fault", "Ready", "times", "asked", "plain", "limit", "s"
    )];
    for (n, (played, wrong)) in judged {
        let case = &cases[*n];
        let (kind, side) = (format!("{:?}", case.kind), format!("{:?}", case.side));
        let plain = honest[&case.kind];
        let by = if is_of_the_process(*n, case) { "p" } else { " " };
        let mut line = format!(
            "{n:>3}{by}{kind:<8} {side:<6} {:<26} {:<48} ",
            case.rule.asked(),
            case.rule.to_string()
        );
        match played {
            Some(played) => {
                let _ = write!(
                    line,
                    "{:<42} {:>5} {:>5} {plain:>5} {:>5} {:>6.1}",
                    played.shown.join(", "),
                    played.disturbed,
                    played.requests,
                    plain + case.more,
                    played.elapsed.as_secs_f64()
                );
            }
            None => line += "-",
        }
        if wrong.is_err() {
            line += "  WRONG";
        }
        lines.push(line);
    }
    lines.join("\n")
}
