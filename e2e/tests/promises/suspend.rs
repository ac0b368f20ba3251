//! A suspended object is left alone, with what is published; resumed, it catches up at once.

use anyhow::Result;
use multiarch_e2e::{images::Image, scenario, spec::Report};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

#[tokio::test(flavor = "multi_thread")]
async fn suspended_is_left_alone_and_resumed_catches_up() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let spec = s.spec("app", "app:1", &BOTH);
        let before = s.apply_until(&spec, "True/Succeeded").await?;

        s.registry.proxy.forget();
        let suspended =
            s.apply_until(&spec.clone().with("suspend", true), "True/Suspended").await?;
        assert!(
            suspended.condition("Reconciling").is_none()
                && suspended.condition("Stalled").is_none()
        );
        assert!(suspended.is_true("Published"));
        assert_eq!(suspended.digest(), before.digest());
        s.registry.push("app:1-amd64", &Image::oci("linux/amd64", "the next build")?).await?;
        // Being asked does not wake it either: another object is done, and it is not.
        s.push("other:1", &BOTH).await?;
        s.apply_until(&s.spec("other", "other:1", &BOTH), "True/Succeeded").await?;
        assert_eq!(s.registry.proxy.seen_of("/v2/app/"), []);
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(before.digest()));

        let resumed = s.apply_until(&spec.with("suspend", false), "True/Succeeded").await?;
        assert_ne!(resumed.digest(), before.digest());
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(resumed.digest()));
        Ok(())
    })
    .await
}
