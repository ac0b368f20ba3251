//! One case: an object at work, what breaks, and what became of it at the registry and in status.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::api::DeleteParams;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    objects::Objects,
    proxy::{Operation, Seen},
    registry::Registry,
    spec::{Report, Spec},
};

use super::{
    cases::{Case, Ends, Side},
    kind::{Hosts, Images, Kind, prepare},
};
use multiarch_crds::v1alpha1::MultiArchImage;

/// A busy machine, and a backoff that doubles a few times, are no bugs.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// What a case has shown.
#[derive(Clone, Debug)]
pub(super) struct Played {
    /// The reasons of Ready while things were broken and after.
    pub(super) shown: Vec<String>,
    /// How many requests a rule has answered.
    pub(super) disturbed: usize,
    /// All requests to both registries since things were broken.
    pub(super) requests: usize,
    pub(super) elapsed: Duration,
}

/// Plays `case` (or, without one, `kind` alone) as the object called `name`.
pub(super) async fn play(
    (from, to): (&Registry, &Registry),
    objects: &Objects,
    name: &str,
    (kind, case): (Kind, Option<&Case>),
    images: &Images,
) -> Result<Played> {
    let hosts = Hosts { sources: from.another_host().await?, target: to.another_host().await? };
    let spec = prepare(kind, name, &hosts, images).await?;
    let table = Table { objects, hosts, spec, kind, images };
    let played = table.play(case).await;
    played.with_context(|| table.requests())
}

struct Table<'a> {
    objects: &'a Objects,
    hosts: Hosts,
    spec: Spec,
    kind: Kind,
    images: &'a Images,
}

