//! The operator's image is what registries and tools take it for, the same each time, and runs on nothing but itself.

use std::{
    env, fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use axum::{Router, extract::Request, http::StatusCode};
use flate2::read::GzDecoder;
use multiarch_e2e::{bin, images::digest, peers, process::Process, scenario};
use multiarch_image::{
    elf,
    layout::{About, Layout},
    platform::Platform,
    root,
};
use multiarch_operator::oci::ImageConfig;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};

/// The image of a build for tests, and what is in it.
struct Made {
    archive: Vec<u8>,
    digest: String,
    manifest: Value,
    config: Value,
    layer: Vec<u8>,
}

impl Made {
    fn read() -> Result<Self> {
        let folder = bin::image()?;
        let read = |path: &str| {
            fs::read(folder.join(path)).with_context(|| format!("failed to read {path}"))
        };
        let blob = |of: &Value| {
            let wanted = of["digest"].as_str().context("no digest")?;
            let bytes = read(&format!("layout/blobs/{}", wanted.replace(':', "/")))?;
            ensure!(digest(&bytes) == wanted, "{wanted} has other bytes");
            ensure!(of["size"] == bytes.len(), "{wanted} has another size");
            Ok(bytes)
        };
        let index: Value = serde_json::from_slice(&read("layout/index.json")?)?;
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])?)?;
        let config = serde_json::from_slice(&blob(&manifest["config"])?)?;
        let layer = blob(&manifest["layers"][0])?;
        let digest = String::from_utf8(read("digest")?)?.trim().to_owned();
        Ok(Self { archive: read("image.tar")?, digest, manifest, config, layer })
    }

    /// Puts its files into `folder`.
    fn unpack(&self, folder: &Path) -> Result<()> {
        let mut archive = tar::Archive::new(GzDecoder::new(&*self.layer));
        archive.unpack(folder).context("failed to unpack the layer")
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.config["config"]["Labels"][format!("org.opencontainers.image.{key}")].as_str()
    }
}

