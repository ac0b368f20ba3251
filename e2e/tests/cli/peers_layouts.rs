//! OCI layouts, as a tar or as a folder: manifests and layers keep their digests.

use std::fs;

use anyhow::{Context, Result};
use multiarch_e2e::{
    archives::{Compression, Layer, Saved, Writer, save, save_containerd, unpacked, written},
    images::Image,
    peers::{Saver, crane, crane_push, push_archive},
};

use serde_json::{Value, json};

use crate::{
    peers::only,
    stage::{Stage, images, of, outcomes},
};

const NAME: &str = "docker.io/team/app:1";

/// An index of two platforms at the source.
async fn pushed(stage: &Stage) -> Result<Image> {
    let made = [Image::oci("linux/amd64", "app")?, Image::oci("linux/arm64", "app")?];
    let index = Image::index(&made)?;
    stage.source.push("team/app:1", &index).await?;
    Ok(index)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_skopeo_and_crane_saved_keeps_its_digests() -> Result<()> {
    let stage = Stage::new().await?;
    let index = pushed(&stage).await?;
    for saver in Saver::ALL.into_iter().filter(|saver| saver.keeps_digests()) {
        let file = stage.file(&format!("{saver:?}"));
        saver.save(&stage.source, "team/app:1", "linux/arm64", NAME, &file).await?;
        let path = format!("{saver:?}").to_lowercase();
        let (archive, to) = (file.display().to_string(), format!("{}/{path}", stage.target.host()));
        let load = ["load", "--archive", &archive, "--to", &to, "--name", NAME, "-o", "json"];
        let ran = stage.cli.run(&load).await?.ended(0)?;
        assert_eq!(outcomes(&ran)?, ["Published"], "{saver:?}");
        let (read, there) = stage.images(&format!("{path}/team/app:1")).await?;
        let (_, source) = images(&stage.source, "team/app:1").await?;
        let again = format!("by-{path}:1");
        if file.is_dir() {
            crane_push(&stage.source, &file, &again).await?;
        } else {
            push_archive(&stage.source, &file, &again).await?;
        }
        let (pushed, pushed_images) = images(&stage.source, &again).await?;
        if saver.saves_all() {
            assert_eq!((&read, &there), (&pushed, &pushed_images), "{saver:?}");
            assert_eq!(read.digest, index.digest(), "{saver:?}");
        } else {
            // One image becomes an index of one, to which those of other archives can come.
            assert_eq!(there.len(), 1, "{saver:?}");
            assert_eq!(there[0].1, pushed_images[0].1, "{saver:?}");
            assert_eq!(there[0], source[1], "{saver:?}");
        }
    }
    Ok(())
}

/// The graph driver's layout has layers that are not compressed, and they stay so.
#[tokio::test(flavor = "multi_thread")]
async fn a_layout_of_docker_keeps_its_digests_as_a_tar_and_as_a_folder() -> Result<()> {
    let stage = Stage::new().await?;
    for name in ["docker-26.1.5", "docker-26.1.5-containerd"] {
        let file = stage.file(&format!("{name}.tar"));
        fs::write(&file, written(name)?)?;
        let folder = unpacked(&file, name)?;
        let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json"))?)?;
        let stable =
            |it: &&Value| it["annotations"]["org.opencontainers.image.ref.name"] == "stable";
        let stable = index["manifests"].as_array().and_then(|all| all.iter().find(stable));
        let digest = stable.map(|it| it["digest"].clone()).context("no image")?;
        if name == "docker-26.1.5" {
            // skopeo finds an image by its bare tag, of which only this one is the only one; and none of Docker's format.
            let mut from = file.clone().into_os_string();
            from.push(":stable");
            push_archive(&stage.source, from.as_ref(), "by-skopeo/app:1").await?;
            assert_eq!(json!(crane(&stage.source, "by-skopeo/app:1").await?.digest), digest);
        }
        for (kind, archive) in [("tar", &file), ("folder", &folder)] {
            let archive = archive.display().to_string();
            let to = format!("{}/{kind}/{name}", stage.target.host());
            let load = ["load", "--archive", &archive, "--to", &to, "-o", "json"];
            stage.cli.run(&load).await?.ended(0)?;
            let ours = only(&stage, &format!("{kind}/{name}/team/app:stable")).await?;
            assert_eq!(json!(ours.manifest.digest), digest, "{name} as a {kind}");
            assert_eq!(ours.layers[0], ours.layers[2]);
        }
    }
    Ok(())
}

/// Two machines, each of which has pulled its own image of one index, as containerd saves it: an index whose other image is not there.
#[tokio::test(flavor = "multi_thread")]
async fn images_that_are_absent_in_one_archive_come_out_of_the_other() -> Result<()> {
    let stage = Stage::new().await?;
    let index = pushed(&stage).await?;
    let names: &[&str] = &[NAME];
    let mut given = Vec::new();
    for (architecture, compression) in
        [("amd64", Compression::None), ("arm64", Compression::Zstd(26))]
    {
        let (platform, file) = (format!("linux/{architecture}"), stage.file(architecture));
        save_containerd(&[(&index, names)], &[&platform], &file, compression)?;
        given.push(format!("{platform}={}", file.display()));
    }
    let to = stage.target.host();
    let load = ["load", "--archive", &given[0], "--to", to, "-o", "json"];
    let ran = stage.cli.run(&load).await?.ended(0)?;
    let result = of(&ran, &stage.target.reference("team/app:1"))?;
    let said = format!("{result} {}", ran.stderr);
    assert!(said.contains("linux/arm64"), "what is absent is not told: {said}");
    let (_, source) = images(&stage.source, "team/app:1").await?;
    assert_eq!(stage.images("team/app:1").await?.1, source[..1]);

    stage.cli.run(&[&load[..], &["--archive", &given[1]]].concat()).await?.ended(0)?;
    assert_eq!(stage.images("team/app:1").await?.1, source);
    Ok(())
}

/// What docker 25 and later save is read as the layout that it is, and not by its manifest.json, which knows no manifests.
#[tokio::test(flavor = "multi_thread")]
async fn one_archive_of_both_kinds_is_a_layout() -> Result<()> {
    let stage = Stage::new().await?;
    let layer = Layer::file(b"one\n")?;
    let saved = Saved::made("linux/arm64", &[NAME], vec![layer.clone()])?;
    let file = stage.file("saved.tar");
    save(Writer::Docker26, &[saved], &file, Compression::Gzip)?;
    let archive = file.display().to_string();
    stage.cli.run(&["load", "--archive", &archive, "--to", stage.target.host()]).await?.ended(0)?;
    let ours = only(&stage, "team/app:1").await?;
    assert_eq!(ours.layers, [layer.digest()]);
    Ok(())
}
