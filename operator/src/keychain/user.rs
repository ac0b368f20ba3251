//! What who runs a command has for registries: Docker's and podman's files, and the credential helpers that they name.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::join_all;
use tokio::sync::OnceCell;

use super::{
    Keychain, KeychainError,
    config::{DockerConfig, malformed, place},
    helpers::Helper,
};
use crate::{
    oci::{Prefix, Repository},
    registry::{Credential, Origin},
};

/// What Docker's own helpers know Docker Hub as.
const HUB: &str = "https://index.docker.io/v1/";

/// The files of who runs the command, and what their helpers gave so far.
#[derive(Debug, Default)]
pub struct User {
    files: Vec<File>,
    given: Mutex<HashMap<(Helper, String), Given>>,
}

/// A helper is run once for a server, whoever asks.
type Given = Arc<OnceCell<Result<Option<Credential>, KeychainError>>>;

/// One file.
#[derive(Debug)]
struct File {
    logins: DockerConfig,
    /// For what, as it stands there, and by whom.
    helpers: Vec<(Prefix, String, Helper)>,
    store: Option<Helper>,
}

/// What may have a credential.
enum Holder<'a> {
    Helper(&'a Helper, String),
    Login(&'a Credential),
}

impl User {
    /// Reads the files that the environment names, in this order: `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`;
    /// then `$REGISTRY_AUTH_FILE`, or those of podman and skopeo. One that is not there has nothing.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, KeychainError> {
        let home = variable("HOME").map(PathBuf::from);
        let mut files = Vec::new();
        for path in paths(&variable) {
            let shown = shown(&path, home.as_deref());
            let json = match std::fs::read(&path) {
                Ok(json) => json,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(malformed(&Origin::File(shown), &error.to_string())),
            };
            files.push(File::parse(&shown, &json)?);
        }
        Ok(Self { files, ..Self::default() })
    }

    /// A keychain that answers for each of `repositories` by what there is for it.
    pub async fn keychain(&self, repositories: impl IntoIterator<Item = &Repository>) -> Keychain {
        let ask = |repository: &Repository| {
            let repository = repository.clone();
            async move { (repository.clone(), self.credential(&repository).await) }
        };
        let known = join_all(repositories.into_iter().map(ask)).await;
        Keychain { of_user: Some(known.into_iter().collect()), ..Keychain::default() }
    }

    /// The credential for `repository`, if there is any: of the first file that has one, by the longest path.
    pub async fn credential(
        &self,
        repository: &Repository,
    ) -> Result<Option<Credential>, KeychainError> {
        for file in &self.files {
            for holder in file.holders(repository) {
                let given = match holder {
                    Holder::Login(credential) => Some(credential.clone()),
                    Holder::Helper(helper, server) => self.ask(helper, server).await?,
                };
                if given.is_some() {
                    return Ok(given);
                }
            }
        }
        Ok(None)
    }

    async fn ask(
        &self,
        helper: &Helper,
        server: String,
    ) -> Result<Option<Credential>, KeychainError> {
        let key = (helper.clone(), server.clone());
        let given = {
            let mut all = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(key).or_default())
        };
        given.get_or_init(|| helper.get(&server)).await.clone()
    }
}

impl File {
    fn parse(shown: &str, json: &[u8]) -> Result<Self, KeychainError> {
        let (logins, file) = DockerConfig::of_file(shown, json)?;
        let helper = |name: &str| Helper { name: name.into(), file: shown.into() };
        let helpers = file.helpers.iter().filter(|(_, name)| !name.is_empty());
        let helpers = helpers.filter_map(|(key, name)| {
            let server = |place: &Prefix| {
                if place.path().is_empty() { server(place.host()) } else { key.clone() }
            };
            place(key).map(|place| (place.clone(), server(&place), helper(name)))
        });
        let mut helpers: Vec<_> = helpers.collect();
        helpers.sort_by_key(|(place, ..)| std::cmp::Reverse(place.path().len()));
        let store = Some(file.store.as_str()).filter(|name| !name.is_empty()).map(helper);
        Ok(Self { logins, helpers, store })
    }

