//! What k3s is installed from where there is no network: a tarball of images for each architecture, as `docker save` has written it.

use std::path::PathBuf;

use anyhow::Result;
use multiarch_e2e::archives::{
    Compression, Saved, Writer,
    k3s::{ARCHITECTURES, IMAGES, WRONG, images},
    save,
};
use serde_json::json;

use crate::stage::{Stage, of, outcomes};

fn archives(stage: &Stage) -> Result<Vec<(String, PathBuf, Vec<Saved>)>> {
    let archive = |architecture: &&str| {
        let images = images(architecture, false)?;
        let file = stage.file(&format!("k3s-airgap-images-{architecture}.tar"));
        save(Writer::Docker20, &images, &file, Compression::None)?;
        Ok((format!("linux/{architecture}"), file, images))
    };
    ARCHITECTURES.iter().map(archive).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_load_publishes_what_is_right_and_names_what_is_wrong() -> Result<()> {
    let stage = Stage::new().await?;
    let archives = archives(&stage)?;
    let given: Vec<_> = archives
        .iter()
        .map(|(platform, file, _)| format!("{platform}={}", file.display()))
        .collect();
    let given = given.iter().flat_map(|archive| ["--archive", archive]);
    let to = ["--to", stage.target.host(), "--output", "json"];
    let load: Vec<_> = ["load"].into_iter().chain(given).chain(to).collect();

    let ran = stage.cli.run(&load).await?.ended(1)?;
    for image in IMAGES {
        let result = of(&ran, &stage.target.reference(image))?;
        match WRONG.iter().find(|(name, ..)| *name == image) {
            None => {
                assert_eq!(result["outcome"], "Published", "{result:#}");
                is_right(&stage, image, &archives).await?;
            }
            Some((_, architecture, says)) => {
                assert_eq!(
                    (&result["outcome"], &result["reason"]),
                    (&json!("Failed"), &json!("PlatformMismatch"))
                );
                let message = result["message"].as_str().unwrap_or_default();
                for named in [
                    format!("linux/{architecture}"),
                    format!("linux/{says}"),
                    format!("k3s-airgap-images-{architecture}.tar"),
                ] {
                    assert!(message.contains(&named), "{message} does not say {named}");
                }
                assert_eq!(stage.target.digest(image).await?, None, "{image} was published");
            }
        }
    }
    let done: Vec<_> = (1..=8).map(|n| ran.stderr.contains(&format!("{n}/8 "))).collect();
    assert_eq!(done, [true; 8], "{}", ran.stderr);

    let ran = stage.cli.run(&[&load[..], &["--trust"]].concat()).await?.ended(0)?;
    let unchanged = outcomes(&ran)?.iter().filter(|outcome| *outcome == "Unchanged").count();
    assert_eq!(unchanged, 5, "{}", ran.stdout);
    for image in IMAGES {
        is_right(&stage, image, &archives).await?;
    }

    stage.target.proxy.forget();
    let ran = stage.cli.run(&[&load[..], &["--trust"]].concat()).await?.ended(0)?;
    assert_eq!(outcomes(&ran)?, ["Unchanged"; 8]);
    assert_eq!(stage.writes(), 0, "{:?}", stage.target.proxy.seen());
    Ok(())
}

/// Each platform that the archives are for is there, and is the image that is in its archive.
async fn is_right(
    stage: &Stage,
    image: &str,
    archives: &[(String, PathBuf, Vec<Saved>)],
) -> Result<()> {
    let (_, mut images) = stage.images(image).await?;
    images.sort_by(|one, other| one.0.cmp(&other.0));
    let name = format!("docker.io/{image}");
    let mut expected: Vec<_> = archives
        .iter()
        .map(|(platform, _, saved)| {
            let saved = saved.iter().find(|saved| saved.names.contains(&name)).unwrap();
            let diff_ids: Vec<_> = saved.layers.iter().map(|it| it.digest().to_owned()).collect();
            (platform.clone(), saved.id(), diff_ids)
        })
        .collect();
    expected.sort();
    let images: Vec<_> =
        images.into_iter().map(|(platform, of)| (platform, of.config, of.diff_ids)).collect();
    assert_eq!(images, expected, "{image}");
    Ok(())
}
