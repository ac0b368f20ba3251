//! A listener that speaks TLS.

use std::{io, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::Pair;

/// The listener.
pub struct Listener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener {
    /// Takes a free port of the loopback, and shows `pair` to who comes.
    pub async fn bind(pair: &Pair) -> Result<Self> {
        let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes())
            .context("not a certificate")?;
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).context("not a key")?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("no TLS")?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .context("the certificate and the key are no pair")?;
        let tcp = TcpListener::bind(("127.0.0.1", 0)).await.context("failed to listen")?;
        Ok(Self { tcp, acceptor: Arc::new(config).into() })
    }

    /// Its host:port.
    pub fn address(&self) -> Result<String> {
        Ok(self.tcp.local_addr().context("failed to read the address")?.to_string())
    }
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // Who does not trust the certificate goes away, and is no failure of ours.
            if let Ok((stream, address)) = self.tcp.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
