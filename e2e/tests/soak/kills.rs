//! Killed at any moment of a publish, the operator leaves a tag that is absent, old and whole, or new and whole, and goes on where it was.

use std::{collections::BTreeMap, env, fmt, time::Instant};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_some},
    images::Image,
    proxy::{Proxy, open_uploads},
    registry::{Registry, Whole},
    scale::{scale, tell},
    scenario::{scenario_of_two_stores, tag_of},
    spec::{Report, Spec},
};
use serde_json::json;

const PLATFORMS: [&str; 7] = [
    "linux/386",
    "linux/amd64",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64",
    "linux/ppc64le",
    "linux/s390x",
];

/// How many blobs are on their way at once.
const BLOBS_AT_ONCE: usize = 4;

/// What was found under the tag right after a kill.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Found {
    Absent,
    Old,
    New,
}

/// What one kill has shown.
struct Kill {
    /// The request that it came with, of how many.
    at: usize,
    of: usize,
    found: Found,
    /// Uploads that the registry holds open since, and those that were on their way.
    left: usize,
    under_way: usize,
    /// Until the object was as it should be, from the next start.
    seconds: f64,
}

#[tokio::test(flavor = "multi_thread")]
async fn at_any_moment_a_tag_is_whole() -> Result<()> {
    let seed = match env::var("MULTIARCH_SEED") {
        Ok(seed) => seed.parse().context("MULTIARCH_SEED is no number")?,
        Err(_) => fastrand::u64(..),
    };
    tell(&format!("kills: MULTIARCH_SEED={seed}"));
    let mut random = Rng::with_seed(seed);
    scenario_of_two_stores(async |s, elsewhere| {
        // Undisturbed: how many requests there are to be killed at.
        let mut honest = [0; 2];
        for (version, requests) in honest.iter_mut().enumerate() {
            let spec = build(s, elsewhere, "honest", &format!("honest {version}")).await?;
            s.apply_until(&spec.0, "True/Succeeded").await?;
            *requests = count(s, elsewhere);
            forget(s, elsewhere);
        }
        ensure!(s.registry.uploads()? == 0, "uploads are left behind undisturbed");
        let mut kills = Vec::new();
        for n in 0..scale(100, 10) {
            // A free tag, and then the next version of it.
            let name = format!("app-{}", n / 2);
            let of = honest[n % 2];
            let at = random.usize(1..=of);
            let kill = kill(s, elsewhere, &name, &format!("version {n}"), (at, of)).await;
            kills.push(kill.with_context(|| format!("kill {n}, at request {at} of {of}"))?);
        }
        tell(&table(&kills));
        Ok(())
    })
    .await
}

/// Publishes `version` as `name` and kills the operator when it makes its `at`th request.
async fn kill(
    s: &mut Scenario,
    elsewhere: &Registry,
    name: &str,
    version: &str,
    (at, of): (usize, usize),
) -> Result<Kill> {
    let target = format!("team/{name}:1");
    let old = s.registry.whole(&target).await?;
    let (spec, expected) = build(s, elsewhere, name, version).await?;
    let uploads = s.registry.uploads()?;
    forget(s, elsewhere);
    s.apply(&spec).await?;
    {
        let done = async || {
            let image = s.until_ready(name, "True/Succeeded").await?;
            // Of the version before it was so, too.
            let whole = s.registry.whole(&target).await?;
            ensure!(whole.is_some_and(|whole| whole.digest == image.digest()), "another digest");
            Ok(())
        };
        let mut done = std::pin::pin!(done());
        loop {
            let (here, there) = (s.registry.proxy.next_request(), elsewhere.proxy.next_request());
            if count(s, elsewhere) >= at {
                break;
            }
            tokio::select! {
                () = here => {}
                () = there => {}
                // With fewer requests than the first one took: then it is killed after its end.
                ended = &mut done => { ended?; break; }
            }
        }
    }
    s.operator.kill().await?;
    settled(&s.registry.proxy).await?;
    settled(&elsewhere.proxy).await?;
    let under_way = open_uploads(&s.registry.proxy.seen());
    let left = s.registry.uploads()?.saturating_sub(uploads);
    let found = found(s.registry.whole(&target).await?, old.as_ref(), &expected)?;
    ensure!(left <= under_way, "{left} uploads are left of {under_way} that were under way");
    ensure!(under_way <= BLOBS_AT_ONCE, "{under_way} uploads were under way");

    let started = Instant::now();
    s.operator.restart().await?;
    let image = s.until_ready(name, "True/Succeeded").await?;
    let seconds = started.elapsed().as_secs_f64();
    let whole = s.registry.whole(&target).await?.context("there is no tag")?;
    ensure!(whole.images == expected, "in the end it has {:?}", whole.images);
    ensure!(whole.digest == image.digest(), "status says {}", image.digest());
    let ended = async || Ok((s.registry.uploads()? <= uploads + under_way).then_some(()));
    await_some("the run that ended by itself leaves no upload", SOON, ended).await?;
    Ok(Kill { at, of, found, left, under_way, seconds })
}

