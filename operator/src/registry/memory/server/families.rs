//! The registries that people have: what each does differently, and the thread that shows it.
//!
//! It is what people reported of them, and not what was seen: none was reached from here.

use super::{Lie, Lies, Login, Realm, Server, User, serve};
use crate::registry::memory::Store;

/// A kind of registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Docker Hub.
    Hub,
    /// GitHub's.
    Ghcr,
    /// Amazon's.
    Ecr,
    /// Google's.
    Gar,
    /// Azure's.
    Acr,
    /// Harbor.
    Harbor,
    /// Quay.
    Quay,
    /// GitLab's.
    GitLab,
    /// JFrog Artifactory.
    Artifactory,
}

/// A registry of a family, with the servers that it leads to.
pub struct Deployment {
    /// The registry.
    pub registry: Server,
    /// Where its tokens are, if elsewhere.
    pub tokens: Option<Server>,
    /// Where its blobs are, if elsewhere.
    pub storage: Option<Server>,
}

/// What stands before the path of an upload's `Location` at [`Family::Gar`].
pub(super) const GAR_UPLOADS: &str = "/artifacts-uploads";

impl Family {
    /// Starts one over `store`, which these users may read and write, and in which `trouble` is
    /// the case beside its habits.
    pub async fn deploy(
        self,
        store: Store,
        users: Vec<User>,
        trouble: impl IntoIterator<Item = Lie>,
    ) -> Deployment {
        let mut lies = self.habits();
        let mut storage = None;
        if self == Self::Hub {
            // Blobs are a CDN's: https://github.com/opencontainers/distribution-spec/issues/299
            let server = serve(store.clone(), Lies::default()).await;
            lies.push(Lie::RedirectBlobs(server.origin()));
            storage = Some(server);
        }
        let mut tokens = None;
        let login = match self {
            // Passwords with each request: https://github.com/podman-desktop/podman-desktop/issues/642
            Self::Ecr => Login::Basic(users),
            // Tokens are another host's. Docker Hub: https://github.com/distribution/distribution/issues/2376
            // GitLab: https://github.com/podman-container-tools/skopeo/issues/856
            Self::Hub | Self::GitLab => {
                let login = Login::bearer(users.clone());
                let server = serve(Store::new(), Lies { login, lies: lies.clone() }).await;
                let realm = Realm::At(format!("{}/token", server.origin()));
                tokens = Some(server);
                Login::Bearer { realm, users, public: Vec::new(), expires_in: Some(300) }
            }
            _ => Login::bearer(users),
        };
        // Where tokens are given to everybody, what may not be read is a 401 as what is not there is. Docker Hub:
        // https://github.com/jupyterhub/binderhub/pull/1664 Quay: https://github.com/giantswarm/retagger/pull/353
        lies.extend(trouble);
        let registry = serve(store, Lies { login, lies }).await;
        Deployment { registry, tokens, storage }
    }

