//! A registry with a token server elsewhere, which the admin trusts: one token for a run and mounts, a token each for two tenants, and a new one at once for a new Secret.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use multiarch_e2e::{
    Scenario,
    await_condition::SOON,
    images::Image,
    namespace::Namespace,
    operator::Operator,
    proxy::Seen,
    registry::{Auth, Registry, Setup},
    scenario,
    spec::{Report, Spec},
    tls::Certificates,
    tokens::{Tokens, User, whose},
};
use serde_json::json;
use tempfile::TempDir;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const ALL: &str = "pull,push,delete";

/// The token server of the scenario's registry.
struct Stage {
    tokens: Tokens,
    folder: TempDir,
    certificates: Certificates,
}

/// Gives the scenario a registry that asks for tokens. Its operator has to be started anew.
async fn stage(s: &mut Scenario, users: Vec<User>) -> Result<Stage> {
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    let certificates = Certificates::make()?;
    let tokens = Tokens::start(&certificates, users).await?;
    let setup = Setup { auth: Auth::Token(&tokens), ..Setup::default() };
    s.registry = Registry::start_as(&folder.path().join("registry"), &setup).await?;
    Ok(Stage { tokens, folder, certificates })
}

impl Stage {
    /// Starts the operator anew, for these namespaces, with the CA of the token server, and with `flags`.
    async fn restart(&self, s: &mut Scenario, namespaces: &str, flags: &[String]) -> Result<()> {
        s.operator.terminate(SOON).await?;
        let bundle = self.folder.path().join("ca.pem");
        fs::write(&bundle, &self.certificates.ca).context("failed to write the bundle")?;
        let bundle = format!("--ca-bundle={}", bundle.display());
        let flags: Vec<_> = flags.iter().map(String::as_str).chain([bundle.as_str()]).collect();
        let folder = self.folder.path().join("operator");
        s.operator = Operator::start_with(&s.cluster, &folder, Some(namespaces), &flags).await?;
        Ok(())
    }

    /// `--token-realm`
    fn realm(&self, registry: &Registry) -> String {
        format!("--token-realm={}={}", registry.host(), self.tokens.realm())
    }

    fn forget(&self, registry: &Registry) {
        registry.proxy.forget();
        self.tokens.forget();
    }
}

/// Two images with a config and a layer of their own, and one layer that they share.
async fn push(s: &Scenario, repository: &str, tag: &str, content: &str) -> Result<()> {
    for platform in BOTH {
        let app = format!("{content} for {platform}");
        let image = Image::layered(platform, &[&format!("shared by {content}"), &app])?;
        s.registry.push(&tag_of(repository, tag, platform), &image).await?;
    }
    Ok(())
}

fn tag_of(repository: &str, tag: &str, platform: &str) -> String {
    scenario::tag_of(&format!("{repository}:{tag}"), platform)
}

/// What publishes them in another repository.
fn spec(s: &Scenario, name: &str, (from, tag): (&str, &str), to: &str) -> Spec {
    let mut spec = Spec::new(&s.registry, name, to);
    spec.spec["target"]["secretRef"] = json!({"name": "push"});
    for platform in BOTH {
        let name = platform.rsplit('/').next().unwrap_or_default();
        spec = spec.source(name, &tag_of(from, tag, platform), &[platform]);
    }
    spec
}

