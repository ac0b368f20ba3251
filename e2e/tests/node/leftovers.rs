//! Of a node nothing stays on the machine: neither when it is told to go nor when it is killed, and the machine's own settings stay as they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    bin::tool,
    cluster::Cluster,
    node::{NodeCluster, Whereabouts, can_run},
    process::Process,
    registry::{Setup, Wire},
    tls::Certificates,
};
use serde_json::json;
use tokio::process::Command;

use crate::guest::{apply, container, namespace, registry};

/// What a kubelet sets where it is let.
const TUNABLES: [&str; 6] = [
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// How long the start of a node may take.
const START: std::time::Duration = std::time::Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays() -> Result<()> {
    if !can_run("leftovers::nothing_stays").await? {
        return Ok(());
    }
    let settings = TUNABLES.map(setting);
    let hosts = folders_of_the_host();

    // One that is killed outright.
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    let at = folder.path().join("cluster");
    let mut command = Command::new(tool("cluster")?);
    command.args(["up", "--node", "--dir"]).arg(&at);
    let mut process = Process::start(command, &folder.path().join("log"))?;
    let ready = |line: &str| line.ends_with("/kubeconfig").then_some(());
    await_some("the cluster is up", START, async || process.find_in_logs(ready)).await?;
    let text = fs::read(at.join("node.json")).context("failed to read node.json")?;
    let whereabouts = serde_json::from_slice(&text).context("failed to read node.json")?;
    let killed = Traces::of(&whereabouts, &at)?;
    process.kill().await?;
    let gone = async || Ok((killed.processes()?.is_empty() && !killed.has_link()).then_some(()));
    await_some("its processes and its network are gone", SOON, gone).await?;

    // The next one, which cleans up after it, with a pod whose image is from a registry with TLS.
    let node = NodeCluster::start().await?;
    assert_eq!(killed.cgroups(), Vec::<PathBuf>::new());
    let next = Traces::of(node.whereabouts(), node.folder())?;
    let host = node.whereabouts().host.to_string();
    let certificates = Certificates::make_for(&["registry.example.com", &host])?;
    let setup = Setup { wire: Wire::Tls(&certificates), ..Setup::default() };
    let (_registry, image) = registry(&node, folder.path(), &setup).await?;
    run_a_pod(&node.cluster, folder.path(), &image).await?;
    let (processes, cgroups) = (next.processes()?, next.cgroups());
    ensure!(processes.len() > 10, "these are all: {processes:?}");
    ensure!(!cgroups.is_empty(), "it has no cgroup");
    assert_eq!(next.mounts()?, [""; 0], "the host sees them");

    drop(node);
    assert_eq!(next.processes()?, [0; 0]);
    assert_eq!(next.cgroups(), Vec::<PathBuf>::new());
    assert_eq!(next.mounts()?, [""; 0]);
    assert!(!next.has_link());
    assert!(!next.folder.exists());
    assert_eq!(TUNABLES.map(setting), settings);
    assert_eq!(folders_of_the_host(), hosts);
    Ok(())
}

/// A pod that stays, with a token that lies on a mount.
async fn run_a_pod(cluster: &Cluster, folder: &Path, image: &str) -> Result<()> {
    namespace(cluster, "stays").await?;
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stays"},
        "spec": {"containers": [container("stays", image, &["serve"])]},
    });
    apply(cluster, folder, "stays", &pod).await?;
    let ready = ["wait", "--for=condition=Ready", "pod/stays", "--timeout=60s"];
    cluster.kubectl(["--namespace", "stays"].into_iter().chain(ready)).await.map(drop)
}

/// What a node has on the machine, by names and numbers that no other one has.
struct Traces {
    folder: PathBuf,
    /// The namespace of its processes, as a link in /proc names it.
    namespace: PathBuf,
    link: PathBuf,
    link_number: String,
    cgroup: String,
}

impl Traces {
    fn of(whereabouts: &Whereabouts, folder: &Path) -> Result<Self> {
        let ours = folder.display().to_string();
        let kubelet = processes()?.find(|process| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains(&ours) && line.contains("\0kubelet\0")
        });
        let kubelet = kubelet.context("there is no kubelet")?;
        let namespace = fs::read_link(kubelet.join("ns/pid")).context("failed to read a link")?;
        let own = fs::read_link("/proc/self/ns/pid").context("failed to read a link")?;
        ensure!(namespace != own, "the kubelet is among the host's processes");
        let link = Path::new("/sys/class/net").join(&whereabouts.link);
        let link_number = fs::read_to_string(link.join("ifindex")).context("there is no link")?;
        let (folder, cgroup) = (folder.to_owned(), whereabouts.cgroup.clone());
        Ok(Self { folder, namespace, link, link_number, cgroup })
    }

    fn processes(&self) -> Result<Vec<u32>> {
        let ours = processes()?.filter(|process| {
            // Those of a pod are in namespaces of its own, and in the node's cgroup.
            let groups = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
            fs::read_link(process.join("ns/pid")).is_ok_and(|ns| ns == self.namespace)
                || groups.contains(&self.cgroup)
        });
        Ok(ours.filter_map(|process| process.file_name()?.to_str()?.parse().ok()).collect())
    }

    fn has_link(&self) -> bool {
        fs::read_to_string(self.link.join("ifindex")).is_ok_and(|number| number == self.link_number)
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(&root).into_iter().flatten().flatten();
        let all = hierarchies.map(|hierarchy| hierarchy.path()).chain([root]);
        all.map(|hierarchy| hierarchy.join(self.cgroup.trim_start_matches('/')))
            .filter(|group| group.exists())
            .collect()
    }

    fn mounts(&self) -> Result<Vec<String>> {
        let all = fs::read_to_string("/proc/self/mountinfo").context("failed to read mounts")?;
        let folder = self.folder.display().to_string();
        let ours = all.lines().filter(|line| line.contains(&folder) || line.contains("containerd"));
        Ok(ours.map(ToOwned::to_owned).collect())
    }
}

fn processes() -> Result<impl Iterator<Item = PathBuf>> {
    let all = fs::read_dir("/proc").context("failed to list processes")?;
    let all = all.filter_map(|process| Some(process.ok()?.path()));
    Ok(all.filter(|path| path.join("cmdline").exists()))
}

fn setting(name: &str) -> String {
    fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default()
}

/// What a kubelet, containerd and CNI would make, as far as it is there.
fn folders_of_the_host() -> Vec<&'static str> {
    let all = [
        "/etc/cni",
        "/opt/containerd",
        "/run/cni",
        "/run/containerd",
        "/run/netns",
        "/run/tunables",
        "/var/lib/cni",
        "/var/lib/containerd",
        "/var/lib/kubelet",
        "/var/log/containers",
        "/var/log/pods",
    ];
    all.into_iter().filter(|path| Path::new(path).exists()).collect()
}