    /// What may have a credential for `repository`, the longest path first; of one length a helper before a store before
    /// what stands in the file, as Docker asks them.
    fn holders(&self, repository: &Repository) -> impl Iterator<Item = Holder<'_>> {
        let helper = self.helpers.iter().find(|(place, ..)| place.covers(repository));
        let helper = helper
            .map(|(place, server, it)| (place.path().len(), Holder::Helper(it, server.clone())));
        let store = self.store.as_ref();
        let store = store.map(|store| (0, Holder::Helper(store, server(repository.host()))));
        let login = self.logins.find(repository);
        let login = login.map(|entry| (entry.place.path().len(), Holder::Login(&entry.credential)));
        let mut holders: Vec<_> = [helper, store, login].into_iter().flatten().collect();
        holders.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        holders.into_iter().map(|(_, holder)| holder)
    }
}

/// What a helper is asked for, to have what it has for all of `host`.
fn server(host: &str) -> String {
    if host == "docker.io" { HUB.into() } else { host.into() }
}

fn paths(variable: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let folder = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = folder("HOME");
    let docker = folder("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));
    let docker = docker.map(|folder| folder.join("config.json"));
    if let Some(named) = folder("REGISTRY_AUTH_FILE") {
        return docker.into_iter().chain([named]).collect();
    }
    let own = rustix::process::getuid().as_raw().to_string();
    let run = folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers"));
    let run = run.unwrap_or_else(|| Path::new("/run/containers").join(own));
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(home?.join(".config")));
    let config = config.map(|folder| folder.join("containers"));
    let podman = [Some(run), config].into_iter().flatten().map(|folder| folder.join("auth.json"));
    docker.into_iter().chain(podman).collect()
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// `path` as people write it.
fn shown(path: &Path, home: Option<&Path>) -> String {
    let below = home.and_then(|home| path.strip_prefix(home).ok());
    below.map_or_else(|| path.display().to_string(), |below| format!("~/{}", below.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::{oci::Reference, registry::Proof};

    fn repository(text: &str) -> Repository {
        format!("{text}:x").parse::<Reference>().unwrap().repository().clone()
    }

    fn login(user: &str) -> Value {
        json!({ "username": user, "password": "p" })
    }

    /// Who is asked in which order, for `of`.
    fn asked(file: &Value, of: &str) -> Vec<String> {
        let file = File::parse("config.json", file.to_string().as_bytes()).unwrap();
        let said = |holder| match holder {
            Holder::Helper(helper, server) => format!("{} {server}", helper.program()),
            Holder::Login(credential) => match &credential.proof {
                Proof::Password { username, .. } => username.clone(),
                _ => "token".into(),
            },
        };
        file.holders(&repository(of)).map(said).collect()
    }

    #[rstest]
    #[case::login(json!({"auths": {"r.io": login("u")}}), "r.io/a", &["u"])]
    #[case::elsewhere(json!({"auths": {"r.io": login("u")}}), "s.io/a", &[])]
    #[case::longest(json!({"auths": {"r.io": login("u"), "r.io/team": login("t")}}), "r.io/team/a", &["t"])]
    #[case::helper(json!({"credHelpers": {"r.io": "x"}}), "r.io/a", &["docker-credential-x r.io"])]
    #[case::not_of_others(json!({"credHelpers": {"r.io": "x"}}), "r.io.evil.tld/a", &[])]
    #[case::store(json!({"auths": {"r.io": {}}, "credsStore": "x"}), "r.io/a", &["docker-credential-x r.io"])]
    #[case::hub(json!({"credsStore": "x"}), "alpine", &["docker-credential-x https://index.docker.io/v1/"])]
    #[case::hub_by_a_helper(json!({"credHelpers": {"docker.io": "x"}}), "alpine", &["docker-credential-x https://index.docker.io/v1/"])]
    #[case::all(json!({"auths": {"r.io": login("u")}, "credHelpers": {"r.io": "h"}, "credsStore": "s"}), "r.io/a",
        &["docker-credential-h r.io", "docker-credential-s r.io", "u"])]
    #[case::a_longer_path_first(json!({"auths": {"r.io/team": login("u")}, "credsStore": "s"}), "r.io/team/a", &["u", "docker-credential-s r.io"])]
    #[case::a_helpers_path(json!({"credHelpers": {"r.io/team": "h"}, "auths": {"r.io": login("u")}}), "r.io/team/a", &["docker-credential-h r.io/team", "u"])]
    #[case::without_a_name(json!({"credHelpers": {"r.io": ""}, "credsStore": ""}), "r.io/a", &[])]
    fn asks(#[case] file: Value, #[case] of: &str, #[case] expected: &[&str]) {
        assert_eq!(asked(&file, of), expected);
    }

    /// Files in a folder, which is HOME.
    async fn origin(files: &[(&str, Value)], variables: &[(&str, &str)]) -> String {
        let home = tempfile::tempdir().unwrap();
        for (path, json) in files {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, json.to_string()).unwrap();
        }
        let place = home.path().to_str().unwrap().to_owned();
        let variable = |name: &str| {
            let set = variables.iter().find(|(set, _)| *set == name);
            let set = set.map(|(_, value)| value.replace('~', &place));
            // Not what this machine's user has.
            set.or_else(|| (name == "HOME").then(|| place.clone()))
                .or_else(|| (name == "XDG_RUNTIME_DIR").then(|| format!("{place}/run")))
        };
        let user = User::read(variable).unwrap();
        match user.credential(&repository("r.io/a")).await.unwrap() {
            Some(credential) => credential.origin.to_string(),
            None => "nobody".into(),
        }
    }

    #[tokio::test]
    async fn reads_dockers_file_and_then_podmans() {
        let has = || json!({"auths": {"r.io": login("u")}});
        let none = || json!({"auths": {"s.io": login("u")}});
        let (docker, podman) = (".docker/config.json", "run/containers/auth.json");
        assert_eq!(origin(&[], &[]).await, "nobody");
        assert_eq!(origin(&[(docker, has()), (podman, has())], &[]).await, format!("~/{docker}"));
        assert_eq!(origin(&[(docker, none()), (podman, has())], &[]).await, format!("~/{podman}"));
        let config = ".config/containers/auth.json";
        assert_eq!(origin(&[(config, has())], &[]).await, format!("~/{config}"));
        let elsewhere = [("DOCKER_CONFIG", "~/own")];
        let own = "own/config.json";
        assert_eq!(origin(&[(docker, has())], &elsewhere).await, "nobody");
        assert_eq!(origin(&[(own, has())], &elsewhere).await, format!("~/{own}"));
        let named = [("REGISTRY_AUTH_FILE", "~/ci.json")];
        assert_eq!(origin(&[(podman, has())], &named).await, "nobody");
        assert_eq!(origin(&[(podman, has()), ("ci.json", has())], &named).await, "~/ci.json");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config.json");
        fs::write(&path, "hunter2").unwrap();
        let folder = home.path().to_str().unwrap().to_owned();
        let read = || User::read(|name| (name == "DOCKER_CONFIG").then(|| folder.clone()));
        let told = read().unwrap_err().to_string();
        assert!(told.contains("config.json is not a usable Docker config file"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(read().unwrap_err().to_string().contains("config.json"));
    }

    /// For the target as for sources, and whatever Secrets the object names.
    #[tokio::test]
    async fn a_keychain_of_a_user_has_no_other_credential() {
        let json = json!({"auths": {"r.io": login("u")}}).to_string();
        let files = vec![File::parse("config.json", json.as_bytes()).unwrap()];
        let user = User { files, ..User::default() };
        let (known, other) = (repository("r.io/a"), repository("s.io/a"));
        let keychain = user.keychain([&known, &other]).await;
        let origin = |of| keychain.of_user(of).unwrap().unwrap().map(|it| it.origin.to_string());
        assert_eq!(origin(&known).as_deref(), Some("config.json"));
        assert_eq!(origin(&other), None);
        assert!(Keychain::default().of_user(&known).is_none());
    }
}
