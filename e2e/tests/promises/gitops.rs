//! The page of GitOps keeps its word: each state that it lists is one that the operator wrote, and Argo CD, Flux and kstatus say of it what it says.

use std::time::Duration;

use anyhow::{Context, Result};
use kube::api::DeleteParams;
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    Scenario,
    await_condition::await_condition,
    bin::workspace,
    health::{Verdicts, verdicts},
    images::Image,
    proxy::{Answer, Operation, Rule},
    registry::Registry,
    scenario::scenario_of_two_registries,
    spec::{Report, Spec},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
/// A long copy is shown each 30 seconds.
const SHOWN: Duration = Duration::from_mins(2);
/// So many layers, four at a time, with this between a layer and the next one: longer than that.
const LAYERS: usize = 40;
const BETWEEN: Duration = Duration::from_secs(8);

/// The states that were seen, in the words of the page.
#[derive(Default)]
struct Seen {
    states: Vec<&'static str>,
    objects: Vec<MultiArchImage>,
}

impl Seen {
    fn is(&mut self, state: &'static str, object: MultiArchImage) {
        self.states.push(state);
        self.objects.push(object);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_is_what_the_page_says_to_each_tool() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let seen = Box::pin(states(s, elsewhere)).await?;
        let said = verdicts(&seen.objects).await?;
        let rows = rows(&seen, &said);
        let page = workspace().join("docs/gitops/README.md");
        let page = std::fs::read_to_string(&page).context("no page")?;
        let (_, table) = page.split_once("| a MultiArchImage that is").context("no table")?;
        let table: Vec<_> =
            table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
        assert_eq!(table, rows, "the table should be:\n{}\n", rows.join("\n"));
        Ok(())
    })
    .await
}

/// All of them, in the order of the page.
async fn states(s: &mut Scenario, elsewhere: &Registry) -> Result<Seen> {
    let mut seen = Seen::default();
    // First, since a rule counts what was written since the start.
    let lags = Rule::of(Operation::HeadTag, Answer::Error(500, "UNKNOWN"));
    s.registry.proxy.follow(lags.path("/lags/manifests/1").after(Operation::PutTag));
    s.push("lags:1", &BOTH).await?;
    let lags = s.apply_until(&s.spec("lags", "lags:1", &BOTH), "Unknown/ReadingBack").await?;
    s.registry.proxy.be_honest();

    copies(s, elsewhere).await?;
    s.operator.kill().await?;
    s.push("app:1", &BOTH).await?;
    let app = s.spec("app", "app:1", &BOTH);
    seen.is("applied, and not looked at yet", s.apply(&app).await?);
    s.operator.restart().await?;
    seen.is("published and complete", s.until_ready("app", "True/Succeeded").await?);
    published(s, &mut seen).await?;
    waiting(s, &mut seen).await?;
    seen.is("pushed, and not read back yet", lags);
    let shown = |image: &MultiArchImage| {
        image.condition("Reconciling").is_some_and(|it| it.reason == "Progressing")
    };
    let copies =
        await_condition(&s.images(), "copies", "a long copy is shown", SHOWN, shown).await?;
    seen.is("a new build is copied, for longer than half a minute", copies);
    failing(s, &mut seen).await?;
    suspended(s, &mut seen).await?;

    // With the finalizer, while nobody is there to take it off.
    let gone = s.spec("gone", "app:gone", &BOTH).with("deletionPolicy", "Delete");
    s.push("app:gone", &BOTH).await?;
    s.apply_until(&gone, "True/Succeeded").await?;
    s.operator.kill().await?;
    let edited = app.with("annotations", json!({"com.example.by": "an edit"}));
    seen.is("edited, and not looked at since", s.apply(&edited).await?);
    s.images().delete("gone", &DeleteParams::default()).await?;
    let gone = s.images().get("gone").await?;
    assert!(gone.metadata.deletion_timestamp.is_some());
    seen.is("being deleted", gone);
    s.operator.restart().await?;
    Ok(seen)
}

/// The rows of the page's table.
fn rows(seen: &Seen, said: &[Verdicts]) -> Vec<String> {
    let states = seen.states.iter().zip(&seen.objects).zip(said);
    let rows = states.map(|((state, object), said)| {
        let ready = object
            .condition("Ready")
            .map_or("none yet".into(), |ready| format!("{}, {}", ready.status, ready.reason));
        let beside = ["Reconciling", "Stalled"].into_iter().filter(|kind| object.is_true(kind));
        let beside = beside.collect::<String>();
        let Verdicts { argo, flux, kstatus } = said;
        // Who reads it finds why.
        if argo.status == "Degraded" {
            assert!(argo.message.contains(object.message()), "{argo:?}");
        }
        assert!(!argo.message.is_empty() && !kstatus.message.is_empty(), "{said:?}");
        format!(
            "| {state} | {ready} | {beside} | {} | {} | {} |",
            kstatus.status, flux.status, argo.status
        )
    });
    rows.collect()
}

