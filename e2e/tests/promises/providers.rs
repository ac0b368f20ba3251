//! A credential provider plugin gives the operator's own credential to the namespace that the admin lists, and nobody else has it run.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use anyhow::{Context, Result};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    await_condition::{SOON, await_condition},
    bin::workspace,
    cluster::Cluster,
    images::Image,
    namespace::Namespace,
    operator::Operator,
    registry::{Auth, CI, Registry, Setup, Wire},
    scenario::tag_of,
    spec::{Report, Spec},
    tls::Certificates,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const NAME: &str = "test-credential-provider";
const VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";

/// A registry that asks for a password under TLS, and the folder of a plugin that knows it.
struct Stage {
    client: Client,
    registry: Registry,
    folder: TempDir,
}

impl Stage {
    async fn set(cluster: &Arc<Cluster>) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder")?;
        let made = Certificates::make()?;
        let at = folder.path().join("registry");
        let logins = [CI];
        let (auth, wire) = (Auth::Password(&logins), Wire::Tls(&made));
        let registry = Registry::start_as(&at, &Setup { auth, wire, ..Setup::default() }).await?;
        fs::write(folder.path().join("ca.pem"), &made.ca)?;
        // A link, because a file that was just written may not be executed while another test forks.
        let script = workspace().join("operator/tests/fixtures/credential-provider");
        fs::create_dir(folder.path().join("bin"))?;
        symlink(script, folder.path().join("bin").join(NAME))?;
        let answer = json!({
            "apiVersion": VERSION, "kind": "CredentialProviderResponse", "cacheKeyType": "Registry",
            "auth": {(registry.host()): {"username": CI.user, "password": CI.password}},
        });
        fs::write(folder.path().join("answer"), format!("{answer}\n"))?;
        let config = json!({
            "kind": "CredentialProviderConfig", "apiVersion": "kubelet.config.k8s.io/v1",
            "providers": [{
                "name": NAME, "matchImages": [registry.host()], "defaultCacheDuration": "1h", "apiVersion": VERSION,
                "env": [{"name": "RECORD", "value": folder.path()}],
            }],
        });
        fs::write(folder.path().join("config.json"), config.to_string())?;
        let client = cluster.client().await?;
        Ok(Self { client, registry, folder })
    }

    /// The flags of an operator that lets one namespace have it for one prefix.
    fn flags(&self, watched: &[&Namespace], allow: &str) -> Vec<String> {
        let at = |file: &str| self.folder.path().join(file).display().to_string();
        let mut flags = vec![
            format!("--ca-bundle={}", at("ca.pem")),
            format!("--credential-provider-config={}", at("config.json")),
            format!("--credential-provider-bin-dir={}", at("bin")),
            format!("--credential-provider-allow={allow}"),
        ];
        flags.extend(
            watched.iter().map(|namespace| format!("--watch-namespace={}", namespace.name)),
        );
        flags
    }

    /// Pushes images, and applies an object of them that says `provider: Kubelet`, until Ready is so.
    async fn publish(
        &self,
        namespace: &Namespace,
        app: &str,
        ready: &str,
    ) -> Result<MultiArchImage> {
        let name = app.replace(['/', ':', '.'], "-");
        let mut spec = Spec::new(&self.registry, &name, app).with("registries", json!([]));
        spec.spec["target"]["provider"] = json!("Kubelet");
        for platform in BOTH {
            let tag = tag_of(app, platform);
            self.registry.push(&tag, &Image::oci(platform, app)?).await?;
            spec = spec.source(&platform.replace('/', "-"), &tag, &[platform]);
        }
        let api: Api<MultiArchImage> = Api::namespaced(self.client.clone(), &namespace.name);
        let parameters = PatchParams::apply("e2e").force();
        api.patch(&name, &parameters, &Patch::Apply(spec.object())).await?;
        let is = |image: &MultiArchImage| image.is_current() && image.ready() == ready;
        await_condition(&api, &name, &format!("Ready is {ready}"), SOON, is).await
    }

    /// For which images the plugin was run.
    fn asked(&self) -> Result<Vec<String>> {
        let requests = fs::read_to_string(self.folder.path().join("requests")).unwrap_or_default();
        let image = |line: &str| -> Result<String> {
            let request: Value = serde_json::from_str(line)?;
            Ok(request["image"].as_str().context("no image")?.to_owned())
        };
        requests.lines().map(image).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_namespaces_only_the_listed_one_has_the_operators_credential() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let stage = Stage::set(&cluster).await?;
    let client = &stage.client;
    let (listed, other) = (Namespace::create(client).await?, Namespace::create(client).await?);
    let host = stage.registry.host();
    let flags = stage.flags(&[&listed, &other], &format!("{}={host}/team", listed.name));
    let operator = Operator::start_with(&cluster, stage.folder.path(), None, &flags).await?;

    // Nobody who is not listed has it run: neither another namespace, nor for a repository that only begins alike.
    for (namespace, app) in [(&other, "team/theirs:1"), (&listed, "team-b/app:1")] {
        let image = stage.publish(namespace, app, "False/RegistryNotAllowed").await?;
        let flag = "--credential-provider-allow";
        assert!(image.message().contains(flag), "{}", image.message());
        assert!(image.is_true("Stalled"), "{image:?}");
    }
    assert_eq!(stage.asked()?, [""; 0]);

    let image = stage.publish(&listed, "team/app:1", "True/Succeeded").await?;
    assert_eq!(stage.registry.digest("team/app:1").await?.as_deref(), Some(image.digest()));
    assert_eq!(stage.asked()?, [format!("{host}/team/app")]);

    // Nor by what is kept for the one that is.
    stage.publish(&other, "team/more:1", "False/RegistryNotAllowed").await?;
    // All repositories of the registry have it, as the plugin says.
    stage.publish(&listed, "team/second:1", "True/Succeeded").await?;
    assert_eq!(stage.asked()?.len(), 1);
    assert_eq!(stage.registry.digest("team/theirs:1").await?, None);
    let runs = operator.metric("multiarch_credential_provider_requests_total").await?;
    assert!((runs - 1.0).abs() < f64::EPSILON, "{runs}");
    let logs = operator.logs()?;
    assert!(logs.contains("asked a credential provider"), "{logs}");
    assert!(!logs.contains(CI.password), "the log has the password");
    listed.delete().await?;
    other.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_fails_is_told_by_its_name_and_exit_code() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let stage = Stage::set(&cluster).await?;
    let namespace = Namespace::create(&stage.client).await?;
    let script = stage.folder.path().join("do");
    let says = |script: &Path, text: &str| fs::write(script, text).context("failed to write");
    says(&script, &format!("echo '{}' >&2; echo '{0}'; exit 5\n", CI.password))?;
    let allow = format!("{}={}", namespace.name, stage.registry.host());
    let flags = stage.flags(&[&namespace], &allow);
    let operator = Operator::start_with(&cluster, stage.folder.path(), None, &flags).await?;
    let image = stage.publish(&namespace, "team/app:1", "False/AuthenticationFailed").await?;
    for word in [NAME, "exit code 5", stage.registry.host()] {
        assert!(image.message().contains(word), "{}", image.message());
    }
    let shown = format!("{image:?}{}", operator.logs()?);
    assert!(!shown.contains(CI.password), "the password is shown");
    // It is tried again by itself.
    says(&script, "")?;
    let api: Api<MultiArchImage> = Api::namespaced(stage.client.clone(), &namespace.name);
    let ready = |image: &MultiArchImage| image.ready() == "True/Succeeded";
    await_condition(&api, "team-app-1", "Ready is True", SOON, ready).await?;
    namespace.delete().await
}