impl Table<'_> {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn target(&self) -> String {
        format!("team/{}:1", self.name())
    }

    async fn play(&self, case: Option<&Case>) -> Result<Played> {
        if self.kind.is_published_before() {
            self.objects.apply_until(&self.spec, "True/Succeeded").await?;
            self.prepare_published().await?;
        }
        let (sources, target) = (&self.hosts.sources.proxy, &self.hosts.target.proxy);
        sources.forget();
        target.forget();
        if let Some(case) = case {
            let at = if case.side == Side::Source { sources } else { target };
            at.follow(case.rule.clone());
        }
        let begun = Instant::now();
        let ends = case.map_or(Ends::Right, |case| case.ends);
        let mut shown = self.run(ends).await?;
        if let Ends::Says(_) = ends {
            sources.be_honest();
            target.be_honest();
            if self.kind != Kind::Delete {
                let image = self.objects.request(self.name()).await?;
                if image.ready() != "True/Succeeded" {
                    shown.push(reason(&image));
                }
                shown.push(reason(&self.objects.until_ready(self.name(), "True/Succeeded").await?));
            }
        }
        let elapsed = begun.elapsed();
        let seen = [sources.seen(), target.seen()].concat();
        sources.be_honest();
        target.be_honest();
        let disturbed = seen.iter().filter(|seen| seen.disturbed).count();
        self.check(ends).await?;
        self.check_uploads(case, disturbed).await?;
        Ok(Played { shown, disturbed, requests: seen.len(), elapsed })
    }

    /// What is to be there once the object was published.
    async fn prepare_published(&self) -> Result<()> {
        if self.kind == Kind::Repair {
            self.objects.age(self.name()).await?;
            let repository = format!("team/{}", self.name());
            let gone = format!("{repository}@{}", self.images.first());
            self.hosts.target.delete_tag(&gone).await?;
            self.hosts.target.delete_blob(&repository, &self.images.layer().digest).await?;
        }
        Ok(())
    }

    /// Sets the object to work and waits for what is to come of it; the reasons of Ready on the way.
    async fn run(&self, ends: Ends) -> Result<Vec<String>> {
        match self.kind {
            Kind::Delete => {
                self.objects.api.delete(self.name(), &DeleteParams::default()).await?;
                let gone = async || {
                    Ok(self.objects.api.get_opt(self.name()).await?.is_none().then_some(()))
                };
                await_some("the object is gone", PATIENCE, gone).await?;
                return Ok(vec!["gone".into()]);
            }
            Kind::Idle | Kind::Repair => drop(self.objects.ask(self.name()).await?),
            _ => drop(self.objects.apply(&self.spec).await?),
        }
        let asked = self.objects.api.get(self.name()).await?.metadata.annotations;
        let asked = asked.and_then(|all| all.get("multiarch.dev/requestedAt").cloned());
        let is_current = |image: &MultiArchImage| {
            let handled = image.status.as_ref().and_then(|s| s.last_handled_reconcile_at.clone());
            handled == asked
        };
        let (what, says): (_, &[&str]) = match ends {
            Ends::Right | Ends::Unsigned => ("Ready is True", &["True/Succeeded"]),
            Ends::Says(says) | Ends::Stays(says) => ("it says what is wrong", says),
        };
        let says = |image: &MultiArchImage| is_current(image) && says.contains(&&*image.ready());
        let image = self.objects.until(self.name(), what, says).await?;
        if matches!(ends, Ends::Says(_) | Ends::Stays(_)) {
            self.is_honest(&image).await?;
        }
        Ok(vec![reason(&image)])
    }

    /// While things are broken: what was published stays, and what was not is told so.
    async fn is_honest(&self, image: &MultiArchImage) -> Result<()> {
        ensure!(!image.message().is_empty(), "it says nothing");
        let stalled = image.condition("Stalled").is_some();
        let reconciling = image.condition("Reconciling").is_some();
        let ready = image.ready().starts_with("True");
        ensure!(ready || (stalled != reconciling), "neither waiting nor Stalled: {image:?}");
        if self.kind == Kind::Repair {
            ensure!(!image.is_true("Published"), "Published, and an image is gone");
            return Ok(());
        }
        let whole = self.hosts.target.whole(&self.target()).await?;
        match (&whole, image.is_true("Published")) {
            (None, true) => bail!("Published, and there is no tag"),
            (Some(whole), true) => ensure!(whole.digest == image.digest(), "another digest"),
            _ => {}
        }
        ensure!(whole.is_some() || !self.kind.is_published_before(), "what was published is gone");
        Ok(())
    }

    /// In the end: the tags are right and whole, read past the proxy, or as they were.
    async fn check(&self, ends: Ends) -> Result<()> {
        let whole = self.hosts.target.whole(&self.target()).await?;
        if self.kind == Kind::Delete {
            let stays = matches!(ends, Ends::Says(_) | Ends::Stays(_));
            ensure!(whole.is_some() == stays, "the tag names {whole:?}");
            return Ok(());
        }
        if let Ends::Stays(_) = ends {
            return Ok(());
        }
        let whole = whole.context("there is no tag")?;
        let object = self.objects.api.get(self.name()).await?;
        ensure!(whole.digest == object.digest(), "status says {}", object.digest());
        ensure!(whole.images == self.images.expected().collect(), "other images: {whole:?}");
        let latest = self.hosts.target.digest(&format!("team/{}:latest", self.name())).await?;
        ensure!(latest.as_ref() == Some(&whole.digest), "latest names {latest:?}");
        if self.kind == Kind::Signed {
            let signature = format!("team/{}@{}", self.name(), self.images.signature());
            let is_signed = self.hosts.target.digest(&signature).await?.is_some();
            ensure!(is_signed == matches!(ends, Ends::Right), "signed: {is_signed}");
        }
        self.check_order()
    }

    /// Nothing that the tag needs was written after it, where it was free before.
    fn check_order(&self) -> Result<()> {
        if self.kind.is_published_before() || self.kind == Kind::Signed {
            return Ok(());
        }
        let seen = self.hosts.target.proxy.seen();
        let is_tag = |seen: &Seen| seen.operation == Operation::PutTag && !seen.disturbed;
        let tag = seen.iter().position(is_tag);
        let needed = |seen: &&Seen| {
            seen.is_start() || seen.is_upload() || seen.operation == Operation::PutManifest
        };
        // What was answered in the registry's stead never got there.
        let late = tag.and_then(|tag| seen.iter().skip(tag).find(needed));
        ensure!(late.is_none(), "written after the tag: {late:?}");
        Ok(())
    }

    /// No upload is left open, but for those of which no answer came, and those that broke off: distribution can
    /// cancel none of which it has stored more than it has said (416).
    async fn check_uploads(&self, case: Option<&Case>, disturbed: usize) -> Result<()> {
        let is_lost = case.is_some_and(|case| case.rule.loses_uploads());
        let is_broken = case.is_some_and(|case| case.rule.breaks_uploads());
        let lost = if is_lost { disturbed } else { 0 };
        let most = if is_broken { disturbed } else { lost };
        let repository = format!("team/{}", self.name());
        let open = async || {
            let open = self.hosts.target.uploads_in(&repository)?;
            Ok((lost..=most).contains(&open).then_some(()))
        };
        // What was begun is given up a moment after the run.
        await_some(&format!("{lost} to {most} uploads are left behind"), SOON, open).await
    }

    /// For whoever reads why a case has failed.
    fn requests(&self) -> String {
        let line = |seen: &Seen| {
            let mark = if seen.disturbed { '*' } else { ' ' };
            format!("{mark} {:<14} {} {}", seen.operation.to_string(), seen.path, seen.status)
        };
        let of = |registry: &Registry| registry.proxy.seen().iter().map(line).collect::<Vec<_>>();
        format!(
            "requests to the sources:\n{}\nto the target:\n{}",
            of(&self.hosts.sources).join("\n"),
            of(&self.hosts.target).join("\n")
        )
    }
}

fn reason(image: &MultiArchImage) -> String {
    image.ready().split_once('/').map_or_else(String::new, |(_, reason)| reason.into())
}
