//! The registries that every promise is tried on: in memory, over HTTP, distribution's own in each way that people run it, and some of these shared by many at once.

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
        #[case::real_tokens_by_tls(Kind::Real(Asks::Token, Speaks::Tls))]
        #[case::real_by_mutual_tls(Kind::Real(Asks::Nobody, Speaks::MutualTls))]
        #[case::real_tokens_by_mutual_tls(Kind::Real(Asks::Token, Speaks::MutualTls))]
        #[case::shared_memory(Kind::SharedMemory)]
        #[case::shared_http(Kind::SharedHttp)]
        #[case::shared_http_bearer(Kind::SharedHttpBearer)]
        #[case::shared_real(Kind::SharedReal(Asks::Nobody, Speaks::Plain))]
        #[case::shared_real_tokens_by_tls(Kind::SharedReal(Asks::Token, Speaks::Tls))]
        #[tokio::test]
        async fn $promise(#[case] kind: Kind) {
            promise::$promise(Face::start(kind).await).await;
        }
    )*};
}
