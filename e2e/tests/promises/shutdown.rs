//! Told to stop, the operator begins nothing, ends what is at hand in the time that it is given, and says that all is well; told twice, it ends at once.

use std::time::Duration;

use anyhow::Result;
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_some},
    images::Image,
    proxy::{Answer, Seen},
    scenario,
    scenario::{scenario_of_two_registries, scenario_with},
    spec::{Report, Spec},
};
use serde_json::json;

/// What is promised; a kubelet waits for thirty.
const GRACE: Duration = Duration::from_secs(15);

/// A copy of some MiB on a busy machine.
const BUSY: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_do() -> Result<()> {
    scenario(async |s| {
        let status = s.operator.terminate(GRACE).await?;
        assert!(status.success(), "{status}");
        Ok(())
    })
    .await
}

/// A registry that does not answer is waited for as long as --shutdown-grace says.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_registry_does_not_answer() -> Result<()> {
    scenario_with(&["--shutdown-grace=1s"], async |s| {
        asks_in_vain(s).await?;
        let status = s.operator.terminate(GRACE).await?;
        assert!(status.success(), "{status}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn told_twice_it_ends_at_once() -> Result<()> {
    scenario_with(&["--shutdown-grace=1h"], async |s| {
        asks_in_vain(s).await?;
        s.operator.signal("TERM").await?;
        s.operator.await_log("stopping", SOON).await?;
        s.operator.signal("INT").await?;
        let status = s.operator.ended(SOON).await?;
        assert_eq!(status.code(), Some(1), "it says that not all is well");
        Ok(())
    })
    .await
}

/// A publication that has begun is published and reported.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_hand_is_finished() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        s.operator.terminate(GRACE).await?;
        s.operator = s.replica_with("patient", &["--shutdown-grace=1h"]).await?;
        elsewhere.push("ci/app:1-amd64", &Image::large("linux/amd64", 16 << 20)?).await?;
        let spec = Spec::new(&s.registry, "app", "app:1").source_in(
            elsewhere,
            "amd64",
            "ci/app:1-amd64",
            &[],
            json!({}),
        );
        s.apply(&spec).await?;
        let uploads =
            async || Ok(s.registry.proxy.seen().iter().any(Seen::is_upload).then_some(()));
        await_some("it uploads", SOON, uploads).await?;
        let status = s.operator.terminate(BUSY).await?;
        assert!(status.success(), "{status}");
        let image: MultiArchImage = s.images().get("app").await?;
        assert_eq!(image.ready(), "True/Succeeded");
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(image.digest()));
        Ok(())
    })
    .await
}

/// An upload that is cut off is cancelled, and the next start goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_finished_is_cut_off() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        s.operator.terminate(GRACE).await?;
        s.operator = s.replica_with("impatient", &["--shutdown-grace=1s"]).await?;
        elsewhere.push("ci/app:1-amd64", &Image::oci("linux/amd64", "app")?).await?;
        for method in ["PATCH", "PUT"] {
            s.registry.proxy.answer(method, "/app/blobs/uploads/", Answer::Never);
        }
        let spec = Spec::new(&s.registry, "app", "app:1").source_in(
            elsewhere,
            "amd64",
            "ci/app:1-amd64",
            &[],
            json!({}),
        );
        s.apply(&spec).await?;
        let begun = || s.registry.proxy.seen().into_iter().filter(Seen::is_start).count();
        let uploads = async || Ok((begun() > 0).then_some(()));
        await_some("it uploads", SOON, uploads).await?;
        let status = s.operator.terminate(GRACE).await?;
        assert!(status.success(), "{status}");
        let seen = s.registry.proxy.seen();
        let cancelled = seen.iter().filter(|seen| seen.method == "DELETE").count();
        assert_eq!(cancelled, begun(), "{seen:?}");
        assert_eq!(s.registry.digest("app:1").await?, None);

        s.registry.proxy.be_honest();
        s.operator.restart().await?;
        s.until_ready("app", "True/Succeeded").await?;
        Ok(())
    })
    .await
}

/// An object whose registry does not answer, and the first question to it.
async fn asks_in_vain(s: &Scenario) -> Result<()> {
    s.push("app:1", &["linux/amd64"]).await?;
    for method in ["HEAD", "GET"] {
        s.registry.proxy.answer(method, "/manifests/", Answer::Never);
    }
    s.apply(&s.spec("app", "app:1", &["linux/amd64"])).await?;
    let asks = async || Ok((!s.registry.proxy.seen().is_empty()).then_some(()));
    await_some("it asks the registry", SOON, asks).await
}
