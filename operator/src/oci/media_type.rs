//! The media types that the operator knows, and what each one is.

/// `application/vnd.oci.image.index.v1+json`
pub const OCI_INDEX: &str = oci_client::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE;
/// `application/vnd.oci.image.manifest.v1+json`
pub const OCI_MANIFEST: &str = oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;
/// `application/vnd.docker.distribution.manifest.list.v2+json`
pub const DOCKER_LIST: &str = oci_client::manifest::IMAGE_MANIFEST_LIST_MEDIA_TYPE;
/// `application/vnd.docker.distribution.manifest.v2+json`
pub const DOCKER_MANIFEST: &str = oci_client::manifest::IMAGE_MANIFEST_MEDIA_TYPE;
/// `application/vnd.oci.image.config.v1+json`
pub const OCI_CONFIG: &str = oci_client::manifest::IMAGE_CONFIG_MEDIA_TYPE;
/// `application/vnd.docker.container.image.v1+json`
pub const DOCKER_CONFIG: &str = oci_client::manifest::IMAGE_DOCKER_CONFIG_MEDIA_TYPE;
/// The config of the CNCF's wasm artifacts, which has `os` and `architecture` as an image's has.
/// Not oci-client's constant, which is of Krustlet's time and says v1.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// `application/vnd.docker.image.rootfs.diff.tar.gzip`
pub const DOCKER_LAYER: &str = oci_client::manifest::IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE;
/// `application/vnd.oci.image.layer.v1.tar+gzip`
pub const OCI_LAYER: &str = oci_client::manifest::IMAGE_LAYER_GZIP_MEDIA_TYPE;
/// A layer packed by zstd, which Docker's manifests have no type for.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// The one `Accept` that HEAD and GET of manifests send, so that both name the same content.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// The longest media type that is taken for one: RFC 6838 allows 127 characters a side.
const LONGEST: usize = 255;

/// Whether it is an OCI index or a Docker manifest list.
#[must_use]
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Whether it is an OCI or Docker manifest of a single image.
#[must_use]
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Whether a config of this type tells a platform: OCI and Docker image configs, and wasm's.
#[must_use]
pub fn is_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG | WASM_CONFIG)
}

/// Whether it is one of Docker's schema 1 manifests, plain or signed.
#[must_use]
pub fn is_schema1(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws"
    )
}

/// A `Content-Type` header without its parameters and in lower case. `None` where it says nothing
/// about the content: it is empty, or one of the types that registries send for anything
/// (Artifactory `application/octet-stream`, static hosts `text/plain` and `application/json`).
#[must_use]
pub fn from_header(content_type: &str) -> Option<String> {
    let bare = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match bare.as_str() {
        "" | "application/octet-stream" | "text/plain" | "application/json" => None,
        _ => Some(bare),
    }
}

/// `media_type` where it is one by RFC 6838's grammar, and so is safe to show; else a word that
/// says it is none.
#[must_use]
pub fn shown(media_type: &str) -> &str {
    if media_type.is_empty() {
        "absent"
    } else if is_well_formed(media_type) {
        media_type
    } else {
        "malformed"
    }
}

/// Whether it is `type/subtype` by RFC 6838's grammar, without parameters.
#[must_use]
pub fn is_well_formed(media_type: &str) -> bool {
    let name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    media_type.len() <= LONGEST
        && media_type.split_once('/').is_some_and(|(left, right)| name(left) && name(right))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Application/VND.x+JSON ; charset=utf-8", Some("application/vnd.x+json"))]
    #[case("", None)]
    #[case("; charset=utf-8", None)]
    #[case("application/octet-stream", None)]
    #[case("TEXT/plain;charset=utf-8", None)]
    #[case("application/json", None)]
    #[case("text/html", Some("text/html"))]
    fn reads_a_header(#[case] header: &str, #[case] media_type: Option<&str>) {
        assert_eq!(from_header(header).as_deref(), media_type);
    }

    #[rstest]
    #[case("application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.index.v1+json")]
    #[case("", "absent")]
    #[case("text", "malformed")]
    #[case("/x", "malformed")]
    #[case("x/", "malformed")]
    #[case("x/y/z", "malformed")]
    #[case("x/y; z", "malformed")]
    #[case("x/é", "malformed")]
    #[case("x/\u{1b}[31m", "malformed")]
    #[case(&format!("x/{}", "y".repeat(300)), "malformed")]
    fn shows(#[case] media_type: &str, #[case] expected: &str) {
        assert_eq!(shown(media_type), expected);
    }

    #[test]
    fn each_kind_is_one_kind() {
        for of in [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST] {
            assert!(is_index(of) != is_manifest(of) && !is_config(of) && !is_schema1(of));
            assert!(ACCEPT.split(", ").any(|accepted| accepted == of));
        }
        assert!(is_config(OCI_CONFIG) && is_config(DOCKER_CONFIG) && is_config(WASM_CONFIG));
    }
}
