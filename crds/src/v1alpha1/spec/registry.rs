//! How an object talks to a registry.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::v1alpha1::{SecretRef, rules};

/// How to talk to one registry.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::certificates_need_tls())]
pub struct Registry {
    /// The host, with its port if the references have one: `registry.local:5000`. It is compared as written, so registry.local is
    /// another one than registry.local:5000. At most 180 characters.
    #[schemars(length(min = 1, max = 180))]
    #[x_kube(
        validation = rules::host(),
        validation = rules::host_lower_case(),
        validation = rules::host_of_docker_hub(),
        validation = rules::no_default_port()
    )]
    pub host: String,
    /// Whether to speak HTTP without TLS to this host, for a registry inside the cluster. Passwords then cross the network in the
    /// clear. It needs the operator's flag --insecure-allow-http; without it the reason is InsecureNotAllowed. Default: false.
    #[serde(default, rename = "plainHTTP")]
    pub plain_http: bool,
    /// A Secret with certificates for TLS to this host, of type Opaque or kubernetes.io/tls. ca.crt: the CAs, in PEM, that may
    /// vouch for the host beside those of the system and of the operator's flag --ca-bundle. tls.crt and tls.key: the client
    /// certificate, with its chain, and its private key, for a host that asks for one. It needs ca.crt, or the other two, or all three.
    /// They are used for the requests of this object to this host and for nothing else; where the registry fetches tokens or blobs
    /// from another host with such a CA, list that host, too. It is read at each run, so new certificates need no restart.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<SecretRef>,
}