/// An object that copies for a while, since its source has another build.
async fn copies(s: &Scenario, elsewhere: &Registry) -> Result<()> {
    elsewhere.push("ci/app:1", &Image::oci("linux/amd64", "the first build")?).await?;
    let spec = Spec::new(&s.registry, "copies", "copies/app:1");
    let spec = spec.source_in(elsewhere, "amd64", "ci/app:1", &[], json!({}));
    s.apply_until(&spec, "True/Succeeded").await?;
    let layers: Vec<_> = (0..LAYERS).map(|layer| format!("layer {layer}")).collect();
    let layers: Vec<_> = layers.iter().map(String::as_str).collect();
    elsewhere.push("ci/app:1", &Image::layered("linux/amd64", &layers)?).await?;
    let slow = Rule::of(Operation::PostUpload, Answer::Late(BETWEEN)).path("/copies/");
    s.registry.proxy.follow(slow);
    s.objects().ask("copies").await.map(drop)
}

/// What is served.
async fn published(s: &Scenario, seen: &mut Seen) -> Result<()> {
    s.push("part:1", &BOTH[..1]).await?;
    let part = s.spec("part", "part:1", &BOTH).with("publishPolicy", "Partial");
    let part = s.apply_until(&part, "True/PublishedPartial").await?;
    seen.is("published under publishPolicy: Partial, a platform is missing", part);

    s.push("cleaned:1", &BOTH).await?;
    s.apply_until(&s.spec("cleaned", "cleaned:1", &BOTH), "True/Succeeded").await?;
    s.registry.delete_tag("cleaned:1-arm64").await?;
    let cleaned = s.request("cleaned").await?;
    assert!(cleaned.condition("SourcesResolved").is_some_and(|it| it.status == "False"));
    seen.is("published, and a source's own tag was cleaned up since", cleaned);
    Ok(())
}

/// What waits.
async fn waiting(s: &Scenario, seen: &mut Seen) -> Result<()> {
    s.push("late:1", &BOTH[..1]).await?;
    let late = s.spec("late", "late:1", &BOTH);
    let late = s.apply_until(&late, "Unknown/WaitingForPlatforms").await?;
    seen.is("not published, a platform is late", late);

    s.push("next:1", &BOTH[..1]).await?;
    let next = s.apply_until(&s.spec("next", "next:1", &BOTH[..1]), "True/Succeeded").await?;
    let more = s.spec("next", "next:1", &BOTH);
    let waits = s.apply_until(&more, "Unknown/WaitingForPlatforms").await?;
    assert!(waits.is_true("Published") && waits.digest() == next.digest());
    seen.is("published before, a platform that was added is late", waits);
    Ok(())
}

/// What fails, and what a person must mend.
async fn failing(s: &Scenario, seen: &mut Seen) -> Result<()> {
    s.push("down:1", &BOTH).await?;
    s.apply_until(&s.spec("down", "down:1", &BOTH), "True/Succeeded").await?;
    s.registry.proxy.follow(Rule::of_all(Answer::Status(503, vec![])).path("/v2/down/"));
    let down = s.request("down").await?;
    assert!(down.ready() == "False/RegistryUnreachable" && down.is_true("Published"));
    seen.is("published, and its registry is away", down);

    s.push("broken:1", &BOTH).await?;
    let broken = s.apply_until(&s.spec("broken", "broken:1", &BOTH), "True/Succeeded").await?;
    let status = broken.status.context("no status")?;
    let image = status.platforms.first().context("no platform")?;
    s.registry.delete_tag(&format!("broken@{}", image.digest)).await?;
    s.objects().age("broken").await?;
    let broken = s.request("broken").await?;
    assert!(!broken.is_true("Published"), "{broken:?}");
    seen.is("published, and an image of it is gone", broken);

    let secret = s.spec("secret", "app:1", &BOTH);
    let mut secret = secret.with("target", json!({"image": s.registry.reference("secret:1")}));
    secret.spec["target"]["secretRef"] = json!({"name": "push"});
    let is = |kind: &'static str| {
        move |image: &MultiArchImage| image.ready() == "False/SecretNotFound" && image.is_true(kind)
    };
    // Watched from before it is there, so that its first status is seen.
    let first = s.until("secret", "a Secret is missing", is("Reconciling"));
    let (first, applied) = tokio::join!(first, s.apply(&secret));
    applied?;
    seen.is("a Secret is missing, at first", first?);
    let third = s.until("secret", "a Secret is still missing", is("Stalled")).await?;
    seen.is("a Secret is missing, after three tries", third);

    s.push("wrong:1", &BOTH[..1]).await?;
    s.registry.push("wrong:1-arm64", &Image::oci("linux/amd64", "wrong")?).await?;
    let wrong = s.apply_until(&s.spec("wrong", "wrong:1", &BOTH), "False/PlatformMismatch").await?;
    seen.is("a source is for another platform", wrong);

    let other = s.spec("other", "app:1", &BOTH[..1]).with("removalPolicy", "Remove");
    let other = s.apply_until(&other, "False/TargetConflict").await?;
    seen.is("the tag is another object's", other);
    Ok(())
}

/// What is left alone.
async fn suspended(s: &Scenario, seen: &mut Seen) -> Result<()> {
    s.push("paused:1", &BOTH).await?;
    let paused = s.spec("paused", "paused:1", &BOTH);
    s.apply_until(&paused, "True/Succeeded").await?;
    let paused = s.apply_until(&paused.with("suspend", true), "True/Suspended").await?;
    seen.is("suspended, published before", paused);

    let never = s.spec("never", "never:1", &BOTH).with("suspend", true);
    let never = s.apply_until(&never, "Unknown/Suspended").await?;
    seen.is("suspended, and never published", never);
    Ok(())
}
