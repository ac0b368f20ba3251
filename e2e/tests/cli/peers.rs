//! Archives of docker's kind, by everybody who writes them: what is loaded is the image that skopeo and crane push of the same archive.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use multiarch_e2e::{
    archives::{Compression, Layer, Saved, WRITTEN, Writer, save, written},
    images::Image,
    peers::{Pushed, Saver, crane_pushes, has_podman, podman_save, skopeo_pushes},
    scale::tell,
};

use crate::stage::{Stage, outcomes};

/// What the archives in `fixtures/archives` have, and where it goes.
const THERE: [(&str, &str); 3] = [
    ("docker.io/team/app:1", "team/app:1"),
    ("registry.example.com:5000/team/app:stable", "team/app:stable"),
    ("docker.io/library/pause:3.1", "library/pause:3.1"),
];

/// Loads `archive`, and asserts that all of it was published.
async fn load(stage: &Stage, archive: &Path, to: &str, more: &[&str]) -> Result<()> {
    let archive = archive.display().to_string();
    let load = ["load", "--archive", &archive, "--to", to, "-o", "json"];
    let ran = stage.cli.run(&[&load[..], more].concat()).await?.ended(0)?;
    let outcomes = outcomes(&ran)?;
    assert!(!outcomes.is_empty() && outcomes.iter().all(|it| it == "Published"), "{}", ran.stdout);
    Ok(())
}

/// The one image that the target has under `of`.
pub(crate) async fn only(stage: &Stage, of: &str) -> Result<Pushed> {
    let (_, images) = stage.images(of).await?;
    assert_eq!(images.len(), 1, "{of}: {images:?}");
    Ok(images.into_iter().next().unwrap().1)
}

