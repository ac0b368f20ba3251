//! Whole runs at distribution's own registry, in each way that people run it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/life.rs"]
mod life;
#[path = "registry/object.rs"]
mod object;
#[path = "registry/site.rs"]
mod site;

use faces::{Asks, Real, Speaks};
use life::Scene;
use rstest::rstest;
use site::Where;

async fn scene(real: &Real) -> Scene {
    Scene::at(Where {
        host: real.host().into(),
        prefix: None,
        plain_http: real.speaks() == Speaks::Plain,
        logins: real.logins(),
        token_realms: real.token_realms(),
        certificates: real.secrets(),
    })
    .await
}

macro_rules! in_each_way {
    ($($life:ident)*) => {$(
        #[rstest]
        #[case::htpasswd(Asks::Password, Speaks::Plain)]
        #[case::tokens(Asks::Token, Speaks::Plain)]
        #[case::htpasswd_by_tls(Asks::Password, Speaks::Tls)]
        #[case::tls(Asks::Nobody, Speaks::Tls)]
        #[case::tokens_by_tls(Asks::Token, Speaks::Tls)]
        #[case::mutual_tls(Asks::Nobody, Speaks::MutualTls)]
        #[case::htpasswd_by_mutual_tls(Asks::Password, Speaks::MutualTls)]
        #[case::tokens_by_mutual_tls(Asks::Token, Speaks::MutualTls)]
        #[tokio::test]
        async fn $life(#[case] asks: Asks, #[case] speaks: Speaks) {
            let real = Real::start(asks, speaks).await;
            life::$life(&scene(&real).await).await;
            for path in faces::PATHS {
                assert_eq!(real.registry.open_uploads(path), 0);
            }
        }
    )*};
}

in_each_way! {
    an_index_is_published_kept_and_follows_its_sources
    images_of_another_repository_are_copied
    images_of_another_registry_are_copied
    another_registry_gets_its_images
}

#[rstest]
#[case::htpasswd(Asks::Password, Speaks::Plain)]
#[case::tokens(Asks::Token, Speaks::Tls)]
#[case::tokens_by_mutual_tls(Asks::Token, Speaks::MutualTls)]
#[tokio::test]
async fn a_tag_is_deleted_and_nothing_else(#[case] asks: Asks, #[case] speaks: Speaks) {
    let real = Real::start(asks, speaks).await;
    life::a_tag_is_deleted_and_nothing_else(&scene(&real).await).await.unwrap();
}
