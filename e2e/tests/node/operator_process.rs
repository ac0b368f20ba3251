//! The operator's process in a Pod, as the host sees it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::process::Command;

use crate::stage::{SYSTEM, Stage};

/// A process.
#[derive(Debug)]
pub(crate) struct OperatorProcess {
    proc: PathBuf,
    /// When it was started: no other process that has its number was then.
    started: String,
}

impl OperatorProcess {
    /// That of the Pod called `pod` in [`SYSTEM`].
    pub(crate) async fn of(s: &Stage, pod: &str) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(s.client.clone(), SYSTEM);
        let uid = pods.get(pod).await.context("no such Pod")?.metadata.uid.context("no uid")?;
        let ours = |proc: &Path| {
            let cgroups = fs::read_to_string(proc.join("cgroup")).unwrap_or_default();
            let program = fs::read_to_string(proc.join("comm")).unwrap_or_default();
            // Names of processes are cut off.
            cgroups.contains(&s.node.whereabouts().cgroup)
                && cgroups.contains(&uid)
                && program.starts_with("multiarch-opera")
        };
        let all = fs::read_dir("/proc").context("failed to list processes")?;
        let mut ours = all.filter_map(|of| Some(of.ok()?.path())).filter(|proc| ours(proc));
        let proc = ours.next().context("it does not run")?;
        let started = started(&proc).context("it has ended")?;
        Ok(Self { proc, started })
    }

    /// Whether it still runs.
    pub(crate) fn runs(&self) -> bool {
        started(&self.proc).is_some_and(|started| started == self.started)
    }

    /// Sends the signal `name` (STOP, KILL).
    pub(crate) async fn signal(&self, name: &str) -> Result<()> {
        let number = self.proc.file_name().context("a process without number")?;
        let kill = Command::new("kill").args(["-s", name]).arg(number).status().await;
        ensure!(kill.context("failed to run kill")?.success(), "failed to send {name}");
        Ok(())
    }

    /// What the kubelet counts against its request, in bytes: all that is charged to its cgroup (of either version) but files that nobody has used of late.
    pub(crate) fn working_set(&self) -> Result<u64> {
        let cgroups = fs::read_to_string(self.proc.join("cgroup")).context("it has ended")?;
        let of = |controller: &str| {
            cgroups.lines().find_map(|line| {
                let (_, line) = line.split_once(':')?;
                let (controllers, path) = line.split_once(':')?;
                let path = path.trim_start_matches('/').to_owned();
                controllers.split(',').any(|it| it == controller).then_some(path)
            })
        };
        let root = Path::new("/sys/fs/cgroup");
        let (folder, usage, inactive) = match of("memory") {
            Some(path) => {
                (root.join("memory").join(path), "memory.usage_in_bytes", "total_inactive_file ")
            }
            None => (root.join(of("").context("no cgroup")?), "memory.current", "inactive_file "),
        };
        let read =
            |file: &str| fs::read_to_string(folder.join(file)).context("failed to read a cgroup");
        let usage: u64 = read(usage)?.trim().parse().context("no number")?;
        let stat = read("memory.stat")?;
        let inactive = stat.lines().find_map(|line| line.strip_prefix(inactive)?.parse().ok());
        Ok(usage.saturating_sub(inactive.with_context(|| format!("no files in {stat}"))?))
    }
}

/// The field `starttime` of its stat; `None` where it has ended.
fn started(proc: &Path) -> Option<String> {
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    // Names of processes may have anything in them.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    if state == "Z" {
        return None;
    }
    fields.nth(18).map(ToOwned::to_owned)
}
