//! docs/configuration.md has every flag of the operator, with the value of the chart that sets it.

use std::fmt::Write;

use clap::CommandFactory;
use multiarch_e2e::bin::workspace;
use multiarch_operator::args::Args;
use serde_json::Value;

use crate::{
    docs::hold,
    used::change,
    yaml::{args, of_kind, render, values},
};

const HEAD: &str =
    "<!-- Made of the operator's flags: UPDATE=1 cargo test --workspace --test chart flags:: -->\n";

/// Each flag, and the value that sets it.
const FLAGS: [(&str, &str); 29] = [
    ("watch-namespace", "watchNamespaces"),
    ("watch-label-selector", "shards"),
    ("leader-elect", "leaderElection.enabled"),
    ("leader-election-namespace", "leaderElection.namespace"),
    ("leader-election-lease", "fullnameOverride"),
    ("leader-election-lease-duration", "leaderElection.leaseDurationSeconds"),
    ("leader-election-renew-deadline", "leaderElection.renewDeadlineSeconds"),
    ("leader-election-retry-period", "leaderElection.retryPeriodSeconds"),
    ("coverage-maps", "coverageMaps.enabled"),
    ("shutdown-grace", "shutdownGraceSeconds"),
    ("concurrent", "concurrent"),
    ("registry-qps", "registryQPS"),
    ("cache-mib", "cacheMiB"),
    ("node-platforms", "nodePlatforms.enabled"),
    ("sets", "sets.enabled"),
    ("archive-dir", "archives.existingClaim"),
    ("archive-dir-shared", "archives.shared"),
    ("archive-settle", "archives.settleSeconds"),
    ("insecure-allow-http", "insecureAllowHTTP"),
    ("allow-loopback-registries", "extraArgs"),
    ("allowed-registries", "allowedRegistries"),
    ("ca-bundle", "caBundle.inline"),
    ("upload-host", "uploadHosts"),
    ("token-realm", "tokenRealms"),
    ("credential-provider-config", "credentialProviders.config"),
    ("credential-provider-bin-dir", "credentialProviders.binDir"),
    ("credential-provider-allow", "credentialProviders.allow"),
    ("log-level", "logLevel"),
    ("log-format", "logFormat"),
];
/// One flag is made of two values.
const ADMIN: [(&str, &str); 2] =
    [("admin-listen", "admin.address"), ("admin-listen", "admin.port")];

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    FLAGS.into_iter().chain(ADMIN)
}

#[test]
fn each_flag_is_documented_with_its_value() {
    let mut table = String::from("| flag | variable | default | value of the chart | |\n");
    table.push_str("| --- | --- | --- | --- | --- |\n");
    for flag in Args::command().get_arguments() {
        let Some(name) = flag.get_long() else { continue };
        let of_chart: Vec<_> =
            pairs().filter(|(of, _)| *of == name).map(|(_, value)| format!("`{value}`")).collect();
        assert!(!of_chart.is_empty(), "--{name}: name its value in FLAGS");
        let default: Vec<_> = flag
            .get_default_values()
            .iter()
            .map(|value| format!("`{}`", value.display()))
            .collect();
        let variable = flag.get_env().unwrap().display().to_string();
        let help = flag.get_long_help().or(flag.get_help()).unwrap().to_string();
        let _ = writeln!(
            table,
            "| `--{name}` | `{variable}` | {} | {} | {} |",
            default.join(" "),
            of_chart.join(", "),
            help.replace('|', "\\|").replace('\n', " "),
        );
    }
    hold(&workspace().join("docs/configuration.md"), HEAD, &table);
    for (name, _) in pairs() {
        let known = Args::command();
        let known = known.get_arguments().any(|flag| flag.get_long() == Some(name));
        assert!(known, "there is no --{name} any more");
    }
}

/// The flags of all shards that `values` gives.
async fn flags(values: &Value, name: &str) -> Vec<String> {
    let objects = render(values).await;
    let deployments = of_kind(&objects, "Deployment").into_iter();
    let all = deployments.flat_map(|of| args(&of["spec"]["template"]["spec"]));
    let flag = format!("--{name}");
    all.filter(|given| given.split('=').next() == Some(&flag)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_value_sets_its_flag() {
    for (name, path) in pairs() {
        let values = values();
        let default = values.pointer(&format!("/{}", path.replace('.', "/"))).unwrap();
        let (base, changed) = change(path, default);
        let (before, after) = (flags(&base, name).await, flags(&changed, name).await);
        assert_ne!(before, after, "{path} does not change --{name}");
    }
}
