//! Only a 404 means missing: with 403, 429 or 5xx nothing is published, nothing that is published is withdrawn, and it is tried again.

use anyhow::Result;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    images::Image,
    peers,
    proxy::Answer,
    scenario,
    spec::Report,
};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_a_source_withdraws_nothing() -> Result<()> {
    let troubles = [
        (403, vec![], "False/AccessDenied"),
        (429, vec![("retry-after", "1")], "False/RateLimited"),
        (500, vec![], "False/RegistryUnreachable"),
        (503, vec![("retry-after", "1")], "False/RegistryUnreachable"),
    ];
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        // Partial, which would take a 404 for an answer.
        let spec = s.spec("app", "app:1", &BOTH).with("publishPolicy", "Partial");
        let before = s.apply_until(&spec, "True/Succeeded").await?;
        s.registry.push("app:1-amd64", &Image::oci("linux/amd64", "the next build")?).await?;
        for (status, headers, ready) in troubles {
            for method in ["HEAD", "GET"] {
                s.registry.proxy.answer(
                    method,
                    "/app/manifests/1-arm64",
                    Answer::Status(status, headers.clone()),
                );
            }
            let image = s.request("app").await?;
            assert_eq!(image.ready(), ready, "{}", image.message());
            assert!(image.message().contains(s.registry.host()), "{}", image.message());
            assert!(image.message().contains(&status.to_string()), "{}", image.message());
            assert!(image.is_true("Published"), "{image:?}");
            assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(before.digest()));
            s.registry.proxy.be_honest();
        }
        // Nobody asks: it is tried again by itself.
        let image = s.until_ready("app", "True/Succeeded").await?;
        assert_ne!(image.digest(), before.digest());
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, image.digest());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_fails_is_told_and_tried_again() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        s.registry.proxy.answer("PUT", "/app/manifests/1", Answer::Status(500, vec![]));
        let image = s.apply_until(&s.spec("app", "app:1", &BOTH), "False/PushFailed").await?;
        assert!(!image.is_true("Published"));
        s.registry.proxy.be_honest();
        s.until_ready("app", "True/Succeeded").await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_somebody_moves_is_put_back() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let before = s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;
        // `docker push app:1`, by hand.
        s.registry.push("app:1", &Image::oci("linux/amd64", "by hand")?).await?;
        let image = s.request("app").await?;
        assert_eq!((image.ready().as_str(), image.digest()), ("True/Succeeded", before.digest()));
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, before.digest());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_answer_holds_up_nobody_else() -> Result<()> {
    scenario(async |s| {
        for method in ["HEAD", "GET"] {
            s.registry.proxy.answer(method, "/v2/silent/", Answer::Never);
        }
        s.apply(&s.spec("silent", "silent:1", &BOTH)).await?;
        let asks = async || Ok((!s.registry.proxy.seen_of("/v2/silent/").is_empty()).then_some(()));
        await_some("it asks the silent one", SOON, asks).await?;
        s.push("app:1", &BOTH).await?;
        s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;
        assert!(s.registry.proxy.seen_of("/v2/silent/").iter().any(|seen| seen.status == 0));
        Ok(())
    })
    .await
}