/// The config's digest and the diff_ids, which are the image to docker.
fn image(of: &Pushed) -> (&str, &[String]) {
    (&of.config, &of.diff_ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_docker_and_podman_saved_is_what_skopeo_pushes_of_it() -> Result<()> {
    let stage = Stage::new().await?;
    for name in WRITTEN {
        let file = stage.file(&format!("{name}.tar"));
        fs::write(&file, written(name)?)?;
        let to = format!("{}/{name}", stage.target.host());
        load(
            &stage,
            &file,
            &to,
            &["--images", "team/app,registry.example.com:5000/team/app,library/pause"],
        )
        .await?;
        for (number, (saved, path)) in THERE.iter().enumerate() {
            let ours = only(&stage, &format!("{name}/{path}")).await?;
            let pushed = format!("by-skopeo/{name}:{number}");
            let pushed = skopeo_pushes(&stage.source, &file, saved, &pushed).await?;
            assert_eq!(image(&ours), image(&pushed), "{saved} of {name}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_skopeo_and_crane_save_is_what_both_push_of_it() -> Result<()> {
    let stage = Stage::new().await?;
    let made = [Image::docker("linux/amd64", "app")?, Image::docker("linux/arm64", "app")?];
    stage.source.push("team/app:1", &Image::index(&made)?).await?;
    for saver in Saver::ALL.into_iter().filter(|saver| !saver.keeps_digests()) {
        let file = stage.file(&format!("{saver:?}.tar"));
        let name = "docker.io/team/app:1";
        saver.save(&stage.source, "team/app:1", "linux/arm64", name, &file).await?;
        let to = format!("{}/{}", stage.target.host(), format!("{saver:?}").to_lowercase());
        load(&stage, &file, &to, &[]).await?;
        let ours = format!("{}/team/app:1", format!("{saver:?}").to_lowercase());
        let ours = only(&stage, &ours).await?;
        let crane = crane_pushes(&stage.source, &file, &format!("by-crane/app:{saver:?}")).await?;
        assert_eq!(image(&ours), image(&crane), "{saver:?} by crane");
        let name = match saver {
            Saver::SkopeoDocker => name.to_owned(),
            // crane calls it as it was called where it came from.
            _ => stage.source.uncounted("team/app:1"),
        };
        let tag = format!("by-skopeo/app:{saver:?}");
        let skopeo = skopeo_pushes(&stage.source, &file, &name, &tag).await?;
        assert_eq!(image(&ours), image(&skopeo), "{saver:?} by skopeo");
        // The layers of crane's are the registry's own.
        let config = made[1].blobs().next().context("no config")?;
        assert_eq!(ours.config, config, "{saver:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_images_that_podman_saves_are_those_that_it_pulled() -> Result<()> {
    if !has_podman() {
        tell(
            "NOT RUN HERE: podman's own archive, since there is no podman (hack/build-tools.sh podman says why)",
        );
        return Ok(());
    }
    let stage = Stage::new().await?;
    let made = [Image::docker("linux/arm64", "one")?, Image::docker("linux/arm64", "two")?];
    let names = [("team/one:1", "docker.io/team/one:1"), ("team/two:2", "docker.io/team/two:2")];
    for (image, (of, _)) in made.iter().zip(names) {
        stage.source.push(of, image).await?;
    }
    let file = stage.file("podman.tar");
    podman_save(&stage.source, "linux/arm64", &names, &file).await?;
    load(&stage, &file, stage.target.host(), &[]).await?;
    for (made, (of, name)) in made.iter().zip(names) {
        let ours = only(&stage, of).await?;
        assert_eq!(Some(ours.config.clone()), made.blobs().next(), "{of}");
        let pushed = skopeo_pushes(&stage.source, &file, name, &format!("by-skopeo/{of}")).await?;
        assert_eq!(image(&ours), image(&pushed), "{of}");
    }
    Ok(())
}

/// Two images that share a layer, and one that has a layer twice.
fn saved() -> Result<Vec<Saved>> {
    let [one, two] = [Layer::file(b"one\n")?, Layer::file(b"two\n")?];
    Ok(vec![
        Saved::made("linux/arm64", &["docker.io/team/app:1"], vec![one.clone(), two.clone()])?,
        Saved::made("linux/arm64", &["docker.io/team/other:1"], vec![one.clone(), two, one])?,
    ])
}

/// Archives of the same images, compressed in each way.
fn compressed(stage: &Stage, writer: Writer) -> Result<Vec<PathBuf>> {
    let ways = [Compression::None, Compression::Gzip, Compression::Zstd(25)];
    let archive = |compression: Compression| {
        let file = stage.file(&format!("{writer:?}-{compression:?}").replace(['(', ')'], ""));
        save(writer, &saved()?, &file, compression).map(|()| file)
    };
    ways.into_iter().map(archive).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_the_same_however_it_is_compressed() -> Result<()> {
    let stage = Stage::new().await?;
    for writer in [Writer::Docker20, Writer::Docker26] {
        let mut all = Vec::new();
        for (number, file) in compressed(&stage, writer)?.iter().enumerate() {
            let path = format!("{writer:?}-{number}").to_lowercase();
            load(&stage, file, &format!("{}/{path}", stage.target.host()), &[]).await?;
            let mut digests = Vec::new();
            for image in &saved()? {
                let of = image.names[0].replacen("docker.io", &path, 1);
                let ours = only(&stage, &of).await?;
                assert_eq!(ours.config, image.id(), "{of}");
                let diff_ids: Vec<_> = image.layers.iter().map(Layer::digest).collect();
                assert_eq!(ours.diff_ids, diff_ids, "{of}");
                digests.push(ours.manifest.digest);
            }
            all.push(digests);
        }
        assert!(all.iter().all(|digests| *digests == all[0]), "{writer:?}: {all:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_a_pipe_is_spooled() -> Result<()> {
    let stage = Stage::new().await?;
    let file = &compressed(&stage, Writer::Docker20)?[2];
    let load = ["load", "--archive", "-", "--to", stage.target.host(), "-o", "json"];
    stage.cli.run(&load).await?.ended(1)?;
    let mut command = stage.cli.command(&[&load[..], &["--spool"]].concat())?;
    let output = command.stdin(fs::File::open(file)?).output().await?;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(only(&stage, "team/app:1").await?.config, saved()?[0].id());
    Ok(())
}
