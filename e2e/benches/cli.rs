//! What kubectl-multiarch asks of registries, and how long it takes, beside crane, regctl and skopeo. `make bench-cli` runs it, and prints a table
//! in Markdown.

use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use multiarch_e2e::{
    bin,
    images::Image,
    proxy::{Answer, Rule},
    registry::{Registry, Storage},
    scale::tell,
};
use serde_json::json;
use tokio::process::Command;

/// Each is an index of [`PLATFORMS`].
const IMAGES: usize = 8;
const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm/v7", "linux/arm64"];
/// What is added to each request, at a proxy before the registry.
const LATENCIES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(25)];
/// What is told is the median of these.
const ROUNDS: usize = 5;

/// Who is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tool {
    Ours,
    Crane,
    Regctl,
    Skopeo,
}

const TOOLS: [Tool; 4] = [Tool::Ours, Tool::Crane, Tool::Regctl, Tool::Skopeo];

/// What is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Work {
    /// An index of images that are in its repository.
    Publish,
    /// A list of indexes, to another registry.
    Mirror,
}

/// The registries, and what is there.
struct Bench {
    source: Registry,
    target: Registry,
    folder: tempfile::TempDir,
}

/// What one run has taken.
#[derive(Clone, Copy)]
struct Cost {
    requests: usize,
    time: Duration,
}

/// A program and its arguments.
type Line = (PathBuf, Vec<String>);

impl Tool {
    fn name(self, work: Work) -> &'static str {
        match (self, work) {
            (Self::Ours, Work::Publish) => "`kubectl multiarch publish`",
            (Self::Ours, Work::Mirror) => "`kubectl multiarch mirror`",
            (Self::Crane, Work::Publish) => "`crane index append`",
            (Self::Crane, Work::Mirror) => "`crane copy`, image by image",
            (Self::Regctl, Work::Publish) => "`regctl index create`",
            (Self::Regctl, Work::Mirror) => "`regctl image copy`, image by image",
            (Self::Skopeo, Work::Publish) => "",
            (Self::Skopeo, Work::Mirror) => "`skopeo copy --all`, image by image",
        }
    }
}

