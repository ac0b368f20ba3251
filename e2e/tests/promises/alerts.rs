//! Debian's Prometheus scrapes the operator: its alerts fire and resolve, its dashboard shows something, and promtool finds nothing wrong.

#[path = "../../../operator/tests/alerts/every.rs"]
mod every;

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, bail};
use kube::api::DeleteParams;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    bin::workspace,
    helm::{Helm, Release},
    images::Image,
    operator::{NAMESPACE, SERVICE_ACCOUNT},
    prometheus::{AsText, Prometheus, promtool},
    proxy::Answer,
    scenario,
    scenario::scenario_with_maps_and_election,
    spec::Report,
};
use multiarch_operator::metrics::Format;
use serde_json::{Value, json};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const RULES: &str = "charts/multiarch-operator/files/alerts.yaml";
/// At which times which alert fires.
const TIMES: &str = "e2e/tests/promises/alerts.test.yaml";
/// What the dashboard shows of these is empty where no credential provider is run, and no nodes are looked at.
const EMPTY: [&str; 2] = ["multiarch_credential_provider_requests_total", "multiarch_node"];

fn path(of: &str) -> String {
    workspace().join(of).display().to_string()
}

fn yaml(of: &str) -> Result<Value> {
    let text = fs::read_to_string(path(of)).with_context(|| format!("failed to read {of}"))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{of} is not YAML"))
}

#[tokio::test]
async fn promtool_finds_nothing_to_mend_in_the_rules() -> Result<()> {
    let said = promtool(["check", "rules", "--lint=all", "--lint-fatal", &path(RULES)], "").await?;
    let rules = yaml(RULES)?["groups"][0]["rules"].as_array().map_or(0, Vec::len);
    assert!(rules > 5 && said.contains(&format!("{rules} rules found")), "{said}");
    // It would tell.
    let wrong = r"{groups: [{name: a, rules: [{alert: A, expr: 'up ='}]}]}";
    let file = tempfile::NamedTempFile::with_suffix(".yaml")?;
    fs::write(file.path(), wrong)?;
    let file = file.path().display().to_string();
    let told = promtool(["check", "rules", &file], "").await.unwrap_err().to_string();
    assert!(told.contains("could not parse expression"), "{told}");
    Ok(())
}

/// All that there are, by names, help and types.
#[tokio::test]
async fn promtool_finds_nothing_to_mend_in_the_metrics() -> Result<()> {
    let metrics = every::metrics().render(Format::Text);
    let said = promtool(["check", "metrics"], &metrics).await?;
    assert_eq!(said.trim(), "");
    // It would tell.
    let wrong = metrics.replace("multiarch_index_pushes_total", "multiarch_index_pushes");
    let told = promtool(["check", "metrics"], &wrong).await.unwrap_err().to_string();
    assert!(told.contains("multiarch_index_pushes"), "{told}");
    Ok(())
}

/// The config that the docs give to those who have no Prometheus operator, but for what Debian's Prometheus is built without, and the Pods that it finds.
#[tokio::test]
async fn promtool_takes_the_config_of_the_docs() -> Result<()> {
    let page = fs::read_to_string(path("docs/monitoring.md"))?;
    let (_, block) = page.split_once("```yaml\n").context("no config")?;
    let (block, _) = block.split_once("```").context("a config without end")?;
    let mut config: Value = serde_saphyr::from_str(block)?;
    let job = &mut config["scrape_configs"][0];
    let found = job.as_object_mut().and_then(|job| job.remove("kubernetes_sd_configs"));
    assert_eq!(found, Some(json!([{"role": "pod", "namespaces": {"names": [NAMESPACE]}}])));
    let release = Release { name: SERVICE_ACCOUNT, namespace: NAMESPACE, values: &json!({}) };
    let deployment = Helm::new()?.template(release, &["deployment.yaml"]).await?;
    let deployment: Value = serde_saphyr::from_str(&deployment)?;
    let pod = &deployment["spec"]["template"];
    let label = pod["metadata"]["labels"]["app.kubernetes.io/name"].as_str().context("no label")?;
    let port = &pod["spec"]["containers"][0]["ports"][0]["name"];
    let port = port.as_str().context("a port without a name")?;
    assert_eq!(job["relabel_configs"][0]["regex"], format!("{label};{port}"));
    let file = tempfile::NamedTempFile::with_suffix(".yaml")?;
    fs::write(file.path(), config.to_string())?;
    let file = file.path().display().to_string();
    promtool(["check", "config", "--syntax-only", &file], "").await.map(drop)
}

