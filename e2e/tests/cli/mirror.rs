//! A list of images from one registry to another: all platforms, or some.

use std::fs;

use anyhow::Result;
use multiarch_e2e::{archives::k3s::IMAGES, images::Image};

use crate::stage::{Stage, images, of, outcomes};

const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm/v7", "linux/arm64"];

/// The images of the list, each an index of three, and a list with comments and empty lines.
async fn list(stage: &Stage) -> Result<String> {
    for (number, image) in IMAGES.iter().enumerate() {
        let made = PLATFORMS.map(|platform| match number % 2 {
            0 => Image::docker(platform, image),
            _ => Image::oci(platform, image),
        });
        let made = made.into_iter().collect::<Result<Vec<_>>>()?;
        stage.source.push(image, &Image::index(&made)?).await?;
    }
    let file = stage.file("images.txt");
    fs::write(&file, format!("# k3s v1.21.7\n\n{}\n", IMAGES.join("\n")))?;
    Ok(file.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chosen_platforms_of_each_are_there_in_one_command() -> Result<()> {
    let stage = Stage::new().await?;
    let list = list(&stage).await?;
    let (from, to) = (stage.source.host(), stage.target.host());
    let mirror = ["mirror", "--images", &list, "--from", from, "--to", to];
    let chosen = [&mirror[..], &["--platform", "linux/amd64,linux/arm64", "-o", "json"]].concat();
    let ran = stage.cli.run(&chosen).await?.ended(0)?;
    assert_eq!(outcomes(&ran)?, ["Published"; 8]);
    let shown: Vec<_> = (1..=8).map(|n| ran.stderr.contains(&format!("{n}/8 "))).collect();
    assert_eq!(shown, [true; 8], "{}", ran.stderr);
    for image in IMAGES {
        let (_, there) = stage.images(image).await?;
        let (_, source) = images(&stage.source, image).await?;
        let chosen = source.into_iter().filter(|(platform, _)| platform != "linux/arm/v7");
        assert_eq!(there, chosen.collect::<Vec<_>>(), "{image}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_choice_every_digest_is_the_sources() -> Result<()> {
    let stage = Stage::new().await?;
    let list = list(&stage).await?;
    // Images of one platform without an index, what buildx pushes, and an index of Docker's own format.
    stage.source.push("team/single:1", &Image::docker("linux/arm64", "single")?).await?;
    stage.source.push("team/single:2", &Image::oci("linux/arm64", "single")?).await?;
    stage.source.push("team/buildx:1", &Image::buildx("linux/amd64", "buildx")?).await?;
    let made = PLATFORMS.map(|platform| Image::docker(platform, "list"));
    let list_of_docker = Image::docker_list(&made.into_iter().collect::<Result<Vec<_>>>()?)?;
    stage.source.push("team/list:1", &list_of_docker).await?;
    let (from, to) = (stage.source.host(), stage.target.host());
    let more = ["team/single:1", "team/single:2", "team/buildx:1", "team/list:1"];
    let mirror = ["mirror", "--images", &list, "--from", from, "--to", to, "-o", "json"];
    let mirror = [&mirror[..], &more].concat();
    let ran = stage.cli.run(&mirror).await?.ended(0)?;
    for image in IMAGES.iter().chain(&more) {
        let digest = stage.source.digest(image).await?;
        assert!(digest.is_some());
        assert_eq!(stage.target.digest(image).await?, digest, "{image}");
        let result = of(&ran, &stage.target.reference(image))?;
        assert_eq!(result["digest"].as_str().map(ToOwned::to_owned), digest, "{result:#}");
    }

    stage.target.proxy.forget();
    let ran = stage.cli.run(&mirror).await?.ended(0)?;
    assert_eq!(outcomes(&ran)?, ["Unchanged"; 12]);
    assert_eq!(stage.writes(), 0, "{:?}", stage.target.proxy.seen());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_missing_stops_no_other() -> Result<()> {
    let stage = Stage::new().await?;
    let list = list(&stage).await?;
    stage.source.delete_tag(IMAGES[3]).await?;
    let (from, to) = (stage.source.host(), stage.target.host());
    let mirror = ["mirror", "--images", &list, "--from", from, "--to", to, "-o", "json"];
    let ran = stage.cli.run(&mirror).await?.ended(1)?;
    let outcomes = outcomes(&ran)?;
    for (image, outcome) in IMAGES.iter().zip(outcomes) {
        let is_there = stage.target.digest(image).await?.is_some();
        assert_eq!(is_there, *image != IMAGES[3], "{image}: {outcome}");
        assert_eq!(outcome == "Published", is_there, "{image}: {outcome}");
    }
    Ok(())
}
