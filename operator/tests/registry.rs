//! What every registry promises behind the port: in memory, over HTTP, and distribution's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[macro_use]
#[path = "registry/everywhere.rs"]
mod everywhere;
#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/promises.rs"]
mod promise;

use faces::{Asks, Face, Kind, Real, Speaks};
use multiarch_operator::{
    oci::Reference,
    registry::{
        Access, Registry, RegistryError,
        remote::{Options, Remote},
    },
};
use rstest::rstest;

everywhere! {
    what_is_not_there_is_none
    what_was_put_by_digest_is_read_back_byte_by_byte
    a_tag_names_what_was_put_last
    an_index_and_its_children_are_read_by_tag_and_digest
    the_media_type_is_the_one_that_was_put
    content_that_is_not_its_digest_is_refused
    an_index_without_its_children_is_refused
    an_image_without_its_blobs_is_refused
    a_blob_is_read_whole
    a_blob_of_another_size_is_refused
    a_repository_shows_only_its_own
    a_deleted_tag_is_gone_and_nothing_else
    what_refers_to_a_manifest_is_listed_once
    an_index_may_refer_to_a_manifest
    what_refers_to_something_else_is_not_put
}

/// One test for each way of asking who one is.
#[rstest]
#[case::memory(Kind::MemoryLogin)]
#[case::http_basic(Kind::HttpBasic)]
#[case::http_bearer(Kind::HttpBearer)]
#[case::real_htpasswd(Kind::Real(Asks::Password, Speaks::Plain))]
#[case::real_tokens(Kind::Real(Asks::Token, Speaks::Plain))]
#[case::real_htpasswd_by_tls(Kind::Real(Asks::Password, Speaks::Tls))]
#[case::real_tokens_by_mutual_tls(Kind::Real(Asks::Token, Speaks::MutualTls))]
#[case::shared_memory(Kind::SharedMemoryLogin)]
#[case::shared_http_bearer(Kind::SharedHttpBearer)]
#[tokio::test]
async fn a_wrong_or_missing_credential_is_unauthorized(#[case] kind: Kind) {
    promise::a_wrong_or_missing_credential_is_unauthorized(Face::start(kind).await).await;
}

/// What is missing is told where the connection fails, and nothing is asked without it. Go tells so after the
/// handshake, which may come before the request has gone out, and is then lost.
#[rstest]
#[case::no_ca(Speaks::Tls, false, &["unknown issuer: name a Secret with that CA as spec.registries[].certSecretRef"])]
#[case::no_client_certificate(
    Speaks::MutualTls, true,
    &["it wants a client certificate: name a Secret with tls.crt", "does it want a client certificate?"]
)]
#[tokio::test]
async fn who_lacks_certificates_is_told(
    #[case] speaks: Speaks,
    #[case] trusts: bool,
    #[case] words: &[&str],
) {
    let real = Real::start(Asks::Nobody, speaks).await;
    // How a connection failed is told of hosts that the admin has named.
    let allowed = vec![real.host().parse().unwrap()];
    let remote = Remote::new(Options { allowed, ..real.options() }).unwrap();
    let lacking = if trusts { real.trusting() } else { Access::default() };
    let image: Reference = format!("{}/team/app:1.0", real.host()).parse().unwrap();
    let (app, tag) = (image.repository(), image.tag_or_digest());
    let error = remote.head_manifest(&lacking, app, &tag).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    let said = error.to_string();
    assert!(words.iter().any(|words| said.contains(words)), "{said}");
    assert_eq!(remote.head_manifest(&real.who(), app, &tag).await.unwrap(), None);
}
