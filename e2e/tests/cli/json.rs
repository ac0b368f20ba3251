//! What `-o json` prints is what docs/cli-output.schema.json says, for each command that it names.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use multiarch_e2e::{
    archives::{Compression, Layer, Saved, Writer, save},
    bin::workspace,
    cli::{Cli, Ran},
    images::Image,
    scenario,
};
use serde_json::{Value, json};

use crate::stage::Stage;

/// The commands of the schema whose results were held to it, and those results.
pub(crate) struct Held {
    schema: Value,
    commands: BTreeSet<String>,
}

impl Held {
    pub(crate) fn new() -> Result<Self> {
        let file = workspace().join("docs/cli-output.schema.json");
        let text = fs::read_to_string(&file).context("there is no schema")?;
        Ok(Self { schema: serde_json::from_str(&text)?, commands: BTreeSet::new() })
    }

    /// Fails unless what `command` has printed is what the schema says of it, word for word: nothing more.
    pub(crate) fn hold(&mut self, command: &str, ran: &Ran) -> Result<()> {
        let of =
            self.schema["properties"].get(command).context("the schema has no such command")?;
        let mut schema = of.clone();
        schema["$schema"] = self.schema["$schema"].clone();
        schema["$defs"] = strict(self.schema["$defs"].clone());
        let validator = jsonschema::validator_for(&schema).context("no schema")?;
        let printed = ran.json()?;
        let wrong: Vec<_> = validator
            .iter_errors(&printed)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        ensure!(wrong.is_empty(), "{command}: {wrong:#?} in {printed:#}");
        self.commands.insert(command.to_owned());
        Ok(())
    }
}

/// The same definitions where no object has a field that is not named.
fn strict(mut defs: Value) -> Value {
    for (_, of) in defs.as_object_mut().into_iter().flatten() {
        if of["properties"].is_object() && of.get("additionalProperties").is_none() {
            of["additionalProperties"] = json!(false);
        }
    }
    defs
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_printed_is_in_the_schema() -> Result<()> {
    let stage = Stage::new().await?;
    let mut held = Held::new()?;
    for architecture in ["amd64", "arm64"] {
        let image = Image::oci(&format!("linux/{architecture}"), "app")?;
        stage.source.push(&format!("team/app:1-{architecture}"), &image).await?;
    }
    let wrong = Image::oci("linux/amd64", "wrong")?;
    stage.source.push("team/app:1-s390x", &wrong).await?;
    let source = |architecture: &str| {
        let image = stage.source.reference(&format!("team/app:1-{architecture}"));
        json!({"name": architecture, "image": image, "platforms": [format!("linux/{architecture}")]})
    };
    let object = |name: &str, architectures: &[&str]| {
        let sources: Vec<_> = architectures.iter().map(|it| source(it)).collect();
        json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage", "metadata": {"name": name},
            "spec": {"target": {"image": stage.target.reference(&format!("team/{name}:1"))}, "sources": sources},
        })
    };
    // Of each kind one: published, not covered, failed.
    let objects = [
        object("right", &["amd64", "arm64"]),
        object("late", &["amd64", "ppc64le"]),
        object("wrong", &["amd64", "s390x"]),
    ];
    let file = stage.file("objects.yaml");
    let documents: Vec<_> = objects.iter().map(|object| format!("---\n{object}\n")).collect();
    fs::write(&file, documents.concat())?;
    let file = file.display().to_string();
    let json = ["-o", "json"];
    let run = async |arguments: &[&str]| stage.cli.run(&[arguments, &json].concat()).await;
    held.hold("plan", &run(&["plan", "-f", &file]).await?.ended(1)?)?;
    held.hold("publish", &run(&["publish", "-f", &file]).await?.ended(1)?)?;
    held.hold("plan", &run(&["plan", "-f", &file]).await?.ended(1)?)?;

    let (from, to) = (stage.source.host(), stage.target.host());
    let mirror =
        ["mirror", "--from", from, "--to", to, "team/app:1-amd64", "team/none:1", "no tag"];
    held.hold("mirror", &run(&mirror).await?.ended(1)?)?;
    held.hold("mirror", &run(&[&mirror[..], &["--dry-run"]].concat()).await?.ended(1)?)?;

    let saved =
        Saved::made("linux/arm64", &["docker.io/team/saved:1"], vec![Layer::file(b"saved\n")?])?;
    let archive = stage.file("saved.tar");
    save(Writer::Docker20, &[saved], &archive, Compression::None)?;
    let archive = archive.display().to_string();
    held.hold(
        "load",
        &run(&["load", "--archive", &archive, "--to", to, "--dry-run"]).await?.ended(2)?,
    )?;
    held.hold("load", &run(&["load", "--archive", &archive, "--to", to]).await?.ended(0)?)?;

    // An index as it should be, one with an image under a wrong platform, and nothing.
    let index = Image::index(&[Image::buildx("linux/amd64", "app")?])?;
    stage.source.push("team/index:1", &index).await?;
    stage.source.push("team/lies:1", &Image::mislabelled(&[wrong], "s390x")?).await?;
    let [index, lies, none] =
        ["team/index:1", "team/lies:1", "team/none:1"].map(|of| stage.source.reference(of));
    for (of, code) in [(&[&index][..], 0), (&[&lies], 2), (&[&index, &none], 1)] {
        let of = of.iter().map(|of| of.as_str());
        let inspect: Vec<_> = ["inspect", "--blobs"].into_iter().chain(of).collect();
        held.hold("inspect", &run(&inspect).await?.ended(code)?)?;
    }
    of_objects(&mut held).await?;

    let all = held.schema["properties"].as_object().context("no schema")?;
    let all: BTreeSet<_> = all.keys().cloned().collect();
    assert_eq!(held.commands, all, "not every command was tried");
    Ok(())
}

/// What is asked of a cluster, whose objects are published and not.
async fn of_objects(held: &mut Held) -> Result<()> {
    scenario(async |s| {
        let cli = Cli::new()?;
        cli.administer(&s.cluster)?;
        s.push("team/app:1", &["linux/amd64", "linux/arm64"]).await?;
        let spec = s.spec("app", "team/app:1", &["linux/amd64", "linux/arm64"]);
        s.apply_until(&spec, "True/Succeeded").await?;
        let late = s.spec("late", "team/app:2", &["linux/amd64"]);
        s.apply_until(&late, "Unknown/WaitingForPlatforms").await?;
        let namespace = s.namespace.name.clone();
        let run = async |arguments: &[&str]| {
            cli.run(&[arguments, &["-n", &namespace, "-o", "json"]].concat()).await
        };
        held.hold("status", &run(&["status"]).await?.ended(2)?)?;
        held.hold("tree", &run(&["tree", "app", "late"]).await?.ended(0)?)?;
        held.hold("wait", &run(&["wait", "app"]).await?.ended(0)?)?;
        held.hold("wait", &run(&["wait", "late", "--timeout", "1s"]).await?.ended(2)?)?;
        held.hold("reconcile", &run(&["reconcile", "app"]).await?.ended(0)?)?;
        held.hold("suspend", &run(&["suspend", "app"]).await?.ended(0)?)?;
        held.hold("resume", &run(&["resume", "app", "nope"]).await?.ended(1)?)
    })
    .await
}
