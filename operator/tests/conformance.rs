//! What the operator asks of a registry, tried on a real one: the one that `make conformance REGISTRY=…` names, else the pinned one.
//!
//! It writes only below what was named, under names that no other run has, and says what it left there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]
#![allow(clippy::print_stdout, reason = "it is what a person reads")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/life.rs"]
mod life;
#[path = "registry/object.rs"]
mod object;
#[path = "registry/promises.rs"]
mod promise;
#[path = "registry/site.rs"]
mod site;

use std::{env, fmt::Display, fs, path::PathBuf, process::ExitCode};

use faces::{Asks, PATHS, Real, Speaks};
use futures::{FutureExt, future::BoxFuture};
use life::Scene;
use multiarch_operator::{
    keychain::{DockerConfig, Keychain},
    oci::Reference,
};
use site::{Site, Where};

/// `host/prefix`. Not a name that another tool may have set: tests write there.
const REGISTRY: &str = "MULTIARCH_CONFORMANCE_REGISTRY";

/// How a check ended, if it came to its end.
enum Ended {
    Well,
    /// The registry does not do it, which the operator lives with.
    Without(u16),
}

/// One check. A registry may be allowed to do it otherwise: then the operator does not rely on it.
struct Check {
    name: &'static str,
    needed: bool,
    run: fn(Where) -> BoxFuture<'static, Ended>,
}

macro_rules! promises {
    ($needed:literal: $($name:ident)*) => {[$(Check {
        name: stringify!($name),
        needed: $needed,
        run: |at| async move {
            promise::$name(Site::new(at).await.face).await;
            Ended::Well
        }.boxed(),
    }),*]};
}

macro_rules! lives {
    ($($name:ident)*) => {[$(Check {
        name: stringify!($name),
        needed: true,
        run: |at| async move {
            life::$name(&Scene::at(at).await).await;
            Ended::Well
        }.boxed(),
    }),*]};
}

fn checks() -> Vec<Check> {
    let mut checks = Vec::from(promises! { true:
        what_is_not_there_is_none
        what_was_put_by_digest_is_read_back_byte_by_byte
        a_tag_names_what_was_put_last
        an_index_and_its_children_are_read_by_tag_and_digest
        the_media_type_is_the_one_that_was_put
        a_blob_is_read_whole
        a_blob_of_another_size_is_refused
        a_repository_shows_only_its_own
        what_refers_to_something_else_is_not_put
    });
    checks.extend(promises! { false:
        content_that_is_not_its_digest_is_refused
        an_index_without_its_children_is_refused
        an_image_without_its_blobs_is_refused
        what_refers_to_a_manifest_is_listed_once
        an_index_may_refer_to_a_manifest
    });
    checks.extend(lives! {
        an_index_is_published_kept_and_follows_its_sources
        images_of_another_repository_are_copied
        images_of_another_registry_are_copied
        another_registry_gets_its_images
    });
    checks.push(Check {
        name: "a_tag_is_deleted_and_nothing_else",
        needed: true,
        run: |at| {
            async move {
                match life::a_tag_is_deleted_and_nothing_else(&Scene::at(at).await).await {
                    Ok(()) => Ended::Well,
                    Err(error) => Ended::Without(error.status().expect("an answer")),
                }
            }
            .boxed()
        },
    });
    checks
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pinned = variable(REGISTRY).is_none().then(|| {
        let start = Real::start(Asks::Nobody, Speaks::Plain);
        runtime.block_on(start)
    });
    let at = match pinned.as_ref().map_or_else(named, |pinned| Ok(here(pinned))) {
        Ok(at) => at,
        Err(why) => {
            println!("conformance: {why}");
            return ExitCode::FAILURE;
        }
    };
    let prefix = at.prefix.clone().unwrap_or_default();
    let who = if at.logins.is_some() { "the credentials of DOCKER_CONFIG" } else { "nobody" };
    println!("conformance of {} as {who}, below {prefix}", at.host);
    let (mut passed, mut failed) = (0, 0);
    let checks = checks();
    for (number, check) in checks.iter().enumerate() {
        let at = Where { prefix: Some(format!("{prefix}-{number}")), ..at.clone() };
        // A panic is told by its own words, above the line of its check.
        let ended = runtime.block_on(async { tokio::spawn((check.run)(at)).await });
        let (word, more) = match ended {
            Ok(Ended::Well) => ("ok", String::new()),
            // The pinned one does it all.
            Ok(Ended::Without(_)) | Err(_) if pinned.is_some() => ("FAILED", String::new()),
            Ok(Ended::Without(status)) => ("without", format!(" (HTTP {status})")),
            Err(_) if check.needed => ("FAILED", String::new()),
            Err(_) => ("differs", " (the operator does not rely on it)".into()),
        };
        passed += usize::from(word == "ok");
        failed += usize::from(word == "FAILED");
        println!("{word:<8} {}{more}", check.name.replace('_', " "));
    }
    // As the other suites end, so that they can be added up.
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed");
    if pinned.is_none() {
        let [app, other] = PATHS.map(|path| path.replace('/', "-"));
        let last = checks.len() - 1;
        println!("left there: {}/{prefix}-{{0..{last}}}-{app} and -{other}", at.host);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn here(pinned: &Real) -> Where {
    let (host, prefix) = (pinned.host().to_owned(), Some(unique()));
    Where { host, prefix, plain_http: true, ..Where::default() }
}

/// The registry that the environment names.
fn named() -> Result<Where, String> {
    let registry = variable(REGISTRY).unwrap_or_default();
    let bare = registry.trim_end_matches('/');
    let (host, below) = bare.split_once('/').unwrap_or((bare, ""));
    let unique = unique();
    let prefix = if below.is_empty() { unique } else { format!("{below}/{unique}") };
    let reference = format!("{host}/{prefix}:any").parse::<Reference>();
    let reference = reference.map_err(|why| format!("{registry}: {why}"))?;
    let logins = variable("DOCKER_CONFIG").map(|folder| {
        let file = PathBuf::from(folder).join("config.json");
        let told = |why: &dyn Display| format!("{}: {why}", file.display());
        let json = fs::read_to_string(&file).map_err(|why| told(&why))?;
        let config = DockerConfig::parse("DOCKER_CONFIG", json.as_bytes());
        let logins = Keychain::with([("DOCKER_CONFIG".to_owned(), config)].into());
        match logins.find("DOCKER_CONFIG", reference.repository()) {
            Ok(Some(_)) => Ok(json),
            Ok(None) => Err(told(&"no password for that registry (helpers are not asked)")),
            Err(why) => Err(told(&why)),
        }
    });
    let realm = variable("TOKEN_REALM").map(|pair| match pair.split_once('=') {
        Some((host, realm)) => Ok((host.to_owned(), realm.to_owned())),
        None => Err("TOKEN_REALM is not of the form HOST=URL".to_owned()),
    });
    Ok(Where {
        host: host.into(),
        prefix: Some(prefix),
        plain_http: variable("PLAIN_HTTP").is_some_and(|value| value == "1"),
        logins: logins.transpose()?,
        token_realms: realm.transpose()?.into_iter().collect(),
        ..Where::default()
    })
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// What no other run calls its repositories.
fn unique() -> String {
    format!("multiarch-{:08x}", fastrand::u32(..))
}