/// That of this machine, as the compiler calls it.
fn here() -> Result<Platform> {
    let rustc = Command::new("rustc").arg("-vV").output().context("failed to run rustc")?;
    let about = String::from_utf8(rustc.stdout)?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    Platform::of(host.context("a compiler without host")?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_is_pushed_by_any_tool_under_one_digest() -> Result<()> {
    scenario(async |s| {
        let (folder, made) = (bin::image()?, Made::read()?);
        peers::push_archive(&s.registry, &folder.join("image.tar"), "operator:skopeo").await?;
        peers::crane_push(&s.registry, &folder.join("layout"), "operator:crane").await?;
        for tag in ["operator:skopeo", "operator:crane"] {
            assert_eq!(peers::is_whole(&s.registry, tag).await?.digest, made.digest);
        }
        // Declared and read from the config: they agree, and the operator publishes its own image.
        let architecture = here()?.architecture;
        let platform = format!("linux/{architecture}");
        let spec = s.spec("operator", "operator:1", &[]);
        let spec = spec.source("here", "operator:crane", &[&platform]);
        s.apply_until(&spec, "True/Succeeded").await?;
        Ok(())
    })
    .await
}

#[test]
fn the_image_says_what_it_is_and_runs_as_nobody() -> Result<()> {
    let made = Made::read()?;
    let platform = ImageConfig::parse(made.config.to_string().as_bytes())?.platform;
    let here = here()?;
    assert_eq!((&*platform.os, &*platform.architecture), ("linux", here.architecture));
    assert_eq!(platform.variant.as_deref(), here.variant);
    let run = &made.config["config"];
    assert_eq!(run["User"], "65532:65532");
    assert_eq!(run["Entrypoint"], json!(["/multiarch-operator"]));
    for key in ["created", "description", "documentation", "licenses", "source", "title", "version"]
    {
        assert!(made.label(key).is_some_and(|value| !value.is_empty()), "{key}");
    }
    assert_eq!(made.manifest["annotations"], run["Labels"]);
    assert_eq!(made.config["created"].as_str(), made.label("created"));
    Ok(())
}

#[test]
fn one_program_and_one_commit_give_one_digest() -> Result<()> {
    let (made, folder) = (Made::read()?, tempfile::tempdir()?);
    made.unpack(folder.path())?;
    let program = fs::read(folder.path().join(root::PROGRAM))?;
    let created: jiff::Timestamp = made.label("created").context("no time")?.parse()?;
    let about = About {
        version: made.label("version").context("no version")?.into(),
        revision: made.label("revision").map(Into::into),
        created: created.as_second().try_into()?,
        source: made.label("source").context("no source")?.into(),
    };
    let again = Layout::of(program.clone(), &here()?, &about)?;
    assert_eq!(again.digest, made.digest);
    assert!(again.archive()? == made.archive, "another archive of the same image");
    let later = Layout::of(program, &here()?, &About { created: about.created + 1, ..about })?;
    assert_ne!(later.digest, made.digest);
    Ok(())
}

#[test]
fn scanners_find_the_packages_in_the_program_and_beside_it() -> Result<()> {
    use object::{Object as _, ObjectSection as _};

    let (made, folder) = (Made::read()?, tempfile::tempdir()?);
    made.unpack(folder.path())?;
    let program = fs::read(folder.path().join(root::PROGRAM))?;
    let file = object::File::parse(&*program)?;
    let section = file.section_by_name(".dep-v0").context("no list of packages")?;
    let mut json = Vec::new();
    std::io::copy(&mut flate2::read::ZlibDecoder::new(section.data()?), &mut json)?;
    let listed: Value = serde_json::from_slice(&json)?;
    let listed = listed["packages"].as_array().context("no packages")?;
    let of = |name: &str| listed.iter().position(|package| package["name"] == name);
    let operator = &listed[of("multiarch-operator").context("no operator")?];
    assert_eq!((&operator["root"], &operator["source"]), (&json!(true), &json!("local")));
    let ring = of("ring").context("no TLS provider")?;
    assert_eq!(listed[ring]["source"], "crates.io");
    let rustls = &listed[of("rustls").context("no rustls")?];
    let uses = rustls["dependencies"].as_array().context("it uses nothing")?;
    assert!(uses.contains(&json!(ring)), "{rustls}");
    for absent in ["clap_derive", "proptest", "multiarch-e2e", "tar"] {
        assert_eq!(of(absent), None, "{absent} is not in the program");
    }

    let bill: Value = serde_json::from_slice(&fs::read(bin::image()?.join("sbom.cdx.json"))?)?;
    let components = bill["components"].as_array().context("no components")?;
    let glibc = elf::read(&program)?.glibc.context("no C library")?;
    for (name, version) in
        [("ring", listed[ring]["version"].as_str().unwrap_or_default()), ("glibc", &glibc.version)]
    {
        let has = |it: &&Value| it["name"] == name && it["version"] == version;
        assert_eq!(components.iter().filter(has).count(), 1, "{name} {version}");
    }
    assert!(components.iter().any(|it| it["name"] == "webpki-root-certs"));
    // All but the operator, with the CAs and glibc.
    assert_eq!(components.len(), listed.len() - 1 + 2);
    let hash = &bill["metadata"]["component"]["hashes"][0]["content"];
    assert_eq!(format!("sha256:{}", hash.as_str().unwrap_or_default()), digest(&program));
    Ok(())
}

/// Says that a test is inside of [`inside`]'s namespaces, and which folder it may use there.
const INSIDE: &str = "MULTIARCH_INSIDE";
const API: &str = "api.cluster.test";

/// Runs the test called `name` once more where network and mounts are its own, and it may be root of them.
fn inside(name: &str) -> Result<()> {
    // Removed from here, where nothing is mounted in it.
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    let script = r#"ip link set lo up && exec "$0" "$@""#;
    let mut unshare = Command::new("unshare");
    unshare.args(["--map-root-user", "--net", "--mount", "--", "sh", "-c", script]);
    unshare.arg(env::current_exe().context("failed to find the running program")?);
    let output = unshare
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, folder.path())
        .stdin(Stdio::null())
        .output()
        .context("failed to run unshare (of util-linux)")?;
    let (told, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(
        output.status.success() && told.contains("1 passed"),
        "inside of a network of its own (it needs `unshare --map-root-user --net --mount`, which the kernel may forbid to \
         others than root: kernel.apparmor_restrict_unprivileged_userns, and `ip`): {told}{errors}"
    );
    Ok(())
}

/// A static glibc may have no way to look up names. The image has nothing else, so it is started in its own files.
#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up_by_the_image_alone() -> Result<()> {
    let Some(folder) = env::var_os(INSIDE).map(PathBuf::from) else {
        return inside("image::names_are_looked_up_by_the_image_alone");
    };
    Made::read()?.unpack(&folder)?;
    // What every container has. Each by itself: nothing of the machine's is below a folder that is removed.
    fs::create_dir(folder.join("dev"))?;
    for device in ["null", "random", "urandom"] {
        let (of, to) = (Path::new("/dev").join(device), folder.join("dev").join(device));
        fs::write(&to, "")?;
        let mounted = Command::new("mount").arg("--bind").args([&of, &to]).status()?;
        ensure!(mounted.success(), "failed to mount {}", of.display());
    }
    let (asked, mut asks) = tokio::sync::mpsc::unbounded_channel();
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = server.local_addr()?.port();
    let asked = Arc::new(asked);
    let app = Router::new().fallback(move |request: Request| {
        let asked = Arc::clone(&asked);
        async move {
            let host = request.headers().get("host").and_then(|host| host.to_str().ok());
            let told = (host.unwrap_or_default().to_owned(), request.uri().path().to_owned());
            // Whoever reads it may have seen enough.
            drop(asked.send(told));
            StatusCode::SERVICE_UNAVAILABLE
        }
    });
    tokio::spawn(async move { axum::serve(server, app).await });
    let names = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).await?;
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((size, from)) = names.recv_from(&mut query).await {
            drop(names.send_to(&answer(&query[..size]), from).await);
        }
    });

    fs::write(folder.join("etc/resolv.conf"), "nameserver 127.0.0.1\n")?;
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{API}:{port}")}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    });
    fs::write(folder.join("tmp/kubeconfig"), kubeconfig.to_string())?;
    let mut operator = tokio::process::Command::new("chroot");
    operator.arg(&folder).arg("/multiarch-operator");
    operator.args(["--admin-listen", "127.0.0.1:0"]);
    operator.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    operator.env("KUBECONFIG", "/tmp/kubeconfig");
    let mut operator = Process::start(operator, &folder.join("tmp/log"))?;
    tokio::select! {
        asked = asks.recv() => {
            let (host, path) = asked.context("the server has ended")?;
            assert_eq!(host, format!("{API}:{port}"));
            assert!(path.starts_with("/apis/multiarch.dev/"), "{path}");
        }
        ended = operator.ended(multiarch_e2e::await_condition::SOON) => {
            panic!("nothing was asked: {ended:?}\n{}", operator.logs()?);
        }
    }
    operator.kill().await
}

/// Who [`API`] is, as a name server says it (RFC 1035): on this machine; nobody else has an address.
fn answer(query: &[u8]) -> Vec<u8> {
    // The question: names in labels up to an empty one, then two bytes each for type and class.
    let name = query.get(12..).unwrap_or_default();
    let end = 12 + name.iter().position(|byte| *byte == 0).unwrap_or_default() + 5;
    let mut answer = query.get(..end).unwrap_or_default().to_vec();
    let spelt: Vec<u8> = API
        .split('.')
        .flat_map(|label| {
            [&[u8::try_from(label.len()).unwrap_or_default()], label.as_bytes()].concat()
        })
        .collect();
    let (known, is_v4) = (name.starts_with(&spelt), query.get(end - 4..end - 2) == Some(&[0, 1]));
    let found = u8::from(known && is_v4);
    // An answer, with recursion; no such name unless it is this one; one question, and what was found.
    answer.splice(2..12, [0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, found, 0, 0, 0, 0]);
    if found == 1 {
        // The name of the question, an IPv4 address, for a minute.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    answer
}
