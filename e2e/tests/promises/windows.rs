//! An operating system's version and features are part of the platform: of the config, into the index, unasked.

use anyhow::Result;
use multiarch_e2e::{
    images::Image,
    peers, scenario,
    spec::{Report, Spec},
};
use serde_json::json;

const OLDER: &str = "windows(10.0.17763.5458)/amd64";
const NEWER: &str = "windows(10.0.20348.2322+win32k)/amd64";

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_with_features_are_two_platforms() -> Result<()> {
    scenario(async |s| {
        let (older, newer) = (Image::oci(OLDER, "app")?, Image::docker(NEWER, "app")?);
        let linux = Image::oci("linux/amd64", "app")?;
        s.registry.push("app:1-ltsc2019", &older).await?;
        s.registry.push("app:1-ltsc2022", &newer).await?;
        s.registry.push("app:1-linux", &linux).await?;
        let spec = Spec::new(&s.registry, "app", "app:1")
            .source("ltsc2022", "app:1-ltsc2022", &[])
            .source("linux", "app:1-linux", &["linux/amd64"])
            .source("ltsc2019", "app:1-ltsc2019", &[OLDER]);
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(image.platforms(), ["linux/amd64", OLDER, NEWER]);

        let index = peers::is_whole(&s.registry, "app:1").await?;
        assert_eq!(index.digest, image.digest());
        let listed: Vec<_> =
            index.listed()?.iter().map(|child| child["platform"].clone()).collect();
        let windows =
            |version| json!({"architecture": "amd64", "os": "windows", "os.version": version});
        let mut with_features = windows("10.0.20348.2322");
        with_features["os.features"] = json!(["win32k"]);
        let linux_platform = json!({"architecture": "amd64", "os": "linux"});
        assert_eq!(listed, [linux_platform, windows("10.0.17763.5458"), with_features]);
        let own = [("linux/amd64", linux.digest()), (OLDER, older.digest())];
        peers::each_gets_its_own(&s.registry, "app:1", &own).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_the_config_leaves_out_is_missed_and_can_be_said() -> Result<()> {
    scenario(async |s| {
        s.registry.push("app:1-windows", &Image::oci("windows/amd64", "app")?).await?;
        let with = |more| {
            let spec = Spec::new(&s.registry, "app", "app:1");
            spec.source_with("windows", "app:1-windows", &[OLDER], more)
        };
        let image = s.apply_until(&with(json!({})), "False/PlatformMismatch").await?;
        assert!(image.message().contains(OLDER), "{}", image.message());

        let trust = json!({"platformPolicy": "Trust"});
        let image = s.apply_until(&with(trust), "True/Succeeded").await?;
        assert_eq!(image.platforms(), [OLDER]);
        let index = peers::read_by_all(&s.registry, "app:1").await?;
        assert_eq!(index.listed()?[0]["platform"]["os.version"], "10.0.17763.5458");
        Ok(())
    })
    .await
}
