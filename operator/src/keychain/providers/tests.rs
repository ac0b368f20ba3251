//! Against the kubelet's own code: e2e/cluster/fixtures wrote what that says of each case.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, time::Duration};

use serde::Deserialize;
use serde_json::json;

use super::{
    answer::{Answer, Logins},
    config::Provider,
    duration,
    pattern::Pattern,
};
use crate::{
    oci::{Reference, Repository},
    registry::Proof,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    images: Vec<String>,
    matches: Vec<Match>,
    choices: Vec<Choice>,
    durations: Vec<Length>,
    configs: Vec<Config>,
}

#[derive(Deserialize)]
struct Match {
    pattern: String,
    images: Vec<String>,
}

#[derive(Deserialize)]
struct Choice {
    keys: Vec<String>,
    image: String,
    tried: Vec<String>,
}

#[derive(Deserialize)]
struct Length {
    text: String,
    valid: bool,
    nanos: i64,
}

#[derive(Deserialize)]
struct Config {
    name: String,
    files: BTreeMap<String, String>,
    taken: bool,
}

/// What a kubelet takes and the operator refuses.
const REFUSED: [&str; 1] = [
    // Nothing could be set by it.
    "an env without name",
];

fn tables() -> Tables {
    serde_json::from_str(include_str!("../../../tests/fixtures/kubelet.json")).unwrap()
}

fn repository(text: &str) -> Repository {
    format!("{text}:x").parse::<Reference>().unwrap().repository().clone()
}

#[test]
fn patterns_are_for_the_same_images() {
    let tables = tables();
    for Match { pattern, images } in tables.matches {
        let read = Pattern::parse(&pattern);
        let is_for =
            |image: &&String| read.as_ref().is_ok_and(|pattern| pattern.is_for(&repository(image)));
        let ours: Vec<_> = tables.images.iter().filter(is_for).cloned().collect();
        assert_eq!(ours, images, "{pattern:?} is {read:?}");
    }
}

#[test]
fn the_login_that_a_kubelet_tries_first_is_taken() {
    for Choice { keys, image, tried } in tables().choices {
        let auth: serde_json::Map<_, _> = keys
            .iter()
            .map(|key| (key.clone(), json!({"username": key, "password": "p"})))
            .collect();
        let version = "credentialprovider.kubelet.k8s.io/v1";
        let answer = json!({
            "apiVersion": version, "kind": "CredentialProviderResponse", "cacheKeyType": "Image",
            "auth": auth,
        });
        let logins = Answer::parse(answer.to_string().as_bytes(), version).ok().unwrap().logins;
        let best = Logins::best(&[("one", &logins)], &repository(&image));
        let ours = best.map(|credential| match credential.proof {
            Proof::Password { username, .. } => username,
            _ => unreachable!("plugins give passwords"),
        });
        assert_eq!(ours.as_ref(), tried.first(), "of {keys:?} for {image}");
    }
}

#[test]
fn durations_are_as_long() {
    for Length { text, valid, nanos } in tables().durations {
        let theirs = valid.then(|| Duration::from_nanos(nanos.unsigned_abs()));
        let ours = duration::parse(&text);
        assert_eq!(ours.map(|(_, length)| length), theirs, "{text:?}");
        let negative = ours.is_some_and(|(negative, length)| negative && !length.is_zero());
        assert_eq!(negative, nanos < 0, "{text:?}");
    }
}

#[test]
fn configs_are_taken_and_refused_alike() {
    for Config { name, files, taken } in tables().configs {
        let folder = tempfile::tempdir().unwrap();
        let (bin, at) = (folder.path().join("bin"), folder.path().join("config"));
        fs::create_dir(&bin).unwrap();
        fs::create_dir(&at).unwrap();
        for number in 1..100 {
            let plugin = bin.join(format!("provider-{number}"));
            fs::write(&plugin, "").unwrap();
            fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (file, text) in &files {
            fs::write(at.join(file), text).unwrap();
        }
        let alone = files.contains_key("config.yaml");
        let path = if alone { at.join("config.yaml") } else { at };
        let read = Provider::read(&path, &bin);
        let expected = taken && !REFUSED.contains(&name.as_str());
        assert_eq!(read.is_ok(), expected, "{name}: {read:?}");
    }
}
