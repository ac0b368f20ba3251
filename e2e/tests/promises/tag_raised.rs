//! When the tag in the spec is raised, the new one is published and the old one is left as it is.

use anyhow::{Context, Result};
use multiarch_e2e::{peers, scenario, spec::Report};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

#[tokio::test(flavor = "multi_thread")]
async fn the_new_one_is_published_and_the_old_one_left() -> Result<()> {
    scenario(async |s| {
        s.push("app:1.0", &BOTH).await?;
        let old = s.apply_until(&s.spec("app", "app:1.0", &BOTH), "True/Succeeded").await?;

        // The release raises the tag first, and builds after that.
        let raised = s.spec("app", "app:1.1", &BOTH);
        let image = s.apply_until(&raised, "Unknown/WaitingForPlatforms").await?;
        assert!(image.is_true("Published"), "what was published under 1.0 is still whole");
        assert_eq!(image.digest(), old.digest());

        s.push("app:1.1", &BOTH).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "True/Succeeded");
        assert_ne!(image.digest(), old.digest());
        let status = image.status.as_ref().context("a status")?;
        assert_eq!(status.tags, ["1.1"]);
        let reference = status.reference.as_deref().context("a reference")?;
        assert!(reference.starts_with(&s.registry.reference("app:1.1@")), "{reference}");
        assert_eq!(peers::is_whole(&s.registry, "app:1.1").await?.digest, image.digest());
        assert_eq!(s.registry.digest("app:1.0").await?.as_deref(), Some(old.digest()));
        Ok(())
    })
    .await
}
