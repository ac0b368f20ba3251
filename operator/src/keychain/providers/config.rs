//! A kubelet's CredentialProviderConfig → the providers that it lists, each checked as a kubelet checks it when it starts.

use std::{
    collections::BTreeSet,
    fmt, fs,
    io::Error,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::{
    duration,
    pattern::Pattern,
    plugin::{self, Program},
};
use crate::oci::Repository;

const KIND: &str = "CredentialProviderConfig";
const CONFIG_GROUP: &str = "kubelet.config.k8s.io/";
const PLUGIN_GROUP: &str = "credentialprovider.kubelet.k8s.io/";
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];

/// A provider, as the operator's admin configured it.
#[derive(Clone)]
pub struct Provider {
    pub(super) name: String,
    pub(super) images: Vec<Pattern>,
    /// How long an answer is kept that says nothing of it.
    pub(super) life: Duration,
    pub(super) program: Program,
}

/// Why the providers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or folder that cannot be read.
    #[error("failed to read {}: {source}", .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: Error,
    },
    /// A folder without a config.
    #[error("{} has no file that ends in .json, .yaml or .yml", .folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
    /// A file that is no config.
    #[error("{} is no usable {KIND}: {why}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong, by the names of its fields.
        why: String,
    },
    /// A provider without its plugin.
    #[error("there is no plugin for the provider {name}: {why}")]
    NoPlugin {
        /// The provider.
        name: String,
        /// What is in its place.
        why: String,
    },
}

/// A string, and no number that looks like one. A kubelet does not take those either, and what stands there may be a secret.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            _ => Err(de::Error::custom("a string is needed where there is none: put it in quotes")),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    kind: Text,
    api_version: Text,
    #[serde(default)]
    providers: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: Text,
    #[serde(default)]
    match_images: Vec<Text>,
    default_cache_duration: Option<Text>,
    api_version: Option<Text>,
    #[serde(default)]
    args: Option<Vec<Text>>,
    #[serde(default)]
    env: Option<Vec<Variable>>,
    #[serde(default)]
    token_attributes: Option<de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    name: Text,
    value: Option<Text>,
}

impl Provider {
    /// Reads the config at `path`, a file or a folder of files, whose plugins are in the folder `bin`.
    pub fn read(path: &Path, bin: &Path) -> Result<Vec<Self>, ConfigError> {
        let mut providers: Vec<Self> = Vec::new();
        let mut names = BTreeSet::new();
        for file in files(path)? {
            let unusable = |why| ConfigError::Unusable { path: file.clone(), why };
            let text = fs::read_to_string(&file).map_err(unreadable(&file))?;
            for provider in parse(&text, bin).map_err(unusable)? {
                if !names.insert(provider.name.clone()) {
                    return Err(unusable(format!("two providers are called {}", provider.name)));
                }
                providers.push(provider);
            }
        }
        for provider in &providers {
            plugin::check(&provider.program.path)
                .map_err(|why| ConfigError::NoPlugin { name: provider.name.clone(), why })?;
        }
        Ok(providers)
    }

    /// Whether it is asked for `repository`.
    pub(super) fn is_for(&self, repository: &Repository) -> bool {
        self.images.iter().any(|pattern| pattern.is_for(repository))
    }
}

/// The files of a config, in their order.
fn files(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    if !fs::metadata(path).map_err(unreadable(path))?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable(path))? {
        let entry = entry.map_err(unreadable(path))?;
        let (file, kind) = (entry.path(), entry.file_type().map_err(unreadable(path))?);
        let ending = file.extension().and_then(|ending| ending.to_str());
        if !kind.is_dir() && matches!(ending, Some("json" | "yaml" | "yml")) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() { Err(ConfigError::Empty { folder: path.into() }) } else { Ok(files) }
}

fn unreadable(path: &Path) -> impl Fn(Error) -> ConfigError {
    move |source| ConfigError::Unreadable { path: path.into(), source }
}

/// The providers that `text`, JSON or YAML, lists. The error is a sentence for people, without a value that it has.
fn parse(text: &str, bin: &Path) -> Result<Vec<Provider>, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    let file: Value =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())?;
    let file: File = serde_json::from_value(file).map_err(|error| error.to_string())?;
    if file.kind.0 != KIND {
        return Err(format!("kind is not {KIND}"));
    }
    known_version("apiVersion", &file.api_version.0, CONFIG_GROUP)?;
    if file.providers.is_empty() {
        return Err("providers has none".into());
    }
    let entries = file.providers.into_iter().enumerate();
    entries.map(|(number, entry)| provider(number, entry, bin)).collect()
}

fn provider(number: usize, entry: Value, bin: &Path) -> Result<Provider, String> {
    let called = entry["name"].as_str().map_or_else(|| number.to_string(), ToOwned::to_owned);
    let wrong = |why: &dyn fmt::Display| format!("providers[{}]: {why}", called.escape_debug());
    let entry: Entry = serde_json::from_value(entry).map_err(|error| wrong(&error))?;
    let name = entry.name.0;
    let plain = |char: char| !char.is_control() && char != '/' && char != ' ';
    if name.is_empty() || name == "." || name == ".." || !name.chars().all(plain) {
        return Err(wrong(&"name is not the name of a file: no slash, no space, not . or .."));
    }
    if entry.token_attributes.is_some() {
        // A kubelet may have tokens for the Pods of its node. The right to have some for every
        // ServiceAccount is one to be everybody.
        return Err(wrong(
            &"tokenAttributes is not supported: the operator has no right to tokens of ServiceAccounts; \
              leave it out, and list who may use the operator's own credential by --credential-provider-allow",
        ));
    }
    let version = entry.api_version.ok_or_else(|| wrong(&"apiVersion is missing"))?.0;
    known_version("apiVersion", &version, PLUGIN_GROUP).map_err(|why| wrong(&why))?;
    if entry.match_images.is_empty() {
        return Err(wrong(&"matchImages has none"));
    }
    let pattern = |text: &Text| {
        let read = Pattern::parse(&text.0);
        read.map_err(|why| wrong(&format!("matchImages has {:?}: {why}", text.0)))
    };
    let images = entry.match_images.iter().map(pattern).collect::<Result<_, _>>()?;
    let life = entry.default_cache_duration.ok_or("defaultCacheDuration is missing");
    let life = life.and_then(|text| match duration::parse(&text.0) {
        Some((negative, life)) if !negative || life.is_zero() => Ok(life),
        _ => Err("defaultCacheDuration is no duration such as 12h or 0s"),
    });
    let life = life.map_err(|why| wrong(&why))?;
    let variable = |Variable { name, value }: Variable| {
        let (name, value) = (name.0, value.map_or_else(String::new, |value| value.0));
        let usable = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
        usable
            .then_some((name, value))
            .ok_or_else(|| wrong(&"env has what is no name of a variable"))
    };
    let env = entry.env.unwrap_or_default().into_iter().map(variable).collect::<Result<_, _>>()?;
    let args = entry.args.unwrap_or_default().into_iter().map(|arg| arg.0).collect();
    let program = Program { path: bin.join(&name), args, env, version };
    Ok(Provider { name, images, life, program })
}

fn known_version(field: &str, text: &str, group: &str) -> Result<(), String> {
    if text.strip_prefix(group).is_some_and(|version| VERSIONS.contains(&version)) {
        return Ok(());
    }
    Err(format!("{field} is not {group} with one of {}", VERSIONS.join(", ")))
}

/// Without what its environment holds.
impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