fn user(name: &str, password: &str) -> User {
    User::new(name, password, &[("build/*", "pull"), ("team/*", ALL)])
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_serves_a_run_and_mounts_all() -> Result<()> {
    scenario(async |s| {
        let stage = stage(s, vec![user("ci", "secret words")]).await?;
        let flags = [stage.realm(&s.registry)];
        stage.restart(s, &s.namespace.name.clone(), &flags).await?;
        push(s, "build/app", "1", "app").await?;
        s.apply_secret_for(&s.registry, "push", "ci", "secret words").await?;
        let spec = spec(s, "app", ("build/app", "1"), "team/app:1");
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(s.registry.digest("team/app:1").await?.as_deref(), Some(image.digest()));

        // The challenge, a token, 2 manifests, 2 configs, 5 mounts, 2 images, the index; and the tag before and after.
        let (seen, tokens) = (s.registry.proxy.seen(), stage.tokens.seen());
        assert_eq!(seen.len() + tokens.len(), 14 + 2, "{seen:#?} {tokens:#?}");
        let [token] = tokens.as_slice() else { panic!("{tokens:#?}") };
        assert_eq!(token.scopes, ["repository:build/app:pull", "repository:team/app:pull,push"]);
        assert_eq!(token.granted, token.scopes);
        let mounts: Vec<_> =
            seen.iter().filter(|seen| seen.is_mount()).map(|it| it.status).collect();
        assert_eq!(mounts, [201; 5]);
        assert_eq!(seen.iter().filter(|seen| seen.is_manifest_put()).count(), 3);

        stage.forget(&s.registry);
        assert_eq!(s.request("app").await?.ready(), "True/Succeeded");
        assert!(s.registry.proxy.seen().iter().all(|seen| seen.method == "HEAD"));
        assert_eq!(stage.tokens.seen(), []);
        assert!(!s.operator.logs()?.contains("secret words"), "the log has the password");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_elsewhere_is_trusted_by_the_admin_or_the_secret_and_nobody_else() -> Result<()> {
    scenario(async |s| {
        let stage = stage(s, vec![user("ci", "secret words")]).await?;
        stage.restart(s, &s.namespace.name.clone(), &[]).await?;
        push(s, "build/app", "1", "app").await?;
        s.apply_secret_for(&s.registry, "push", "ci", "secret words").await?;
        let spec = spec(s, "app", ("build/app", "1"), "team/app:1");
        let image = s.apply_until(&spec, "False/TokenRealmNotTrusted").await?;
        let realm = stage.tokens.realm();
        for word in [s.registry.host(), &realm, "--token-realm", "multiarch.dev/token-realm"] {
            assert!(image.message().contains(word), "{}", image.message());
        }
        assert_eq!(stage.tokens.seen(), []);

        let secrets: Api<Secret> = Api::namespaced(s.client.clone(), &s.namespace.name);
        let trusted = json!({"metadata": {"annotations": {"multiarch.dev/token-realm": realm}}});
        secrets.patch("push", &PatchParams::default(), &Patch::Merge(trusted)).await?;
        assert_eq!(s.request("app").await?.ready(), "True/Succeeded");
        assert_eq!(stage.tokens.seen().len(), 1);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_counts_from_the_next_run_on_and_the_old_token_is_not_used() -> Result<()> {
    scenario(async |s| {
        let stage = stage(s, vec![user("old", "old words"), user("new", "new words")]).await?;
        let flags = [stage.realm(&s.registry)];
        stage.restart(s, &s.namespace.name.clone(), &flags).await?;
        push(s, "build/app", "1", "app").await?;
        s.apply_secret_for(&s.registry, "push", "old", "old words").await?;
        let spec = spec(s, "app", ("build/app", "1"), "team/app:1");
        s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(askers(&s.registry.proxy.seen()), ["old".to_owned()].into());

        // The old one is still good, and its token has minutes to go.
        s.apply_secret_for(&s.registry, "push", "new", "new words").await?;
        stage.forget(&s.registry);
        assert_eq!(s.request("app").await?.ready(), "True/Succeeded");
        push(s, "build/app", "1", "the next app").await?;
        s.request("app").await?;
        let seen = s.registry.proxy.seen();
        assert!(seen.iter().any(Seen::is_manifest_put), "{seen:#?}");
        assert_eq!(askers(&seen), ["new".to_owned()].into());
        let users: Vec<_> = stage.tokens.seen().into_iter().map(|asked| asked.user).collect();
        assert_eq!(users, [Some("new".into())]);

        // One that is taken back is told, although its token would do for a while.
        stage.tokens.admit(vec![user("old", "old words")]);
        s.apply_secret_for(&s.registry, "push", "new", "words that never were").await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "False/AuthenticationFailed", "{}", image.message());
        s.apply_secret_for(&s.registry, "push", "old", "old words").await?;
        stage.forget(&s.registry);
        assert_eq!(s.request("app").await?.ready(), "True/Succeeded");
        assert_eq!(askers(&s.registry.proxy.seen()), ["old".to_owned()].into());
        for words in ["old words", "new words", "words that never were"] {
            assert!(!s.operator.logs()?.contains(words), "the log has a password");
        }
        Ok(())
    })
    .await
}

/// In one namespace each, with objects that run at the same time, in repositories of their own and in one of both.
#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_of_one_host_each_carry_their_own_credential() -> Result<()> {
    const OBJECTS: usize = 4;
    const TENANTS: [&str; 2] = ["a", "b"];
    scenario(async |s| {
        let users = TENANTS.map(|name| {
            let own = format!("team/{name}");
            let rights = [("build/*", "pull"), (own.as_str(), ALL), ("team/both", ALL)];
            User::new(name, &format!("words of {name}"), &rights)
        });
        let stage = stage(s, users.into()).await?;
        let other = Namespace::create(&s.client).await?;
        let namespaces = [s.namespace.clone(), other];
        let both = namespaces.each_ref().map(|it| it.name.as_str()).join(",");
        stage.restart(s, &both, &[stage.realm(&s.registry)]).await?;
        for version in ["1", "2"] {
            for (tenant, namespace) in TENANTS.iter().zip(&namespaces) {
                s.namespace = namespace.clone();
                let password = format!("words of {tenant}");
                s.apply_secret_for(&s.registry, "push", tenant, &password).await?;
                for number in 0..OBJECTS {
                    let (tag, app) =
                        (format!("{tenant}-{number}"), format!("{version} of {tenant}"));
                    push(s, "build/app", &tag, &format!("{app} {number}")).await?;
                }
            }
            stage.forget(&s.registry);
            // All of them begin before any is waited for.
            for wait in [false, true] {
                for (tenant, namespace) in TENANTS.iter().zip(&namespaces) {
                    s.namespace = namespace.clone();
                    for number in 0..OBJECTS {
                        let repository = if number % 2 == 0 { tenant } else { "both" };
                        let tag = format!("{tenant}-{number}");
                        let to = format!("team/{repository}:{tag}");
                        let spec = spec(s, &tag, ("build/app", &tag), &to)
                            .with("annotations", json!({"v": version}));
                        if wait {
                            s.apply_until(&spec, "True/Succeeded").await?;
                        } else {
                            s.apply(&spec).await?;
                        }
                    }
                }
            }
            let seen = s.registry.proxy.seen();
            let told: Vec<_> = seen.iter().filter_map(|seen| Some((seen, owner(seen)?))).collect();
            // Two manifests, a tag before and after, its push, in each.
            assert!(told.len() >= 2 * OBJECTS * 5, "{} requests told apart", told.len());
            for (seen, owner) in told {
                let by = seen.authorization.as_deref().and_then(whose);
                assert!(by.as_deref() == Some(owner) || seen.status == 401, "{seen:?}");
            }
            assert!(seen.iter().all(|seen| seen.authorization.is_some() || seen.status == 401));
            assert_eq!(askers(&seen), TENANTS.map(Into::into).into());
        }
        let asked = stage.tokens.seen();
        assert!(asked.iter().all(|asked| asked.status == 200), "{asked:#?}");
        s.namespace = namespaces[0].clone();
        namespaces[1].delete().await
    })
    .await
}

/// Whose a request is, by the repository or the tag that it names.
fn owner(seen: &Seen) -> Option<&str> {
    let path = seen.path.strip_prefix("/v2/")?;
    let own = ["a", "b"].into_iter().find(|name| path.starts_with(&format!("team/{name}/")));
    let (_, tag) = path.split_once("/manifests/").unwrap_or_default();
    own.or_else(|| tag.split_once('-').map(|(name, _)| name))
}

/// Who has asked a registry.
fn askers(seen: &[Seen]) -> BTreeSet<String> {
    seen.iter().filter_map(|seen| whose(seen.authorization.as_deref()?)).collect()
}
