//! An index of the same images that another tool made is taken over as it is: nothing is written, and its digest stays.

use anyhow::Result;
use multiarch_e2e::{
    peers::{self, Maker},
    scenario,
    spec::Report,
};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

#[tokio::test(flavor = "multi_thread")]
async fn what_every_tool_made_is_taken_over_as_it_is() -> Result<()> {
    scenario(async |s| {
        for maker in Maker::ALL {
            let name = format!("{maker:?}").to_lowercase();
            let target = format!("team/{name}:1");
            s.push(&target, &BOTH).await?;
            peers::make(maker, &s.registry, &target, &["amd64", "arm64"]).await?;
            let made = peers::read_by_all(&s.registry, &target).await?;
            s.registry.proxy.forget();

            let image = s.apply_until(&s.spec(&name, &target, &BOTH), "True/Succeeded").await?;
            assert_eq!(image.digest(), made.digest, "{maker:?}: {made:?}");
            let seen = s.registry.proxy.seen();
            assert!(seen.iter().all(|seen| seen.method != "PUT"), "{maker:?}: {seen:?}");
            assert_eq!(peers::read_by_all(&s.registry, &target).await?, made);
            peers::validate(&s.registry, &target).await?;
        }
        Ok(())
    })
    .await
}
