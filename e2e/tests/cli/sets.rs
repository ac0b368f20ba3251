//! kubectl-multiarch shows, steers and waits for sets of a cluster.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use multiarch_crds::v1alpha1::MultiArchImageSet;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    cli::{Cli, Ran},
    images::Image,
    registry::Registry,
    scenario::{Scenario, scenario_of_two_registries_with},
};
use serde_json::{Value, json};

use crate::json::Held;

/// A set called `all` of a list in a `ConfigMap`, which is read each ten minutes, and somebody who administers its cluster.
struct Somebody<'a> {
    s: &'a Scenario,
    cli: Cli,
}

impl<'a> Somebody<'a> {
    async fn with(s: &'a Scenario, elsewhere: &Registry, list: &str) -> Result<Self> {
        let cli = Cli::new()?;
        cli.administer(&s.cluster)?;
        let it = Self { s, cli };
        it.list(list).await?;
        let registries =
            [elsewhere, &s.registry].map(|of| json!({"host": of.host(), "plainHTTP": true}));
        let set = json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet", "metadata": {"name": "all"},
            "spec": {
                "imagesFrom": {"configMapKeyRef": {"name": "images", "key": "list"}},
                "from": {"registry": elsewhere.host()},
                "to": {"registry": s.registry.host(), "prefix": "mirror"},
                "template": {"registries": registries},
            },
        });
        let sets: Api<MultiArchImageSet> = Api::namespaced(s.client.clone(), &s.namespace.name);
        sets.patch("all", &PatchParams::apply("e2e"), &Patch::Apply(set)).await?;
        Ok(it)
    }

    /// Writes the list.
    async fn list(&self, list: &str) -> Result<()> {
        let s = self.s;
        let maps: Api<ConfigMap> = Api::namespaced(s.client.clone(), &s.namespace.name);
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "images"}, "data": {"list": list}});
        maps.patch("images", &PatchParams::apply("e2e"), &Patch::Apply(map)).await?;
        Ok(())
    }

    async fn run(&self, arguments: &[&str]) -> Result<Ran> {
        self.cli.run(&[arguments, &["-n", &self.s.namespace.name]].concat()).await
    }

    /// Waits until status shows so many images of the set.
    async fn until(&self, summary: &str) -> Result<()> {
        let shown = async || {
            let ran = self.run(&["status", "mais/all", "-o", "json"]).await?;
            Ok((ran.json()?["sets"][0]["summary"] == summary).then_some(()))
        };
        await_some(&format!("status shows {summary}"), SOON, shown).await
    }
}

