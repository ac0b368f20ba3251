//! What a registry asks of one tenant, to wait, it asks of no other.

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use multiarch_e2e::{
    Scenario,
    images::Image,
    namespace::Namespace,
    objects::Objects,
    operator::Operator,
    proxy::{Answer, Rule, Seen},
    registry::{CI, Login, READER},
    scale::tell,
    scenario::{scenario_of_two_tenants, tag_of},
    spec::{Report, Spec},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// How many objects each tenant has.
const OBJECTS: usize = 10;

/// So many requests of one identity are at work at once, and each may be answered so before the first answer is read.
const AT_ONCE: usize = 8;

/// Longer than any test.
const LATER: u64 = 600;

/// A namespace, and the credential that its objects push with.
struct Tenant {
    namespace: Namespace,
    objects: Objects,
    login: Login,
}

#[tokio::test(flavor = "multi_thread")]
async fn of_whom_one_is_limited_leave_each_other_alone() -> Result<()> {
    scenario_of_two_tenants(async |s| {
        let limited = Tenant::create(s, CI).await?;
        let other = Tenant::create(s, READER).await?;
        let both = format!("{},{}", limited.namespace.name, other.namespace.name);
        let folder = tempfile::tempdir().context("failed to make a folder")?;
        let operator = Operator::start(&s.cluster, folder.path(), Some(&both)).await?;
        for platform in BOTH {
            let tag = tag_of("build/app:1", platform);
            s.registry.push(&tag, &Image::oci(platform, "app")?).await?;
        }
        // Both have been there before: what they are asked to wait for is not about a password.
        for tenant in [&limited, &other] {
            tenant.objects.apply_until(&tenant.spec(s, "before"), "True/Succeeded").await?;
        }

        let answer = Answer::Later(429, LATER);
        s.registry.proxy.follow(Rule::of_all(answer).identity(&limited.authorization()));
        s.registry.proxy.forget();
        for tenant in [&limited, &other] {
            for n in 0..OBJECTS {
                tenant.objects.apply(&tenant.spec(s, &format!("app-{n}"))).await?;
            }
        }
        for n in 0..OBJECTS {
            other.objects.until_ready(&format!("app-{n}"), "True/Succeeded").await?;
            let image = limited.objects.until_ready(&format!("app-{n}"), "False/RateLimited").await?;
            ensure!(image.message().contains("429"), "{}", image.message());
            let target = format!("team/{}-app-{n}:1", other.login.user);
            let whole = s.registry.whole(&target).await?.context("there is no tag")?;
            ensure!(whole.images.len() == BOTH.len(), "{whole:?}");
        }
        let image = limited.objects.until_ready("before", "True/Succeeded").await?;
        ensure!(image.is_true("Published"), "what was published is withdrawn: {image:?}");

        let of = |tenant: &Tenant| -> Vec<Seen> {
            let theirs = Some(tenant.authorization());
            s.registry.proxy.seen().into_iter().filter(|seen| seen.authorization == theirs).collect()
        };
        let (limited_seen, other_seen) = (of(&limited), of(&other));
        tell(&format!(
            "tenants: {OBJECTS} objects each; {} requests of the one that is to wait, {} of the other",
            limited_seen.len(),
            other_seen.len()
        ));
        ensure!(
            limited_seen.len() <= AT_ONCE,
            "asked to wait, it asked {} times: {limited_seen:#?}",
            limited_seen.len()
        );
        ensure!(other_seen.iter().all(|seen| seen.status != 429), "the other one is limited, too");
        drop(operator);
        for tenant in [limited, other] {
            tenant.namespace.delete().await?;
        }
        Ok(())
    })
    .await
}

impl Tenant {
    async fn create(s: &Scenario, login: Login) -> Result<Self> {
        let namespace = Namespace::create(&s.client).await?;
        let Login { user, password, .. } = login;
        let auths =
            json!({"auths": {(s.registry.host()): {"username": user, "password": password}}});
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "push"},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": auths.to_string()},
        });
        let secrets: Api<Secret> = Api::namespaced(s.client.clone(), &namespace.name);
        secrets.patch("push", &PatchParams::apply("e2e"), &Patch::Apply(secret)).await?;
        let objects = Objects::of(&s.client, &namespace.name);
        Ok(Self { namespace, objects, login })
    }

    fn authorization(&self) -> String {
        let Login { user, password, .. } = self.login;
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
    }

    fn spec(&self, s: &Scenario, name: &str) -> Spec {
        let target = format!("team/{}-{name}:1", self.login.user);
        let mut spec =
            BOTH.into_iter().fold(Spec::new(&s.registry, name, &target), |spec, platform| {
                let source = platform.replace('/', "-");
                spec.source(&source, &tag_of("build/app:1", platform), &[platform])
            });
        spec.spec["target"]["secretRef"] = json!({"name": "push"});
        spec
    }
}
