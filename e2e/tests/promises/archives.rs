//! Images in archives: as sources of an object, and of a set, where no registry can be reached.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use multiarch_crds::{
    condition::{Type, get},
    v1alpha1::{MultiArchImage, MultiArchImageSet, SourceState},
};
use multiarch_e2e::{
    archives::{
        Compression, Saved, Writer,
        k3s::{self, ARCHITECTURES, IMAGES, WRONG},
        save, save_containerd,
    },
    await_condition::{SOON, await_condition},
    images::Image,
    namespace::Namespace,
    objects::Objects,
    operator::Operator,
    peers,
    scenario::{REQUESTED_AT, Scenario, scenario},
    spec::{Report, Spec},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const APP: &str = "docker.io/team/app:1";

/// An operator with a folder of archives of the test's own.
struct Stage {
    folder: TempDir,
    operator: Operator,
}

impl Stage {
    async fn new(s: &Scenario, flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let dir = format!("--archive-dir={}", folder.path().display());
        let flags: Vec<_> =
            flags.iter().copied().chain([dir.as_str(), "--archive-settle=1s"]).collect();
        let operator = s.replica_with("with-archives", &flags).await?;
        Ok(Self { folder, operator })
    }

    fn file(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let file = self.folder.path().join(namespace).join(name);
        std::fs::create_dir_all(file.parent().context("a folder")?)?;
        Ok(file)
    }
}

fn write(images: &[Saved], file: &Path, compression: Compression) -> Result<()> {
    // Beside it and then moved, as those do who know that it is read.
    let beside = file.with_extension("part");
    save(Writer::Docker20, images, &beside, compression)?;
    Ok(std::fs::rename(beside, file)?)
}

/// Stops the test's own operator, which knows of no archives.
async fn alone(s: &mut Scenario) -> Result<()> {
    s.operator.kill().await
}

fn source(name: &str, path: &str, image: &str, platforms: &[&str]) -> Value {
    json!({"name": name, "archive": {"path": path, "image": image}, "platforms": platforms})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_archives_is_published_and_looked_at_by_heads_alone() -> Result<()> {
    scenario(async |s| {
        alone(s).await?;
        let stage = Stage::new(s, &[]).await?;
        let namespace = s.namespace.name.clone();
        for architecture in ["amd64", "arm64"] {
            let file = stage.file(&namespace, &format!("k3s/{architecture}.tar.zst"))?;
            write(&k3s::images(architecture, true)?, &file, Compression::Zstd(23))?;
        }
        let mut spec = Spec::new(&s.registry, "pause", "rancher/pause:3.1");
        spec.spec["sources"] = json!([
            source("amd64", "k3s/amd64.tar.zst", "rancher/pause:3.1", &["linux/amd64"]),
            source("arm64", "k3s/arm64.tar.zst", "docker.io/rancher/pause:3.1", &["linux/arm64"]),
        ]);
        let object = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(object.platforms(), ["linux/amd64", "linux/arm64"]);
        peers::is_whole(&s.registry, "rancher/pause:3.1").await?;
        let status = object.status.as_ref().context("a status")?;
        for (source, image) in status.sources.iter().zip(&status.platforms) {
            assert_eq!(source.digest, image.config_digest, "the config is what tells it");
        }
        s.registry.proxy.forget();
        s.request("pause").await?;
        let seen = s.registry.proxy.seen();
        assert!(seen.iter().all(|seen| seen.method == "HEAD"), "{seen:#?}");
        // What a clean-up deletes is put back out of its archive.
        let image = status.platforms.first().context("an image")?;
        s.registry.delete_tag(&format!("rancher/pause@{}", image.digest)).await?;
        s.objects().age("pause").await?;
        let object = s.request("pause").await?;
        assert_eq!(object.ready(), "True/Succeeded", "{}", object.message());
        let mended = peers::is_whole(&s.registry, "rancher/pause:3.1").await?;
        assert_eq!(mended.digest, object.digest());
        assert_eq!(object.digest(), status.digest.as_deref().context("a digest")?);
        drop(stage.operator);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_archive_is_told_and_mended_without_an_edit() -> Result<()> {
    scenario(async |s| {
        alone(s).await?;
        let stage = Stage::new(s, &[]).await?;
        let file = stage.file(&s.namespace.name, "app.tar")?;
        let mut spec = Spec::new(&s.registry, "app", "app:1");
        spec.spec["sources"] = json!([source("app", "app.tar", "team/app:1", &["linux/amd64"])]);
        let object = s.apply_until(&spec, "Unknown/WaitingForPlatforms").await?;
        let told = |object: &MultiArchImage| object.source("app").and_then(|it| it.message.clone());
        assert!(told(&object).context("a message")?.contains("app.tar#docker.io/team/app:1"));
        std::fs::write(&file, "no archive")?;
        let object = asked_until(s, "app", "False/UnsupportedContent").await?;
        assert!(told(&object).context("a message")?.contains("\"app.tar\" is no tar archive"));
        assert_eq!(object.source("app").map(|it| it.state), Some(SourceState::Invalid));
        let image = Saved::of(&Image::oci("linux/amd64", "app")?, &["docker.io/team/app:1"])?;
        write(&[image], &file, Compression::None)?;
        asked_until(s, "app", "True/Succeeded").await?;

        // Neither another namespace's, nor what is shared where that is for nobody, nor by a way out.
        let other = stage.file("other", "app.tar")?;
        std::fs::copy(&file, &other)?;
        std::fs::copy(&file, stage.file("_shared", "app.tar")?)?;
        std::os::unix::fs::symlink(&other, file.with_file_name("link.tar"))?;
        for (name, path, why) in [
            ("shared", "_shared/app.tar", "--archive-dir-shared"),
            ("link", "link.tar", "a link is on the way"),
        ] {
            let mut spec = Spec::new(&s.registry, name, &format!("{name}:1"));
            spec.spec["sources"] = json!([source("app", path, "team/app:1", &["linux/amd64"])]);
            let object = s.apply_until(&spec, "False/RegistryNotAllowed").await?;
            let message = told(&object).context("a message")?;
            assert!(message.contains(why), "{message}");
        }
        // What leads out by its words is no object at all.
        for path in ["../other/app.tar", "/other/app.tar", "a/../../other/app.tar"] {
            let mut spec = Spec::new(&s.registry, "out", "out:1");
            spec.spec["sources"] = json!([source("app", path, "team/app:1", &["linux/amd64"])]);
            let object = json!({
                "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage",
                "metadata": {"name": "out"}, "spec": spec.spec,
            });
            let params = PatchParams::apply("e2e").force();
            let refused = s.images().patch("out", &params, &Patch::Apply(object)).await;
            let error = refused.err().context("the API server takes it")?.to_string();
            assert!(error.contains("path"), "{error}");
        }
        drop(stage.operator);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_takes_from_archives_what_they_have_and_the_rest_from_its_registry() -> Result<()> {
    scenario(async |s| {
        alone(s).await?;
        let stage = Stage::new(s, &["--sets"]).await?;
        let namespace = s.namespace.name.clone();
        let pause = "docker.io/rancher/pause:3.1";
        let app = Image::index(&[
            Image::oci("linux/amd64", "app")?,
            Image::oci("linux/arm64", "app")?,
            Image::oci("linux/s390x", "app")?,
        ])?;
        s.registry.push("team/app:1", &app).await?;
        let write_one = |architecture: &str, file: &str, compression| {
            let image = Image::oci(&format!("linux/{architecture}"), "pause")?;
            write(&[Saved::of(&image, &[pause])?], &stage.file(&namespace, file)?, compression)
        };
        write_one("amd64", "amd64.tar", Compression::None)?;
        let plain = json!([{"host": s.registry.host(), "plainHTTP": true}]);
        let object = json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
            "metadata": {"name": "both"},
            "spec": {
                "images": [pause, "team/app:1"],
                "from": {"registry": s.registry.host()},
                // What the platforms leave out is not looked for.
                "archives": [
                    {"path": "amd64.tar"}, {"path": "more/arm64.tar.zst"},
                    {"path": "absent.tar", "platform": "linux/s390x"},
                ],
                "platforms": ["linux/amd64", "linux/arm64"],
                "to": {"registry": s.registry.host(), "prefix": "mirror"},
                "template": {"registries": plain},
            },
        });
        let sets: Api<MultiArchImageSet> = Api::namespaced(s.client.clone(), &namespace);
        sets.patch("both", &PatchParams::apply("e2e").force(), &Patch::Apply(object)).await?;
        let shown = |set: &MultiArchImageSet, ready: &str| {
            let status = set.status.as_ref()?;
            let is = get(&status.conditions, Type::Ready)?;
            (format!("{}/{}", is.status, is.reason) == ready).then(|| is.message.clone())
        };
        let waits = |set: &MultiArchImageSet| {
            let told = shown(set, "Unknown/ArchiveNotReady");
            told.is_some_and(|message| message.contains("archive more/arm64.tar.zst is not in"))
        };
        await_condition(&sets, "both", "one is awaited", SOON, waits).await?;
        write_one("arm64", "more/arm64.tar.zst", Compression::Zstd(23))?;
        let asked = json!({"metadata": {"annotations": {REQUESTED_AT: "now"}}});
        sets.patch("both", &PatchParams::default(), &Patch::Merge(asked)).await?;
        let all = |set: &MultiArchImageSet| shown(set, "True/Succeeded").is_some();
        await_condition(&sets, "both", "both are ready", 2 * SOON, all).await?;
        for object in s.images().list(&ListParams::default()).await?.items {
            assert_eq!(object.platforms(), ["linux/amd64", "linux/arm64"], "{object:#?}");
            let in_archives = object.spec.sources.iter().filter(|it| it.archive.is_some()).count();
            let is_pause = object.spec.target.image.ends_with("mirror/rancher/pause:3.1");
            assert_eq!(in_archives, if is_pause { 2 } else { 0 });
        }
        drop(stage.operator);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_path_each_of_two_tenants_has_its_own_file() -> Result<()> {
    scenario(async |s| {
        alone(s).await?;
        let other = Namespace::create(&s.client).await?;
        // One operator for both, which keeps what it has read of each.
        let both = format!("--watch-namespace={}", other.name);
        let stage = Stage::new(s, &["--sets", &both]).await?;
        let tenants = [(&s.namespace, "linux/amd64"), (&other, "linux/arm64")];
        for (namespace, platform) in tenants {
            let image = Saved::of(&Image::oci(platform, &namespace.name)?, &[APP])?;
            write(&[image], &stage.file(&namespace.name, "app.tar")?, Compression::None)?;
        }
        let secret =
            Saved::of(&Image::oci("linux/amd64", "of the other one")?, &["team/secret:1"])?;
        write(&[secret], &stage.file(&other.name, "secret.tar")?, Compression::None)?;
        for (namespace, platform) in tenants {
            let objects = Objects::of(&s.client, &namespace.name);
            let target = format!("{}/app:1", namespace.name);
            let mut spec = Spec::new(&s.registry, "app", &target);
            spec.spec["sources"] = json!([source("app", "app.tar", APP, &[platform])]);
            objects.apply_until(&spec, "True/Succeeded").await?;
            assert!(
                s.registry.whole(&target).await?.context("a tag")?.images.contains_key(platform)
            );
        }
        // What only the other one has is not there, by whatever way it is named.
        let mut spec = Spec::new(&s.registry, "secret", "secret:1");
        let named = |path: &str| json!([source("app", path, "team/secret:1", &["linux/amd64"])]);
        spec.spec["sources"] = named("secret.tar");
        s.apply_until(&spec, "Unknown/WaitingForPlatforms").await?;
        spec.spec["sources"] = named(&format!("{}/secret.tar", other.name));
        s.apply_until(&spec, "Unknown/WaitingForPlatforms").await?;
        let sets: Api<MultiArchImageSet> = Api::namespaced(s.client.clone(), &s.namespace.name);
        let object = json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
            "metadata": {"name": "secrets"},
            "spec": {
                "images": ["team/secret:1"], "archives": [{"path": "secret.tar"}],
                "to": {"registry": s.registry.host()},
            },
        });
        sets.patch("secrets", &PatchParams::apply("e2e").force(), &Patch::Apply(object)).await?;
        let is_told = |set: &MultiArchImageSet| {
            let conditions = set.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|it| it.reason == "ArchiveNotReady")
        };
        await_condition(&sets, "secrets", "its archive is not there", SOON, is_told).await?;
        assert_eq!(s.registry.digest("secret:1").await?, None);
        drop(stage.operator);
        other.delete().await
    })
    .await
}

/// Asks for runs until Ready is `ready`.
async fn asked_until(s: &Scenario, name: &str, ready: &str) -> Result<MultiArchImage> {
    let what = format!("Ready is {ready}");
    multiarch_e2e::await_condition::await_some(
        &what,
        multiarch_e2e::await_condition::SOON,
        async || {
            let object = s.request(name).await?;
            Ok((object.ready() == ready).then_some(object))
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_k3s_archives_publishes_what_is_right_and_the_rest_when_it_is_mended() -> Result<()>
{
    scenario(async |s| {
        alone(s).await?;
        let stage = Stage::new(s, &["--sets"]).await?;
        let namespace = s.namespace.name.clone();
        let file = |architecture: &str| stage.file(&namespace, &format!("k3s/{architecture}.tar"));
        for architecture in ARCHITECTURES {
            write(&k3s::images(architecture, false)?, &file(architecture)?, Compression::None)?;
        }
        let archives: Vec<_> = ARCHITECTURES
            .iter()
            .map(|it| json!({"path": format!("k3s/{it}.tar"), "platform": format!("linux/{it}")}))
            .collect();
        let spec = json!({
            "images": IMAGES, "archives": archives, "interval": "30s",
            "to": {"registry": s.registry.host(), "prefix": "k3s"},
            "template": {
                "registries": [{"host": s.registry.host(), "plainHTTP": true}],
                "interval": "30s",
            },
        });
        let object = json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
            "metadata": {"name": "k3s"}, "spec": spec,
        });
        let sets: Api<MultiArchImageSet> = Api::namespaced(s.client.clone(), &namespace);
        sets.patch("k3s", &PatchParams::apply("e2e").force(), &Patch::Apply(object)).await?;
        let shown = |set: &MultiArchImageSet, ready: &str, of: &str| {
            let status = set.status.clone().unwrap_or_default();
            let is = get(&status.conditions, Type::Ready)
                .map(|it| format!("{}/{}", it.status, it.reason));
            is.as_deref() == Some(ready) && status.summary.as_deref() == Some(of)
        };
        let minutes = std::time::Duration::from_mins(3);
        let partly = |set: &MultiArchImageSet| shown(set, "False/ImagesFailing", "5/8");
        let set = await_condition(&sets, "k3s", "5 of 8", minutes, partly).await?;
        let failing = set.status.context("a status")?.failing;
        let named: Vec<_> = failing.iter().map(|line| line.image.as_str()).collect();
        assert_eq!(named, WRONG.map(|(image, ..)| image));
        for line in &failing {
            assert_eq!(line.reason, "PlatformMismatch");
            let (_, architecture, says) =
                WRONG.iter().find(|(image, ..)| *image == line.image).context("one")?;
            let message = line.message.as_deref().unwrap_or_default();
            for word in [&format!("k3s/{architecture}.tar"), &format!("linux/{says}")] {
                assert!(message.contains(word), "{message} does not say {word}");
            }
        }
        for image in IMAGES {
            let is_wrong = WRONG.iter().any(|(name, ..)| *name == image);
            let there = s.registry.digest(&format!("k3s/{image}")).await?;
            assert_eq!(there.is_none(), is_wrong, "{image}");
        }

        // Mended archives are all that it takes.
        for architecture in ARCHITECTURES {
            write(&k3s::images(architecture, true)?, &file(architecture)?, Compression::None)?;
        }
        let wholly = |set: &MultiArchImageSet| shown(set, "True/Succeeded", "8/8");
        let set = await_condition(&sets, "k3s", "8 of 8", minutes, wholly).await?;
        let objects = s.images().list(&ListParams::default()).await?.items;
        assert_eq!(objects.len(), 8);
        for object in &objects {
            assert_eq!(object.platforms().len(), 3, "{}", object.name_any());
        }

        // A line removed: its object goes, and its tag is left.
        let patch = json!({"spec": {"images": IMAGES[1..]}});
        sets.patch("k3s", &PatchParams::default(), &Patch::Merge(patch)).await?;
        let fewer = |set: &MultiArchImageSet| shown(set, "True/Succeeded", "7/7");
        await_condition(&sets, "k3s", "7 of 7", minutes, fewer).await?;
        assert_eq!(s.images().list(&ListParams::default()).await?.items.len(), 7);
        assert!(s.registry.digest(&format!("k3s/{}", IMAGES[0])).await?.is_some());
        assert_eq!(set.name_any(), "k3s");
        drop(stage.operator);
        Ok(())
    })
    .await
}

/// As `docker pull --platform` and `docker save` leave them on two machines, of the containerd store.
#[tokio::test(flavor = "multi_thread")]
async fn archives_of_a_part_each_make_an_index_whole_by_its_digest() -> Result<()> {
    scenario(async |s| {
        alone(s).await?;
        let stage = Stage::new(s, &["--sets"]).await?;
        let namespace = s.namespace.name.clone();
        let both = ["linux/amd64", "linux/arm64"];
        let images = both.map(|platform| Image::oci(platform, "app"));
        let [amd64, arm64] = images;
        let app = Image::index(&[amd64?, arm64?])?;
        for (platform, file) in both.iter().zip(["amd64.tar", "arm64.tar"]) {
            let all = [(&app, &["docker.io/team/app:1"][..])];
            let file = stage.file(&namespace, file)?;
            save_containerd(&all, &[*platform], &file, Compression::None)?;
        }
        let object = json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
            "metadata": {"name": "app"},
            "spec": {
                "images": [format!("team/app:1@{}", app.digest())],
                "archives": [{"path": "amd64.tar"}, {"path": "arm64.tar"}],
                "to": {"registry": s.registry.host()},
                "template": {
                    "registries": [{"host": s.registry.host(), "plainHTTP": true}],
                    // Nobody logs in to an archive, and the API server would refuse who does.
                    "source": {"secretRef": {"name": "pull"}},
                    "target": {"additionalTags": ["mirrored"]},
                },
            },
        });
        let sets: Api<MultiArchImageSet> = Api::namespaced(s.client.clone(), &namespace);
        sets.patch("app", &PatchParams::apply("e2e").force(), &Patch::Apply(object)).await?;
        let all = |set: &MultiArchImageSet| {
            let status = set.status.as_ref();
            let ready = status.and_then(|status| get(&status.conditions, Type::Ready));
            ready.is_some_and(|ready| ready.status == "True")
        };
        await_condition(&sets, "app", "it is ready", 2 * SOON, all).await?;
        let [object] = &s.images().list(&ListParams::default()).await?.items[..] else {
            anyhow::bail!("not one object");
        };
        assert_eq!(object.platforms(), both);
        for (source, platform) in object.spec.sources.iter().zip(both) {
            let archive = source.archive.as_ref().context("an archive")?;
            assert_eq!(archive.image, format!("docker.io/team/app:1@{}", app.digest()));
            assert_eq!(
                (&source.platforms[..], &source.secret_ref),
                (&[platform.to_owned()][..], &None)
            );
        }
        peers::is_whole(&s.registry, "team/app:1").await?;
        let tags = ["team/app:1", "team/app:mirrored"];
        let [one, other] = [s.registry.digest(tags[0]).await?, s.registry.digest(tags[1]).await?];
        assert_eq!(one, other);
        drop(stage.operator);
        Ok(())
    })
    .await
}
