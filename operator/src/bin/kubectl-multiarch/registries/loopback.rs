//! Whether a registry on this machine speaks TLS: few do, so it is asked before it is trusted with anything.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::OnceCell,
    time::timeout,
};

/// How long one may take to say its first byte.
const PATIENCE: Duration = Duration::from_secs(2);

/// The first bytes of records of TLS: an alert, and a handshake.
const TLS: [u8; 2] = [21, 22];

/// What was learnt of registries on this machine.
#[derive(Debug, Default)]
pub(super) struct Loopback(Mutex<HashMap<String, Arc<OnceCell<bool>>>>);

impl Loopback {
    /// Whether `host` is on this machine and speaks no TLS, or does not answer.
    pub(super) async fn is_plain(&self, host: &str) -> bool {
        if !is_here(host) {
            return false;
        }
        let known = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(host.to_owned()).or_default())
        };
        *known
            .get_or_init(async || !timeout(PATIENCE, speaks_tls(host)).await.unwrap_or(false))
            .await
    }
}

/// Whether `host[:port]` is this machine by its name alone.
fn is_here(host: &str) -> bool {
    let (name, _) = split(host);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The name, and the port for TLS.
fn split(host: &str) -> (&str, &str) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, "443"),
    }
}

/// Greets it as a client of TLS does, and hears by the first byte whether it understands. Nothing else is said to it.
async fn speaks_tls(host: &str) -> bool {
    let (name, port) = split(host);
    let config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let mut greeting = Vec::new();
    let greeted = ServerName::try_from(name.to_owned()).ok().and_then(|name| {
        let mut client = ClientConnection::new(Arc::new(config), name).ok()?;
        client.write_tls(&mut greeting).ok()
    });
    if greeted.is_none() {
        return false;
    }
    let mut first = [0];
    let heard = async {
        let mut stream = TcpStream::connect(format!("{}:{port}", split(host).0)).await?;
        stream.write_all(&greeting).await?;
        stream.read_exact(&mut first).await
    };
    heard.await.is_ok() && TLS.contains(&first[0])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tokio::net::TcpListener;

    use super::*;

    #[rstest]
    #[case("localhost", true)]
    #[case("localhost:5000", true)]
    #[case("127.0.0.1:5000", true)]
    #[case("127.8.9.10", true)]
    #[case("[::1]:5000", true)]
    #[case("[::1]", true)]
    #[case("10.0.0.1:5000", false)]
    #[case("localhost.example.com", false)]
    #[case("docker.io", false)]
    fn is_this_machine(#[case] host: &str, #[case] here: bool) {
        assert_eq!(is_here(host), here);
    }

    /// A server that answers whatever it hears with `answer`, and its `host:port`.
    async fn answering(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).await.unwrap();
            // A handshake, of one version or another.
            assert_eq!(heard[..2], [22, 3]);
            stream.write_all(answer).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn is_asked_what_it_speaks() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let at = answering(b"\x16\x03\x03").await;
        assert!(!Loopback::default().is_plain(&at).await);
        let alert = answering(b"\x15\x03\x01\x00\x02\x02\x28").await;
        assert!(!Loopback::default().is_plain(&alert).await);
        let loopback = Loopback::default();
        let plain = answering(b"HTTP/1.1 400 Bad Request\r\n").await;
        assert!(loopback.is_plain(&plain).await);
        assert!(loopback.is_plain(&plain).await, "it is asked once");
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert!(loopback.is_plain(&nobody.to_string()).await);
    }
}