/// Pushes an image as each of `names`.
async fn push(elsewhere: &Registry, names: &[&str]) -> Result<()> {
    for name in names {
        elsewhere.push(name, &Image::index(&[Image::oci("linux/amd64", name)?])?).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_shown_run_suspended_and_waited_for() -> Result<()> {
    scenario_of_two_registries_with(&["--sets"], async |s, elsewhere| {
        push(elsewhere, &["team/a:1", "team/b:1"]).await?;
        let who = Somebody::with(s, elsewhere, "team/a:1\nTeam/b:1\n").await?;
        let all = format!("{}/mais/all", s.namespace.name);
        who.until("1/2").await?;

        let ran = who.run(&["status"]).await?.ended(2)?;
        assert!(
            ran.stdout.contains("mais/all   False   1/2      ImagesFailing   1 "),
            "{}",
            ran.stdout
        );
        assert!(
            ran.stdout.contains(&format!("\n{all}\n  1 of 2 images are ready")),
            "{}",
            ran.stdout
        );
        assert!(ran.stdout.contains("\n  Team/b:1   InvalidLine   -   "), "{}", ran.stdout);
        let why = "a repository's name is lower case";
        assert_eq!(ran.stdout.matches(why).count(), 1, "{}", ran.stdout);
        let everywhere = who.cli.run(&["status", "-A"]).await?;
        assert!(everywhere.stdout.contains(&all), "{}", everywhere.stdout);
        let ran = who.run(&["wait", "mais/all", "--timeout", "1s"]).await?.ended(2)?;
        assert_eq!(ran.stdout, format!("{all} timed out\n"));
        let late = format!("{all}: timed out: Ready is False, ImagesFailing: 1 of 2");
        assert!(ran.stderr.contains(&late), "{}", ran.stderr);
        who.run(&["wait", "mais/all", "--for", "condition=Ready=False"]).await?.ended(0)?;

        // While it is suspended nobody reads the list.
        let ran = who.run(&["suspend", "mais/all"]).await?.ended(0)?;
        assert_eq!(ran.stdout, format!("{all} suspended\n"));
        let ran = who.run(&["reconcile", "mais/all"]).await?.ended(1)?;
        let resume = format!("kubectl multiarch resume -n {} mais/all", s.namespace.name);
        assert!(ran.stderr.contains(&resume), "{}", ran.stderr);
        who.list("team/a:1\n").await?;
        let waits = who.cli.command(&["wait", "mais/all", "-n", &s.namespace.name])?.spawn()?;
        who.run(&["resume", "mais/all"]).await?.ended(0)?;
        let waited = waits.wait_with_output().await?;
        assert_eq!(String::from_utf8(waited.stdout)?, format!("{all} condition met\n"));
        ensure!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
        who.until("1/1").await?;

        // What is in the list now is known when it was run, and not before.
        who.list("team/a:1\nteam/b:1\n").await?;
        let ran = who.run(&["reconcile", "mais/all", "-o", "json"]).await?;
        let summary = ran.json()?["sets"][0]["summary"].clone();
        assert!(["1/2", "2/2"].iter().any(|of| summary == *of), "{summary}");
        who.run(&["wait", "mais/all", "--timeout", "1m"]).await?.ended(0)?;
        who.run(&["reconcile", "mais/all"]).await?.ended(0)?;
        let ran = who.run(&["status", "mais/all"]).await?.ended(0)?;
        assert!(ran.stdout.contains("mais/all   True    2/2      Succeeded"), "{}", ran.stdout);
        let ran = who.run(&["tree", "mais/all"]).await?.ended(0)?;
        let b = format!("  {}@sha256:", s.registry.reference("mirror/team/b:1"));
        let last = ran.stdout.lines().last().context("a line")?;
        assert!(last.starts_with("└── all-b-1-") && last.contains(&b), "{}", ran.stdout);
        assert_eq!(ran.stdout.lines().count(), 3, "{}", ran.stdout);
        // As kubectl prints the names of its objects.
        let images = s.images().list(&ListParams::default()).await?.items;
        let image = images[0].metadata.name.as_deref().context("a name")?;
        let image = format!("multiarchimage.multiarch.dev/{image}");
        who.run(&["reconcile", &image]).await?.ended(0)?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_set_is_not_is_said_and_what_is_printed_of_it_is_in_the_schema() -> Result<()> {
    scenario_of_two_registries_with(&["--sets"], async |s, elsewhere| {
        push(elsewhere, &["team/a:1"]).await?;
        let who = Somebody::with(s, elsewhere, "team/a:1\nTeam/b:1\nteam/none:1\n").await?;
        who.until("1/3").await?;
        let mut held = Held::new()?;
        for (command, code) in
            [("status", 2), ("tree", 0), ("reconcile", 2), ("suspend", 0), ("resume", 0)]
        {
            let ran = who.run(&[command, "mais/all", "-o", "json"]).await?.ended(code)?;
            held.hold(command, &ran)?;
            let failed = who.run(&[command, "mais/none", "-o", "json"]).await?.ended(1)?;
            assert!(failed.stderr.contains("\"none\" not found"), "{}", failed.stderr);
            // A name alone is that of an object, of which there is none.
            let failed = who.run(&[command, "all"]).await?.ended(1)?;
            let write = "there is a MultiArchImageSet of that name: write mais/all";
            assert!(failed.stderr.contains(write), "{command}: {}", failed.stderr);
        }
        let wait = ["wait", "mais/all", "--timeout", "0s", "-o", "json"];
        held.hold("wait", &who.run(&wait).await?.ended(2)?)?;
        let failed = who.run(&["wait", "all", "--timeout", "1m"]).await?.ended(1)?;
        assert!(
            failed.stderr.contains("all is not there; there is a MultiArchImageSet"),
            "{}",
            failed.stderr
        );
        for goal in ["published", "platform=linux/amd64"] {
            let failed = who.run(&["wait", "mais/all", "--for", goal]).await?.ended(1)?;
            assert!(failed.stderr.contains("mais/all is a set, which has no"), "{}", failed.stderr);
        }
        let ran = who.run(&["status", "-o", "json"]).await?.ended(2)?;
        let [items, sets] = ["items", "sets"].map(|of| ran.json().map(|json| json[of].clone()));
        let count = |of: Result<Value>| of.map(|of| of.as_array().map_or(0, Vec::len));
        assert_eq!((count(items)?, count(sets)?), (2, 1), "{}", ran.stdout);
        held.hold("status", &ran)
    })
    .await
}
