//! Files → tasks: MultiArchImage objects and manifest-tool's specs, each held to the rules of the CRD.

mod manifest_tool;
mod object;
mod read;
mod strict;
pub(crate) mod template;

use anyhow::Result;
use kube::ResourceExt;
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageSpec};
use multiarch_operator::reconcile::sources::Sources;
use serde_json::Value;

pub(crate) use self::object::hold;
use self::read::Document;
use crate::{
    Common,
    run::{Asked, Task},
};

/// The tasks that the files, folders or `-` at `paths` have. What is none of ours in them is told and passed over.
pub(crate) fn tasks(paths: &[String], common: &Common) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    let mut has_secrets = false;
    for Document { name, value } in read::documents(paths)? {
        let value = match value {
            Ok(value) => value,
            Err(why) => {
                tasks.push(Task::refused(&name, "", why));
                continue;
            }
        };
        for (name, value) in items(name, value) {
            match kind(&value) {
                Kind::Object => match object::parse(&value) {
                    Ok(object) => {
                        has_secrets |= names_secrets(&object.spec);
                        tasks.push(of_object(&name, &object));
                    }
                    Err(why) => tasks.push(Task::refused(&name, &target(&value), why)),
                },
                Kind::Spec => match manifest_tool::parse(&value).and_then(|it| object::hold(&it)) {
                    Ok(spec) => {
                        let name = format!("{name}: {}", spec.target.image);
                        tasks.push(of_spec(&name, &spec));
                    }
                    Err(why) => tasks.push(Task::refused(&name, &target(&value), why)),
                },
                Kind::Other(kind) => {
                    common
                        .note(&format!("{name}: {kind} is no MultiArchImage, and is passed over"));
                }
                Kind::Unknown => {
                    let why = "it is neither a MultiArchImage (kind, apiVersion) nor a spec of manifest-tool (image, manifests)";
                    tasks.push(Task::refused(&name, "", why.into()));
                }
            }
        }
    }
    if has_secrets {
        common.note(
            "secretRef, certSecretRef, provider, imagePullSecrets and serviceAccountName are the cluster's: here the credentials \
             are yours (~/.docker/config.json and its helpers), and CAs those of the system and of --ca-bundle",
        );
    }
    Ok(tasks)
}

/// What publishes `spec`, which holds the rules of the CRD.
pub(crate) fn of_spec(name: &str, spec: &MultiArchImageSpec) -> Task {
    match Sources::parse(spec) {
        Ok(sources) => Task { name: name.into(), asked: Asked::Run(Box::new(sources)) },
        Err(error) => Task::refused(name, &spec.target.image, error.to_string()),
    }
}

fn of_object(name: &str, object: &MultiArchImage) -> Task {
    let at = match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    };
    let name = format!("{name}: {at}");
    if object.spec.suspend {
        let message = "it says suspend: true, and is left alone".into();
        let target = object.spec.target.image.clone();
        return Task { name, asked: Asked::Skipped { target, message } };
    }
    of_spec(&name, &object.spec)
}

/// Whether `spec` names what only a cluster has.
fn names_secrets(spec: &MultiArchImageSpec) -> bool {
    spec.target.secret_ref.is_some()
        || spec.target.provider.is_some()
        || spec.sources.iter().any(|it| it.secret_ref.is_some() || it.provider.is_some())
        || spec.registries.iter().any(|registry| registry.cert_secret_ref.is_some())
        || !spec.image_pull_secrets.is_empty()
        || spec.service_account_name.is_some()
}

/// What a document is.
enum Kind {
    Object,
    Spec,
    Other(String),
    Unknown,
}

fn kind(value: &Value) -> Kind {
    match value["kind"].as_str() {
        Some("MultiArchImage") => Kind::Object,
        Some(kind) if value["apiVersion"].is_string() && object::is_word(kind) => {
            Kind::Other(kind.into())
        }
        None if value.get("image").is_some() && value.get("manifests").is_some() => Kind::Spec,
        _ => Kind::Unknown,
    }
}

/// The objects of a list, as `kubectl get -o yaml` prints one; else the document itself.
fn items(name: String, mut value: Value) -> Vec<(String, Value)> {
    let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => {
            items.into_iter().map(|item| (name.clone(), item)).collect()
        }
        _ => vec![(name, value)],
    }
}

/// What a document that is refused was to publish.
fn target(value: &Value) -> String {
    let image = value["spec"]["target"]["image"].as_str().or_else(|| value["image"].as_str());
    // It is shown only where it is a reference.
    let parsed = image.filter(|image| image.parse::<multiarch_operator::oci::Reference>().is_ok());
    parsed.unwrap_or_default().into()
}