    /// What it does whatever people do with it.
    #[must_use]
    pub fn habits(self) -> Vec<Lie> {
        match self {
            Self::Hub => vec![
                // Manifests say how many pulls are left: https://github.com/docker/docs/pull/11648
                Lie::Header("ratelimit-remaining", "76;w=21600".into()),
                // Only an API of its own deletes: https://github.com/docker/hub-feedback/issues/2360
                Lie::KeepsTags(405, "UNSUPPORTED"),
            ],
            Self::Ghcr => vec![
                // What says its range may have 4 MiB: https://github.com/oras-project/rust-oci-client/issues/35
                // and only what says so: https://github.com/openai/tart/pull/179
                Lie::RangeTooLong(4 << 20),
                // An index is there for who accepts one: https://github.com/Mic92/niks3/issues/229
                Lie::NeedsAccept,
                // Referrers are a page for people: https://github.com/artifacthub/hub/issues/4785
                Lie::Referrers(303, "text/html", ""),
                // Who may not read gets no token: https://github.com/coollabsio/coolify/issues/5575
                Lie::TokenRefused(403),
                // Neither tags, https://github.com/podman-container-tools/skopeo/issues/1880,
                // nor uploads, https://github.com/radius-project/radius/pull/12623, can be deleted.
                Lie::Refused("DELETE", 405, "UNSUPPORTED"),
            ],
            Self::Ecr => vec![
                // GETs name no digest: https://github.com/distribution/distribution/issues/3792
                Lie::WithoutDigest("GET"),
                // A mount may turn out to be an upload: https://github.com/aws/containers-roadmap/issues/2860
                Lie::MountRefused(202),
            ],
            Self::Gar => vec![
                // Uploads go on at a path of their own: https://github.com/oras-project/rust-oci-client/pull/175
                Lie::Location(Some(GAR_UPLOADS.into())),
                // Blobs come whole or not at all: https://github.com/kitops-ml/kitops/issues/777
                Lie::Refused("PATCH", 405, "UNSUPPORTED"),
            ],
            // https://github.com/containerd/overlaybd/issues/35
            Self::Acr => vec![Lie::AccessToken],
            // What is deleted has to be named by digest: https://github.com/goharbor/harbor/pull/11971
            Self::Harbor => vec![Lie::KeepsTags(405, "UNSUPPORTED")],
            // A scope with `delete` is a bad request, and `push` may delete: https://github.com/quay/quay/pull/6576
            Self::Quay => vec![Lie::UnknownDelete],
            Self::GitLab => vec![
                // https://github.com/estesp/manifest-tool/issues/53
                Lie::LastScope,
                // https://github.com/werf/werf/pull/1190
                Lie::KeepsDelete,
                // No referrers, and the subject itself under the fallback tag, is one thread's:
                // https://github.com/oras-project/oras-go/issues/1396
                Lie::Referrers(404, "text/plain", "404 page not found"),
                Lie::DashedDigests,
            ],
            Self::Artifactory => vec![
                // Both are one thread's: https://github.com/deitch/docker_registry2/issues/83
                Lie::WithoutDigest("HEAD"),
                Lie::Header("content-type", "application/octet-stream".into()),
            ],
        }
    }
}

/// What a family does where people set it up so, or where they came to its limits.
pub mod trouble {
    use super::Lie;

    /// Docker Hub, past its limit: <https://github.com/docker/hub-feedback/issues/1907>
    #[must_use]
    pub fn hub_limit() -> Lie {
        Lie::RateLimited(String::new())
    }

    /// ECR, where the repository was not created: <https://github.com/aws/containers-roadmap/issues/1970>
    #[must_use]
    pub fn ecr_no_repository() -> Lie {
        Lie::CutPosts
    }

    /// ECR, where tags are immutable: <https://github.com/moby/buildkit/issues/3776>
    #[must_use]
    pub fn ecr_immutable() -> Lie {
        Lie::Immutable(400, "TAG_INVALID")
    }

    /// Google's, where the repository was not created:
    /// <https://github.com/GoogleCloudPlatform/cymbal-superstore/pull/4>
    #[must_use]
    pub fn gar_no_repository() -> Lie {
        Lie::Refused("POST", 403, "DENIED")
    }

    /// Harbor, where its scanner found something: <https://github.com/goharbor/harbor/issues/19408>
    #[must_use]
    pub fn harbor_scanner() -> Lie {
        Lie::ReadsRefused(412, "PROJECTPOLICYVIOLATION")
    }

    /// Harbor, where another project is mounted from: <https://github.com/goharbor/harbor/issues/17097>
    #[must_use]
    pub fn harbor_mount() -> Lie {
        Lie::MountRefused(401)
    }

    /// Harbor, where tags are immutable: <https://github.com/goharbor/harbor/pull/9427>
    #[must_use]
    pub fn harbor_immutable() -> Lie {
        Lie::Immutable(412, "PRECONDITION")
    }

    /// Harbor, where the project's quota is used up: <https://github.com/goharbor/harbor-cli/issues/96>
    #[must_use]
    pub fn harbor_quota() -> Lie {
        Lie::PutRefused(403, "DENIED")
    }

    /// Quay before 2026, which takes Docker's images in no OCI index:
    /// <https://github.com/openshift/oc-mirror/issues/253>
    #[must_use]
    pub fn quay_mixed_index() -> Lie {
        Lie::MixedRefused(400, "MANIFEST_INVALID")
    }

    /// Artifactory's virtual repositories, for what is not there:
    /// <https://github.com/sigstore/cosign/issues/2973>
    #[must_use]
    pub fn artifactory_absent() -> Lie {
        Lie::Absent(403, "UNAUTHORIZED")
    }
}
