//! With attestations: Drop, what attests images is neither listed nor copied.

use anyhow::Result;
use multiarch_e2e::{
    images::Image,
    peers,
    scenario::scenario_of_two_registries,
    spec::{Report, Spec},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

#[tokio::test(flavor = "multi_thread")]
async fn dropped_they_are_neither_listed_nor_copied() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let [amd64, arm64] = BOTH.map(|platform| Image::buildx(platform, "app"));
        let index = Image::index(&[amd64?, arm64?])?;
        elsewhere.push("upstream/app:1", &index).await?;
        let spec = Spec::new(&s.registry, "app", "team/app:1")
            .source_in(elsewhere, "upstream", "upstream/app:1", &[], json!({}))
            .with("attestations", "Drop");
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(image.platforms(), BOTH);

        let read = peers::is_whole(&s.registry, "team/app:1").await?;
        assert_eq!(read.digest, image.digest());
        let [first, attestation, second, other] = &index.children[..] else {
            panic!("not two images with what attests them: {:?}", index.children)
        };
        assert_eq!(read.listed_digests()?, [first.digest(), second.digest()]);
        for dropped in [attestation, other] {
            let of = format!("team/app@{}", dropped.digest());
            assert!(peers::crane(&s.registry, &of).await.is_err(), "{of} was copied");
        }
        let own = [(BOTH[0], first.digest()), (BOTH[1], second.digest())];
        peers::each_gets_its_own(&s.registry, "team/app:1", &own).await
    })
    .await
}
