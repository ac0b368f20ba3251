//! /livez and /readyz answer, and /metrics is what Prometheus takes, plain or as OpenMetrics.

use anyhow::{Context, Result};
use multiarch_e2e::{operator::samples, scenario, spec::Report};

#[tokio::test(flavor = "multi_thread")]
async fn alive_ready_and_measured() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &["linux/amd64"]).await?;
        let image =
            s.apply_until(&s.spec("app", "app:1", &["linux/amd64"]), "True/Succeeded").await?;
        assert_eq!(image.platforms(), ["linux/amd64"]);
        for path in ["/livez", "/readyz"] {
            assert_eq!(s.operator.get(path, "*/*").await?.status(), 200, "{path}");
        }
        assert_eq!(s.operator.get("/", "*/*").await?.status(), 404);

        let plain = s.operator.get("/metrics", "text/plain").await?;
        let kind = content_type(&plain)?;
        assert!(kind.starts_with("text/plain") && kind.contains("version=0.0.4"), "{kind}");
        let plain = plain.text().await?;
        assert!(
            !plain.contains("# EOF") && !plain.contains("# UNIT"),
            "OpenMetrics as plain text:\n{plain}"
        );
        let samples = samples(&plain)?;
        assert!(samples.iter().all(|sample| sample.name.starts_with("multiarch_")), "{plain}");
        for name in [
            "multiarch_reconcile_duration_seconds_count",
            "multiarch_reconcile_duration_seconds_sum",
            "multiarch_resource_ready",
            "multiarch_index_pushes_total",
            "multiarch_registry_requests_total",
            "multiarch_build_info",
        ] {
            assert!(samples.iter().any(|sample| sample.name == name), "no {name} in:\n{plain}");
        }
        let ready = samples
            .iter()
            .find(|sample| sample.name == "multiarch_resource_ready")
            .context("ready")?;
        assert_eq!(ready.labels.get("name").map(String::as_str), Some("app"));
        assert_eq!(ready.labels.get("namespace"), Some(&s.namespace.name));
        assert!((ready.value - 1.0).abs() < f64::EPSILON, "{ready:?}");

        // Every series is announced with its type, which a scraper needs to make sense of it.
        let typed = |name: &str| plain.contains(&format!("# TYPE {name} "));
        for sample in &samples {
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.name.strip_suffix(end));
            assert!(
                typed(&sample.name) || family.is_some_and(typed),
                "{} has no type:\n{plain}",
                sample.name
            );
        }

        let open =
            s.operator.get("/metrics", "application/openmetrics-text; version=1.0.0").await?;
        let kind = content_type(&open)?;
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        let open = open.text().await?;
        assert!(open.ends_with("# EOF\n"), "{open}");
        Ok(())
    })
    .await
}

fn content_type(answer: &reqwest::Response) -> Result<String> {
    let kind = answer.headers().get("content-type").context("no content type")?;
    Ok(kind.to_str().context("a content type that is no text")?.to_owned())
}