/// Each alert fires after its `for` and not a minute before, and not for what is well; with another `for` that would be told.
#[tokio::test]
async fn each_alert_waits_for_its_time() -> Result<()> {
    promtool(["test", "rules", &path(TIMES)], "").await?;
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    let mut times = yaml(TIMES)?;
    times["rule_files"] = json!(["alerts.yaml"]);
    fs::write(at("times.yaml"), times.to_string())?;
    for minutes in [-1, 1] {
        let (mut rules, mut names) = (yaml(RULES)?, Vec::new());
        let groups = rules["groups"].as_array_mut().context("no groups")?;
        for rule in groups.iter_mut().filter_map(|group| group["rules"].as_array_mut()).flatten() {
            rule["for"] = json!(format!("{}m", minutes_of(&rule["for"])? + minutes));
            names.push(rule["alert"].as_str().context("a rule without a name")?.to_owned());
        }
        assert!(names.len() > 8);
        fs::write(at("alerts.yaml"), rules.to_string())?;
        let told = promtool(["test", "rules", &at("times.yaml")], "").await.unwrap_err();
        let told = told.to_string();
        for name in names {
            let failed = told.contains(&format!("alertname: {name}, time:"))
                || told.contains(&format!("alertname:{name}, time:"));
            assert!(failed, "nobody sees that {name} waits {minutes} min longer: {told}");
        }
    }
    Ok(())
}

