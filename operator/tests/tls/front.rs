//! What stands before the registry in these tests: CAs, a server that speaks TLS for it, and a proxy.

#![allow(dead_code, reason = "each suite uses its own part")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use multiarch_operator::registry::tls::Tls;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, copy_bidirectional, split},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

/// A CA of a test's own.
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    /// Its own certificate.
    pub(crate) pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What is odd about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    Nothing,
    Expired,
    NotYet,
    OtherName,
    /// `openssl req -x509` makes such ones: self-signed, and a CA.
    ItsOwnAuthority,
    /// The same with `basicConstraints=CA:FALSE`.
    SelfSigned,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    /// A certificate for `127.0.0.1` and `registry.test`.
    pub(crate) fn server(&self, odd: Odd) -> Pair {
        let names = match odd {
            Odd::OtherName => vec!["secret-name.example.com".into()],
            _ => vec!["127.0.0.1".into(), "registry.test".into()],
        };
        let mut params = CertificateParams::new(names).unwrap();
        match odd {
            Odd::Expired => params.not_after = date_time_ymd(2020, 1, 1),
            Odd::NotYet => params.not_before = date_time_ymd(4000, 1, 1),
            Odd::ItsOwnAuthority => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            Odd::SelfSigned => params.is_ca = IsCa::ExplicitNoCa,
            Odd::Nothing | Odd::OtherName => {}
        }
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = match odd {
            Odd::ItsOwnAuthority | Odd::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &issuer),
        };
        Pair { certificate: certificate.unwrap().pem(), key: key.serialize_pem() }
    }

    /// A certificate for someone who asks.
    pub(crate) fn client(&self, name: &str) -> Pair {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key));
        Pair { certificate: certificate.unwrap().pem(), key: key.serialize_pem() }
    }
}

impl Pair {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }
}

/// As from a Secret of that name.
pub(crate) fn tls(secret: &str, ca: Option<&str>, pair: Option<&Pair>) -> Tls {
    let certificate = pair.map(|pair| pair.certificate.as_bytes());
    let key = pair.map(|pair| pair.key.as_bytes());
    Tls::parse(secret, ca.map(str::as_bytes), certificate, key).unwrap()
}

/// What came over one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    /// Whom the client showed to be.
    pub(crate) client: Option<CertificateDer<'static>>,
    /// All that it sent.
    pub(crate) sent: String,
}

/// A server that speaks TLS, and hands on what it hears to one that does not.
pub(crate) struct Front {
    pub(crate) addr: SocketAddr,
    connections: Arc<Mutex<Vec<Connection>>>,
    task: AbortHandle,
}

impl Front {
    /// Before `to`; whoever comes must show a certificate by `clients`, where that is given.
    pub(crate) async fn start(to: SocketAddr, shown: &Pair, clients: Option<&Authority>) -> Self {
        Self::offering(to, shown, clients, &[]).await
    }

    /// The same, which offers these protocols.
    pub(crate) async fn offering(
        to: SocketAddr,
        shown: &Pair,
        clients: Option<&Authority>,
        protocols: &[&str],
    ) -> Self {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let pem = authority.pem.as_bytes();
                roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
                let provider = Arc::new(ring::default_provider());
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
        let mut config = config.with_single_cert(vec![shown.der()], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections: Arc<Mutex<Vec<Connection>>> = Arc::default();
        let log = Arc::clone(&connections);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(acceptor.clone(), stream, to, Arc::clone(&log)));
            }
        });
        Self { addr, connections, task: serving.abort_handle() }
    }

    pub(crate) fn host(&self) -> String {
        self.addr.to_string()
    }

    pub(crate) fn origin(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// Those whose handshake succeeded.
    pub(crate) fn connections(&self) -> Vec<Connection> {
        self.connections.lock().unwrap().clone()
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    to: SocketAddr,
    log: Arc<Mutex<Vec<Connection>>>,
) {
    let stream = match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => stream,
        Err((_, mut stream)) => {
            // What the client still sends is read, or the reset would overtake the alert.
            let _ = stream.shutdown().await;
            let _ = copy(&mut stream, &mut tokio::io::sink()).await;
            return;
        }
    };
    let client = stream.get_ref().1.peer_certificates().map(|shown| shown[0].clone().into_owned());
    let at = {
        let mut log = log.lock().unwrap();
        log.push(Connection { client, sent: String::new() });
        log.len() - 1
    };
    let server = TcpStream::connect(to).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (split(stream), split(server));
    let hear = async {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            log.lock().unwrap()[at].sent.push_str(&String::from_utf8_lossy(&bytes[..count]));
            if to_server.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let answer = async {
        let _ = copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(hear, answer);
}

/// A proxy that lets everything through to one place, or refuses everything.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl Proxy {
    pub(crate) async fn start(to: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let log = Arc::clone(&log);
                tokio::spawn(async move { pass(stream, to, &log).await });
            }
        });
        Self { addr, asked, task: serving.abort_handle() }
    }

    /// The heads of the requests for a tunnel.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn pass(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    to: Option<SocketAddr>,
    log: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    log.lock().unwrap().push(String::from_utf8(head).unwrap());
    let Some(to) = to else {
        client.write_all(b"HTTP/1.1 403 Secret words\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        return;
    };
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let mut server = TcpStream::connect(to).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
