//! `multiarch-operator check`: whether the cluster has what this operator needs, and lets it do what it must.

pub mod fields;
pub mod rights;

use std::{fmt, fs, path::Path};

use axum::http::Request;
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, CustomResourceExt, api::PostParams};
use multiarch_crds::{
    GROUP,
    v1alpha1::{MultiArchImage, MultiArchImageSet, VERSION},
};
use serde_json::Value;

use self::rights::Right;
use crate::error::causes;

/// What the API server calls the kind.
const RESOURCE: &str = "multiarchimages";
const SETS_RESOURCE: &str = "multiarchimagesets";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is as it must be.
    Fine(String),
    /// It is not: what, and what to do.
    Missing(String),
}

/// Asks the API server, of `sets` where they are kept; what follows from what is missing is not asked.
pub async fn check(client: &Client, rights: &[Right], sets: bool) -> Vec<Finding> {
    let mut found = vec![reach(client).await];
    if let [Finding::Missing(_)] = found.as_slice() {
        return found;
    }
    let crds = [MultiArchImage::crd()].into_iter().chain(sets.then(MultiArchImageSet::crd));
    for crd in crds {
        let kind = serves(client, &crd.spec.names.plural).await;
        let served = matches!(kind, Finding::Fine(_));
        found.push(kind);
        if served {
            found.push(fields_of(client, &crd).await);
        }
    }
    for right in rights {
        found.push(may(client, right).await);
    }
    found
}

/// Whether the folder of archives is there, and may be read.
#[must_use]
pub fn archives(dir: &Path) -> Finding {
    let dir_shown = dir.display();
    match fs::read_dir(dir) {
        Ok(_) => Finding::Fine(format!("the folder of archives {dir_shown} can be read")),
        Err(error) => Finding::Missing(format!(
            "failed to open the folder of archives {dir_shown}: {error}; mount it by archives.existingClaim, readable to the operator's user"
        )),
    }
}

async fn reach(client: &Client) -> Finding {
    match client.apiserver_version().await {
        Ok(version) => Finding::Fine(format!("the API server answers: {}", version.git_version)),
        Err(error) => Finding::Missing(format!(
            "the API server does not answer: {}; a NetworkPolicy may keep the Pod from it",
            causes(&error)
        )),
    }
}

/// Whether there is the kind that is called `plural`, in the version that this operator knows.
async fn serves(client: &Client, plural: &str) -> Finding {
    let known = format!("{GROUP}/{VERSION}");
    match client.list_api_group_resources(&known).await {
        Ok(list) => {
            let has = |name: &str| list.resources.iter().any(|resource| resource.name == name);
            if has(plural) && has(&format!("{plural}/status")) {
                Finding::Fine(format!("it serves {plural} in {known}"))
            } else {
                Finding::Missing(format!("{known} has no {plural} with a status: {INSTALL}"))
            }
        }
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let others = versions(client).await;
            let instead = match others.as_slice() {
                [] => "the CRD is not installed".to_owned(),
                others => format!("the CRD serves {} only", others.join(", ")),
            };
            Finding::Missing(format!("{known} is not served, {instead}: {INSTALL}"))
        }
        Err(error) => {
            Finding::Missing(format!("failed to ask for the kinds of {known}: {}", causes(&error)))
        }
    }
}

/// How the CRD comes to be there.
const INSTALL: &str =
    "install the chart with crds.enabled, or apply the CRDs of this version (docs/install.md)";

/// The versions that the group is served in.
async fn versions(client: &Client) -> Vec<String> {
    let groups = client.list_api_groups().await.map(|list| list.groups).unwrap_or_default();
    let ours = groups.into_iter().find(|group| group.name == GROUP);
    ours.into_iter().flat_map(|group| group.versions).map(|version| version.version).collect()
}

/// Whether the CRD has all fields that this operator knows: others vanish with the next write.
async fn fields_of(client: &Client, crd: &CustomResourceDefinition) -> Finding {
    let plural = &crd.spec.names.plural;
    let served = match openapi(client).await {
        Ok(document) => fields::lacking(&document, crd),
        Err(error) => Err(causes(&error)),
    };
    match served {
        Ok(lacking) if lacking.is_empty() => {
            Finding::Fine(format!("the CRD of {plural} has all fields that this operator knows"))
        }
        Ok(lacking) => Finding::Missing(format!(
            "the CRD of {plural} is older than this operator, and what is written to these fields is lost: {}; apply the CRDs of this version (docs/upgrade.md)",
            lacking.join(", ")
        )),
        Err(why) => {
            Finding::Missing(format!("failed to read the fields of the CRD of {plural}: {why}"))
        }
    }
}

async fn openapi(client: &Client) -> kube::Result<Value> {
    let path = format!("/openapi/v3/apis/{GROUP}/{VERSION}");
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request(request).await
}

async fn may(client: &Client, right: &Right) -> Finding {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(right.attributes()),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    // A question, which the API server answers and forgets.
    match reviews.create(&PostParams::default(), &review).await {
        Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => {
            Finding::Fine(format!("it may {right}"))
        }
        Ok(_) => Finding::Missing(format!("it may not {right}: {}", right.remedy())),
        Err(error) => {
            Finding::Missing(format!("failed to ask whether it may {right}: {}", causes(&error)))
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fine(what) => write!(f, "ok       {what}"),
            Self::Missing(what) => write!(f, "MISSING  {what}"),
        }
    }
}