fn minutes_of(time: &Value) -> Result<i64> {
    let time = time.as_str().context("no time")?;
    let (number, unit) = time.split_at(time.len() - 1);
    let number: i64 = number.parse().with_context(|| format!("no time: {time}"))?;
    match unit {
        "m" => Ok(number),
        "h" => Ok(60 * number),
        _ => bail!("no time in minutes or hours: {time}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_fires_with_a_fault_and_resolves_without() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;
        // A job that forgot --platform: an amd64 image under arm64's tag.
        s.push("wrong:1", &["linux/amd64"]).await?;
        s.registry.push("wrong:1-arm64", &Image::oci("linux/amd64", "wrong")?).await?;
        s.apply_until(&s.spec("wrong", "wrong:1", &BOTH), "False/PlatformMismatch").await?;
        let prometheus = Prometheus::start(&[("multiarch-operator", s.operator.admin())]).await?;

        // Its labels are the object's: not the namespace of the Pod, which the target has.
        let name = "MultiArchImageNotReady";
        let namespace = s.namespace.name.as_str();
        let alert = prometheus.fires(name, &[("name", "wrong")]).await?;
        let labels: Vec<_> = alert.labels.iter().map(|(key, of)| (&**key, &**of)).collect();
        let expected = [
            ("alertname", name),
            ("name", "wrong"),
            ("namespace", namespace),
            ("severity", "warning"),
        ];
        assert_eq!(labels, expected);
        let words = format!("MultiArchImage {namespace}/wrong is not Ready");
        assert_eq!(alert.annotations.get("summary"), Some(&words));
        prometheus.fires("MultiArchImageNotPublished", &[("name", "wrong")]).await?;
        let of_app = |alerts: Vec<multiarch_e2e::prometheus::Alert>| {
            alerts.into_iter().find(|alert| alert.labels.get("name").is_some_and(|of| of == "app"))
        };
        assert!(of_app(prometheus.alerts().await?).is_none());

        s.push("wrong:1", &["linux/arm64"]).await?;
        assert_eq!(s.request("wrong").await?.ready(), "True/Succeeded");
        prometheus.resolves(name, &[("name", "wrong")]).await?;
        prometheus.resolves("MultiArchImageNotPublished", &[("name", "wrong")]).await?;

        // A registry in trouble: what is published stays, and nobody is told otherwise.
        for method in ["HEAD", "GET"] {
            let down = Answer::Status(503, vec![]);
            s.registry.proxy.answer(method, "/app/manifests/1-arm64", down);
        }
        assert_eq!(s.request("app").await?.ready(), "False/RegistryUnreachable");
        prometheus.fires(name, &[("name", "app"), ("namespace", namespace)]).await?;
        let published = prometheus.firing("MultiArchImageNotPublished", &[]).await?;
        assert!(published.is_none(), "{published:?}");
        s.registry.proxy.be_honest();
        s.until_ready("app", "True/Succeeded").await?;
        prometheus.resolves(name, &[]).await?;

        // A process that answers nobody is as good as none.
        prometheus.resolves("MultiArchOperatorAbsent", &[]).await?;
        s.operator.signal("STOP").await?;
        prometheus.fires("MultiArchOperatorAbsent", &[]).await?;
        s.operator.signal("CONT").await?;
        prometheus.resolves("MultiArchOperatorAbsent", &[]).await?;
        prometheus.stop().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_scraped_in_both_formats_and_the_dashboard_shows_it() -> Result<()> {
    scenario_with_maps_and_election(&["--sets"], async |s| {
        s.operator.await_lead(SOON).await?;
        s.registry.proxy.ask_for_tokens();
        let limited = Answer::Status(
            429,
            vec![("retry-after", "1"), ("ratelimit-limit", "100"), ("ratelimit-remaining", "76")],
        );
        s.registry.proxy.answer_times(1, "GET", "/app/manifests/1-amd64", limited);
        s.push("app:1", &BOTH).await?;
        let app = s.spec("app", "app:1", &BOTH);
        let published = s.apply_until(&app, "True/Succeeded").await?;
        s.operator.await_log("published index", SOON).await?;
        let line = s.operator.logs()?;
        let line = line.lines().find(|line| line.contains(r#""message":"published index""#));
        let line: Value = serde_json::from_str(line.context("it logs no publication")?)?;
        assert_eq!((&line["namespace"], &line["name"]), (&json!(s.namespace.name), &json!("app")));
        assert_eq!(line["reference"], json!(published.status.and_then(|status| status.reference)));

        s.push("late:1", &["linux/amd64"]).await?;
        s.apply_until(&s.spec("late", "late:1", &BOTH), "Unknown/WaitingForPlatforms").await?;

        let set = json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
            "metadata": {"name": "bad", "namespace": s.namespace.name},
            "spec": {"images": ["no image"], "to": {"registry": s.registry.host()}},
        });
        s.cluster.apply_text(&set.to_string()).await?;

        let text = AsText::of(&s.operator).await?;
        let jobs = [("open", s.operator.admin()), ("text", text.address())];
        let prometheus = Prometheus::start(&jobs).await?;
        let well = async || {
            let targets = prometheus.targets().await?;
            let well = targets.iter().all(|of| of.health == "up" && of.last_error.is_empty());
            Ok((targets.len() == 2 && well).then_some(()))
        };
        await_some("both are scraped without an error", SOON, well).await?;
        let up = async || {
            let up = prometheus.query("up == 1").await?;
            Ok((up.len() == 2).then_some(()))
        };
        await_some("both are up", SOON, up).await?;
        let same = async || {
            let (open, text) =
                (series(&prometheus, "open").await?, series(&prometheus, "text").await?);
            Ok((!open.is_empty() && open == text).then_some(()))
        };
        await_some("both have the same series", SOON, same).await?;
        // Only OpenMetrics has units.
        let metadata = prometheus.metadata().await?;
        for (job, unit) in [("open", "seconds"), ("text", "")] {
            let of = metadata.iter().find(|of| {
                of.metric == "multiarch_reconcile_duration_seconds"
                    && of.target.get("job").is_some_and(|of| of == job)
            });
            assert_eq!(of.with_context(|| format!("no metadata of {job}"))?.unit, unit);
        }

        let dashboard = yaml("charts/multiarch-operator/files/dashboard.json")?;
        let targets = dashboard["panels"].as_array().context("no panels")?;
        let targets = targets.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        let exprs: Vec<_> = targets.filter_map(|target| target["expr"].as_str()).collect();
        assert!(exprs.len() > 20);
        for expr in exprs {
            let asked = expr.replace("$__rate_interval", "1m").replace("$job", ".+");
            let shown = async || {
                let shown = prometheus.query(&asked).await?;
                Ok((!shown.is_empty() || EMPTY.iter().any(|of| expr.contains(of))).then_some(()))
            };
            await_some(&format!("the dashboard shows {expr}"), SOON, shown).await?;
        }

        // What is deleted or suspended is gone from both, at the next scrape.
        let of = |name: &str| format!("{{__name__=~\"multiarch_.+\",name=\"{name}\"}}");
        for name in ["app", "late"] {
            assert_eq!(prometheus.query(&of(name)).await?.len(), 6, "{name}");
        }
        s.images().delete("late", &DeleteParams::default()).await?;
        s.apply_until(&app.with("suspend", true), "True/Suspended").await?;
        for name in ["app", "late"] {
            let gone = async || Ok(prometheus.query(&of(name)).await?.is_empty().then_some(()));
            await_some(&format!("the series of {name} vanish"), SOON, gone).await?;
        }
        let up = prometheus.query("multiarch_build_info").await?;
        assert_eq!(up.len(), 2, "{up:?}");
        prometheus.stop().await
    })
    .await
}

/// All of ours that `job` has now, by name and labels.
async fn series(prometheus: &Prometheus, job: &str) -> Result<BTreeSet<(String, String)>> {
    let ours = prometheus.query(&format!("{{__name__=~\"multiarch_.+\",job=\"{job}\"}}")).await?;
    let without_target = |mut labels: std::collections::BTreeMap<String, String>| {
        labels.retain(|label, _| label != "job" && label != "instance");
        format!("{labels:?}")
    };
    Ok(ours.into_iter().map(|of| (of.name, without_target(of.labels))).collect())
}
