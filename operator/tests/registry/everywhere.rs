//! The registries that every promise is tried on: in memory, over HTTP, and distribution's own in each way that people run it.

/// One test for each promise and each registry.
macro_rules! everywhere {
    ($($promise:ident)*) => {$(
        #[rstest]
        #[case::memory(Kind::Memory)]
        #[case::memory_login(Kind::MemoryLogin)]
        #[case::http(Kind::Http)]
        #[case::http_basic(Kind::HttpBasic)]
        #[case::http_bearer(Kind::HttpBearer)]
        #[case::real(Kind::Real(Asks::Nobody, Speaks::Plain))]
        #[case::real_htpasswd(Kind::Real(Asks::Password, Speaks::Plain))]
        #[case::real_tokens(Kind::Real(Asks::Token, Speaks::Plain))]
        #[case::real_htpasswd_by_tls(Kind::Real(Asks::Password, Speaks::Tls))]
        #[case::real_by_tls(Kind::Real(Asks::Nobody, Speaks::Tls))]
        #[case::real_tokens_by_tls(Kind::Real(Asks::Token, Speaks::Tls))]
        #[case::real_by_mutual_tls(Kind::Real(Asks::Nobody, Speaks::MutualTls))]
        #[case::real_htpasswd_by_mutual_tls(Kind::Real(Asks::Password, Speaks::MutualTls))]
        #[case::real_tokens_by_mutual_tls(Kind::Real(Asks::Token, Speaks::MutualTls))]
        #[case::shared_memory(Kind::Shared(&Kind::Memory))]
        #[case::shared_http(Kind::Shared(&Kind::Http))]
        #[case::shared_http_bearer(Kind::Shared(&Kind::HttpBearer))]
        #[case::shared_real(Kind::Shared(&Kind::Real(Asks::Nobody, Speaks::Plain)))]
        #[tokio::test]
        async fn $promise(#[case] kind: Kind) {
            promise::$promise(Face::start(kind).await).await;
        }
    )*};
}
