//! What every registry promises behind the port: in memory, over HTTP, and distribution's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/promises.rs"]
mod promise;

use faces::{Face, Kind};
use rstest::rstest;

/// One test for each promise and each registry.
macro_rules! everywhere {
    ($($promise:ident)*) => {$(
        #[rstest]
        #[case::memory(Kind::Memory)]
        #[case::memory_login(Kind::MemoryLogin)]
        #[case::http(Kind::Http)]
        #[case::http_basic(Kind::HttpBasic)]
        #[case::http_bearer(Kind::HttpBearer)]
        #[case::distribution(Kind::Distribution)]
        #[case::distribution_basic(Kind::DistributionBasic)]
        #[case::shared_memory(Kind::SharedMemory)]
        #[case::shared_http(Kind::SharedHttp)]
        #[case::shared_http_bearer(Kind::SharedHttpBearer)]
        #[case::shared_distribution(Kind::SharedDistribution)]
        #[tokio::test]
        async fn $promise(#[case] kind: Kind) {
            promise::$promise(Face::start(kind).await).await;
        }
    )*};
}

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
#[case::distribution_basic(Kind::DistributionBasic)]
#[case::shared_memory(Kind::SharedMemoryLogin)]
#[case::shared_http_bearer(Kind::SharedHttpBearer)]
#[tokio::test]
async fn a_wrong_or_missing_credential_is_unauthorized(#[case] kind: Kind) {
    promise::a_wrong_or_missing_credential_is_unauthorized(Face::start(kind).await).await;
}