/// What `whole` is, which is nothing else.
fn found(
    whole: Option<Whole>,
    old: Option<&Whole>,
    new: &BTreeMap<String, String>,
) -> Result<Found> {
    match (whole, old) {
        (None, None) => Ok(Found::Absent),
        (Some(whole), _) if whole.images == *new => Ok(Found::New),
        (Some(whole), Some(old)) if whole == *old => Ok(Found::Old),
        (whole, old) => anyhow::bail!("the tag names {whole:?}, and named {old:?}"),
    }
}

/// Waits until the registry has done what it was asked.
async fn settled(proxy: &Proxy) -> Result<()> {
    let nothing = async || Ok((proxy.at_work() == 0).then_some(()));
    await_some("nothing is at work", SOON, nothing).await
}

fn count(s: &Scenario, elsewhere: &Registry) -> usize {
    s.registry.proxy.count() + elsewhere.proxy.count()
}

fn forget(s: &Scenario, elsewhere: &Registry) {
    s.registry.proxy.forget();
    elsewhere.proxy.forget();
}

/// Pushes `version` for all platforms elsewhere; the object that copies it, and what it has in the end.
async fn build(
    s: &Scenario,
    elsewhere: &Registry,
    name: &str,
    version: &str,
) -> Result<(Spec, BTreeMap<String, String>)> {
    let mut spec = Spec::new(&s.registry, name, &format!("team/{name}:1"));
    let mut expected = BTreeMap::new();
    let build = version.replace(' ', "-");
    for platform in PLATFORMS {
        let layers = [
            "certificates for all".into(),
            format!("the runtime of {name} for {platform}"),
            format!("{version} of {name} for {platform}"),
        ];
        let image = Image::layered(platform, &layers.each_ref().map(String::as_str))?;
        let tag = tag_of(&format!("build/{name}:{build}"), platform);
        elsewhere.push(&tag, &image).await?;
        let source = platform.replace('/', "-");
        spec = spec.source_in(elsewhere, &source, &tag, &[platform], json!({}));
        expected.insert(platform.to_owned(), image.digest());
    }
    Ok((spec, expected))
}

fn table(kills: &[Kill]) -> String {
    let mut lines: Vec<_> = kills.iter().map(ToString::to_string).collect();
    let of = |found| kills.iter().filter(|kill| kill.found == found).count();
    lines.push(format!(
        "{} kills: absent {}, old and whole {}, new and whole {}; uploads left {}, under way {}; at most {:.1} s to the end",
        kills.len(),
        of(Found::Absent),
        of(Found::Old),
        of(Found::New),
        kills.iter().map(|kill| kill.left).sum::<usize>(),
        kills.iter().map(|kill| kill.under_way).sum::<usize>(),
        kills.iter().map(|kill| kill.seconds).fold(0.0, f64::max),
    ));
    lines.join("\n")
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, of, found, left, under_way, seconds } = self;
        write!(
            f,
            "killed at request {at:>3} of {of}: the tag is {found:<6?}  uploads left {left} of {under_way}  done after {seconds:.1} s",
        )
    }
}