impl Bench {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder")?;
        let source = Registry::start(&folder.path().join("source"), None, Storage::Memory).await?;
        let target = Registry::start(&folder.path().join("target"), None, Storage::Memory).await?;
        for number in 0..IMAGES {
            let base = format!("base {number}");
            let images = PLATFORMS.map(|it| Image::layered(it, &[&format!("{base} for {it}"), it]));
            let images = images.into_iter().collect::<Result<Vec<_>>>()?;
            source.push(&format!("team/app-{number}:1"), &Image::index(&images)?).await?;
        }
        Ok(Self { source, target, folder })
    }

    /// Adds `latency` to each request from now on.
    fn slow(&self, latency: Duration) {
        for registry in [&self.source, &self.target] {
            registry.proxy.be_honest();
            if !latency.is_zero() {
                registry.proxy.follow(Rule::of_all(Answer::Late(latency)));
            }
        }
    }

    /// The commands for `work`, whose results go to `place`.
    async fn lines(&self, tool: Tool, work: Work, place: &str) -> Result<Vec<Line>> {
        match work {
            Work::Publish => self.publish(tool, place).await.map(|line| vec![line]),
            Work::Mirror => self.mirror(tool, place),
        }
    }

    async fn publish(&self, tool: Tool, place: &str) -> Result<Line> {
        let mut sources = Vec::new();
        for (number, platform) in PLATFORMS.iter().enumerate() {
            let of = format!("{place}:1-{number}");
            self.target.push(&of, &Image::oci(platform, place)?).await?;
            sources.push(self.target.reference(&of));
        }
        let tag = self.target.reference(&format!("{place}:1"));
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let each = |option: &str| -> Vec<String> {
            sources.iter().flat_map(|source| [option.to_owned(), source.clone()]).collect()
        };
        match tool {
            Tool::Ours => {
                let listed = sources.iter().zip(PLATFORMS).enumerate().map(|(number, (image, platform))| {
                    json!({"name": format!("source-{number}"), "image": image, "platforms": [platform]})
                });
                let object = json!({
                    "apiVersion": "multiarch.dev/v1alpha1",
                    "kind": "MultiArchImage",
                    "metadata": {"name": "app"},
                    "spec": {"target": {"image": tag}, "sources": listed.collect::<Vec<_>>()},
                });
                let file = self.folder.path().join("object.yaml");
                fs::write(&file, object.to_string()).context("failed to write an object")?;
                Ok((bin::cli()?, words(&["publish", "-f", &file.to_string_lossy()])))
            }
            Tool::Crane => {
                let append = words(&["index", "append", "--insecure", "--tag", &tag]);
                Ok((bin::tool("crane")?, [append, each("--manifest")].concat()))
            }
            Tool::Regctl => {
                let create = words(&["--host", &plain(&self.target), "index", "create", &tag]);
                Ok((bin::tool("regctl")?, [create, each("--ref")].concat()))
            }
            Tool::Skopeo => unreachable!("it makes no indexes"),
        }
    }

    fn mirror(&self, tool: Tool, place: &str) -> Result<Vec<Line>> {
        let names: Vec<_> = (0..IMAGES).map(|number| format!("team/app-{number}:1")).collect();
        if tool == Tool::Ours {
            let file = self.folder.path().join("images.txt");
            fs::write(&file, names.join("\n")).context("failed to write a list")?;
            let to = self.target.reference(place);
            let line = [
                "mirror",
                "--images",
                &file.to_string_lossy(),
                "--from",
                self.source.host(),
                "--to",
                &to,
            ];
            return Ok(vec![(bin::cli()?, line.map(ToOwned::to_owned).into())]);
        }
        let copy = |name: &String| {
            let (from, to) =
                (self.source.reference(name), self.target.reference(&format!("{place}/{name}")));
            let words: Vec<String> = match tool {
                Tool::Crane => ["copy", "--insecure", &from, &to].map(ToOwned::to_owned).into(),
                Tool::Regctl => {
                    let hosts = [plain(&self.source), plain(&self.target)];
                    ["--host", &hosts[0], "--host", &hosts[1], "image", "copy", &from, &to]
                        .map(ToOwned::to_owned)
                        .into()
                }
                _ => {
                    let (from, to) = (format!("docker://{from}"), format!("docker://{to}"));
                    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
                    ["--insecure-policy", "copy", "--all", plain[0], plain[1], &from, &to]
                        .map(ToOwned::to_owned)
                        .into()
                }
            };
            let program = match tool {
                Tool::Crane => "crane",
                Tool::Regctl => "regctl",
                _ => "skopeo",
            };
            Ok((bin::tool(program)?, words))
        };
        names.iter().map(copy).collect()
    }

    /// Runs `lines` one after another.
    async fn cost(&self, lines: &[Line]) -> Result<Cost> {
        for registry in [&self.source, &self.target] {
            registry.proxy.forget();
        }
        let home = tempfile::tempdir().context("failed to make a home")?;
        let began = Instant::now();
        for (program, arguments) in lines {
            let mut command = Command::new(program);
            command.args(arguments).env_clear().env("HOME", home.path()).stdin(Stdio::null());
            let output = command.output().await.context("failed to run a tool")?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{} {arguments:?}: {said}", program.display());
        }
        let time = began.elapsed();
        Ok(Cost { requests: self.source.proxy.count() + self.target.proxy.count(), time })
    }

    /// Fails unless `work` was done at `place`, and an index that was mirrored is the same.
    async fn check(&self, tool: Tool, work: Work, place: &str) -> Result<()> {
        if work == Work::Publish {
            let there = self.target.digest(&format!("{place}:1")).await?;
            ensure!(there.is_some(), "{tool:?} has published nothing");
            return Ok(());
        }
        for number in 0..IMAGES {
            let name = format!("team/app-{number}:1");
            let (from, to) = (
                self.source.digest(&name).await?,
                self.target.digest(&format!("{place}/{name}")).await?,
            );
            ensure!(from.is_some() && from == to, "{tool:?} has made {to:?} of {from:?}");
        }
        Ok(())
    }
}

/// How regctl is told that a registry has no TLS.
fn plain(registry: &Registry) -> String {
    format!("reg={},tls=disabled", registry.host())
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.time);
    costs[costs.len() / 2]
}

#[tokio::main]
async fn main() -> Result<()> {
    let bench = Bench::start().await?;
    tell("| work | tool | requests | 0 ms | 25 ms | again: requests | 0 ms | 25 ms |");
    tell("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for work in [Work::Publish, Work::Mirror] {
        let what = match work {
            Work::Publish => format!("an index of {}", PLATFORMS.len()),
            Work::Mirror => format!("{IMAGES} indexes of {}", PLATFORMS.len()),
        };
        for tool in TOOLS.into_iter().filter(|tool| !tool.name(work).is_empty()) {
            let mut told = [Vec::new(), Vec::new()];
            let mut requests = [0; 2];
            for latency in LATENCIES {
                let mut costs = [Vec::new(), Vec::new()];
                for round in 0..ROUNDS {
                    let place = format!("{work:?}-{tool:?}-{}-{round}", latency.as_millis());
                    let place = place.to_lowercase();
                    bench.slow(Duration::ZERO);
                    let lines = bench.lines(tool, work, &place).await?;
                    bench.slow(latency);
                    for costs in &mut costs {
                        costs.push(bench.cost(&lines).await?);
                        bench.check(tool, work, &place).await?;
                    }
                }
                for (number, costs) in costs.into_iter().enumerate() {
                    let cost = median(costs);
                    requests[number] = cost.requests;
                    told[number].push(format!("{:.2} s", cost.time.as_secs_f64()));
                }
            }
            let [first, again] = told.map(|times| times.join(" | "));
            let [of_first, of_again] = requests;
            tell(&format!(
                "| {what} | {} | {of_first} | {first} | {of_again} | {again} |",
                tool.name(work)
            ));
        }
    }
    Ok(())
}
