//! A source as `docker buildx` makes it, an index of one image with its provenance, is published with the provenance after the images.

use anyhow::Result;
use multiarch_e2e::{images::Image, peers, scenario, spec::Report};

#[tokio::test(flavor = "multi_thread")]
async fn provenance_follows_the_images() -> Result<()> {
    scenario(async |s| {
        let amd64 = Image::buildx("linux/amd64", "app")?;
        let arm64 = Image::buildx("linux/arm64", "app")?;
        s.registry.push("app:1-amd64", &amd64).await?;
        s.registry.push("app:1-arm64", &arm64).await?;
        let spec = s.spec("app", "app:1", &["linux/amd64", "linux/arm64"]);
        let image = s.apply_until(&spec, "True/Succeeded").await?;

        assert_eq!(image.platforms(), ["linux/amd64", "linux/arm64"]);
        // Of each child: the image, then what attests it.
        let [amd64, arm64] =
            [&amd64, &arm64].map(|index| [0, 1].map(|n| index.children[n].digest()));
        let index = peers::is_whole(&s.registry, "app:1").await?;
        assert_eq!(index.digest, image.digest());
        let (children, digests) = (index.listed()?, index.listed_digests()?);
        assert_eq!(digests[..2], [amd64[0].clone(), arm64[0].clone()]);
        let own = [("linux/amd64", amd64[0].clone()), ("linux/arm64", arm64[0].clone())];
        peers::each_gets_its_own(&s.registry, "app:1", &own).await?;
        assert_eq!(digests.len(), 4);
        for (subject, attestation) in [&amd64, &arm64].map(|pair| (&pair[0], &pair[1])) {
            let found = children.iter().find(|child| child["digest"] == **attestation);
            let annotations = found.map(|child| &child["annotations"]);
            assert_eq!(
                annotations.map(|a| &a["vnd.docker.reference.digest"]),
                Some(&subject.as_str().into())
            );
        }
        Ok(())
    })
    .await
}
