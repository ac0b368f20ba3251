//! The product at work, from nothing to a published index and a refused one, told step by step (`make demo`).

#![expect(clippy::print_stdout, reason = "telling is what it is for")]

mod stage;

use std::{
    env, fs,
    path::Path,
    process::{ExitCode, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Instant, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use kube::Api;
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    await_condition::{SOON, await_condition},
    bin::{cli, tool, workspace},
    cluster::Cluster,
    spec::Report,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use self::stage::Stage;

const NAMESPACE: &str = "demo";
/// What the examples call their registry.
const HOST_OF_EXAMPLES: &str = "registry.example.com";

#[tokio::main]
async fn main() -> ExitCode {
    let folder = workspace().join(".demo");
    // Once everything was shown and is kept, being stopped is no failure.
    let kept = AtomicBool::new(false);
    let played = tokio::select! {
        played = play(&folder, &kept) => played,
        stopped = stopped() => stopped.and_then(|()| {
            say("Stopped: taking everything down");
            ensure!(kept.load(Ordering::Relaxed), "stopped before the end");
            Ok(())
        }),
    };
    let removed = fs::remove_dir_all(&folder).context("failed to remove .demo");
    let mut code = ExitCode::SUCCESS;
    for error in [played.err(), removed.err()].into_iter().flatten() {
        println!("\ndemo: {error:#}");
        code = ExitCode::FAILURE;
    }
    code
}

async fn play(folder: &Path, kept: &AtomicBool) -> Result<()> {
    let begun = Instant::now();
    let stage = Stage::set(folder).await?;
    let shown = show(&stage).await;
    if shown.is_err() {
        println!("\nthe end of the operator's log:\n  {}", stage.logs().await);
    }
    shown?;
    say(&format!("Done in {:.0} s", begun.elapsed().as_secs_f64()));
    if env::var_os("KEEP").is_some_and(|keep| !keep.is_empty()) {
        keep(&stage)?;
        kept.store(true, Ordering::Relaxed);
        // Only Ctrl-C ends this.
        std::future::pending::<()>().await;
    }
    say("Taking everything down (KEEP=1 make demo leaves it running)");
    stage.end().await
}

async fn show(stage: &Stage) -> Result<()> {
    let (cluster, registry) = (&stage.cluster, &stage.registry);
    say("Two of three builds push their image: app:1.0-amd64 and app:1.0-arm64");
    push(stage, "team/app:1.0-amd64", "linux/amd64").await?;
    push(stage, "team/app:1.0-arm64", "linux/arm64").await?;

    say("Applying examples/app.yaml, which names three: the tag app:1.0 waits for the third");
    let mut watch = Watch::start(cluster)?;
    apply(stage, "app.yaml").await?;
    watch.until("2/3").await?;

    say(
        "The third build pushes app:1.0-armv7, and asks for a look now rather than at the next interval",
    );
    push(stage, "team/app:1.0-armv7", "linux/arm/v7").await?;
    let now =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("a clock before 1970")?;
    let now = format!("multiarch.dev/requestedAt={}", now.as_secs());
    told("kubectl annotate mai app multiarch.dev/requestedAt=\"$(date +%s)\" --overwrite");
    cluster
        .kubectl(["annotate", "mai", "app", &now, "--overwrite", "--namespace", NAMESPACE])
        .await?;
    watch.until("3/3").await?;
    drop(watch);
    stage.start(&format!("{}/team/app:1.0", stage.host)).await?;

    say("The published index, as regctl reads it from the registry");
    let reference = registry.reference("team/app:1.0");
    let (host, _) = reference.split_once('/').context("a reference without host")?;
    let read = Command::new(tool("regctl")?)
        .env("HOME", workspace().join(".demo/run"))
        .args(["--host", &format!("reg={host},tls=disabled"), "manifest", "get", &reference])
        .output()
        .await
        .context("failed to run regctl")?;
    let complaint = String::from_utf8_lossy(&read.stderr);
    ensure!(read.status.success(), "regctl does not read the index: {complaint}");
    String::from_utf8_lossy(&read.stdout).lines().for_each(told);

    say(
        "A job that forgot --platform: the image under app:2.0-arm64 is for amd64. Applying examples/wrong-platform.yaml",
    );
    push(stage, "team/app:2.0-amd64", "linux/amd64").await?;
    push(stage, "team/app:2.0-arm64", "linux/amd64").await?;
    apply(stage, "wrong-platform.yaml").await?;
    let images: Api<MultiArchImage> = Api::namespaced(cluster.client().await?, NAMESPACE);
    let refused = |image: &MultiArchImage| image.is_true("Stalled");
    let image = await_condition(&images, "wrong-platform", "it is refused", SOON, refused).await?;
    told(&format!("Ready: {}: {}", image.ready(), image.message()));
    if registry.digest("team/app:2.0").await?.is_some() {
        bail!("app:2.0 was published all the same");
    }
    told("app:2.0 was not published");
    Ok(())
}

/// `kubectl get mai -w`, whose lines are shown as they come.
struct Watch {
    lines: Lines<BufReader<ChildStdout>>,
    _kubectl: Child,
}

impl Watch {
    fn start(cluster: &Cluster) -> Result<Self> {
        told("kubectl get mai -w");
        let mut kubectl = Command::new(tool("kubectl")?)
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig())
            .args(["get", "mai", "--watch", "--namespace", NAMESPACE])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("failed to run kubectl")?;
        let stdout = kubectl.stdout.take().context("kubectl without output")?;
        Ok(Self { lines: BufReader::new(stdout).lines(), _kubectl: kubectl })
    }

    /// Shows lines until one has `word`.
    async fn until(&mut self, word: &str) -> Result<()> {
        let look = async {
            while let Some(line) =
                self.lines.next_line().await.context("failed to read from kubectl")?
            {
                told(&line);
                if line.contains(word) {
                    return Ok(());
                }
            }
            bail!("kubectl ended")
        };
        timeout(SOON, look).await.with_context(|| format!("{word} did not come within {SOON:?}"))?
    }
}

async fn push(stage: &Stage, to: &str, platform: &str) -> Result<()> {
    stage.registry.push(to, &stage.image(platform, to)?).await
}

/// Applies an example to the registry of the demo: its name takes the place of registry.example.com, and it speaks plain HTTP.
async fn apply(stage: &Stage, example: &str) -> Result<()> {
    let host = &stage.host;
    let file = workspace().join("examples").join(example);
    let yaml =
        fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let plain_http = format!("spec:\n  registries: [{{host: \"{host}\", plainHTTP: true}}]\n");
    let yaml = yaml.replace(HOST_OF_EXAMPLES, host).replacen("spec:\n", &plain_http, 1);
    let local =
        tempfile::Builder::new().suffix(".yaml").tempfile().context("failed to make a file")?;
    fs::write(local.path(), yaml).context("failed to write it")?;
    let apply = ["apply", "--namespace", NAMESPACE, "--filename", &local.path().to_string_lossy()];
    stage.cluster.kubectl(apply).await.map(drop)
}

fn keep(stage: &Stage) -> Result<()> {
    let (cluster, registry) = (&stage.cluster, &stage.registry);
    let kubectl = workspace().join(".build/bin/kubectl");
    say("It stays until Ctrl-C. In another terminal:");
    told(&format!("export KUBECONFIG={}", cluster.kubeconfig().display()));
    told(&format!("alias kubectl={}", kubectl.display()));
    told(&format!("kubectl describe mai app --namespace {NAMESPACE}"));
    told(&format!("alias kubectl-multiarch={}", cli()?.display()));
    told("kubectl-multiarch status -A");
    told(&format!(
        "kubectl-multiarch inspect --plain-http {} {}",
        registry.host(),
        registry.reference("team/app:1.0")
    ));
    let crane = workspace().join(".build/bin/crane");
    told(&format!("alias crane='{} --insecure'", crane.display()));
    told(&format!("crane manifest {}", registry.reference("team/app:1.0")));
    told(&format!(
        "crane tag {} 1.0    # moves the tag; ask for a look, and it is put back",
        registry.reference("team/app:1.0-amd64")
    ));
    told(&format!(
        "kubectl annotate mai app multiarch.dev/requestedAt=\"$(date +%s)\" --overwrite --namespace {NAMESPACE}"
    ));
    told(&format!(
        "kubectl-multiarch reconcile -n {NAMESPACE} app    # asks as well, and waits for the result"
    ));
    stage.commands().iter().for_each(|command| told(command));
    Ok(())
}

async fn stopped() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("failed to wait for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}

fn say(line: &str) {
    println!("\n==> {line}");
}

fn told(line: &str) {
    println!("    {line}");
}
