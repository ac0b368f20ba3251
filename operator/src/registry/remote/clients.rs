//! The HTTP clients: one for what the operator trusts, and one for each set of certificates that objects bring along.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use reqwest::{
    Client,
    header::{ACCEPT_ENCODING, HeaderMap, HeaderValue},
    redirect,
};
use rustls::{
    ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer, sign::SingleCertAndKey,
};

use super::{Options, SetupError, address::Guarded, limits::Limits, proxy::Proxies};
use crate::registry::tls::{Fingerprint, Tls, authorities};

/// Certificates come from users, so there is a bound; a client that makes room is made anew when it
/// is wanted again.
const MOST: usize = 64;

pub(super) struct Clients {
    recipe: Recipe,
    system: Vec<CertificateDer<'static>>,
    bundle: Option<PathBuf>,
    /// The bundle is not looked at again before it is so old.
    age: Duration,
    made: Mutex<Made>,
}

/// How a client is made, whatever it trusts.
struct Recipe {
    user_agent: String,
    limits: Limits,
    resolver: Arc<Guarded>,
    proxies: Proxies,
}

/// The clients that trust what was last read of the bundle. Each has connections of its own.
struct Made {
    /// The system's CAs and the bundle's.
    roots: RootCertStore,
    /// What was last read of the bundle, readable or not.
    seen: Option<Vec<u8>>,
    looked: Instant,
    shared: Client,
    own: HashMap<Fingerprint, Own>,
    uses: u64,
}

/// A client of certificates, and when it was last used.
struct Own {
    client: Client,
    used: u64,
}

impl Clients {
    pub(super) fn new(options: &Options, resolver: Guarded) -> Result<Self, SetupError> {
        let recipe = Recipe {
            user_agent: options.user_agent.clone(),
            limits: options.limits.clone(),
            resolver: Arc::new(resolver),
            proxies: options.proxies.clone(),
        };
        let system = rustls_native_certs::load_native_certs().certs;
        let seen = options.ca_bundle.as_deref().map(read).transpose()?;
        let bundle = match (&options.ca_bundle, &seen) {
            (Some(path), Some(pem)) => parse(path, pem)?,
            _ => Vec::new(),
        };
        let roots = roots(&system, &bundle);
        if roots.is_empty() {
            return Err(SetupError::NoAuthorities);
        }
        let shared = recipe.client(&roots, None).map_err(|source| SetupError::Client { source })?;
        let made =
            Made { roots, seen, looked: Instant::now(), shared, own: HashMap::new(), uses: 0 };
        let (bundle, age) = (options.ca_bundle.clone(), options.limits.bundle_age);
        Ok(Self { recipe, system, bundle, age, made: Mutex::new(made) })
    }

    /// The client for a request to a host that `tls` is for.
    pub(super) async fn get(&self, tls: Option<&Tls>) -> reqwest::Result<Client> {
        self.look().await;
        let mut made = self.made();
        let Some(tls) = tls else { return Ok(made.shared.clone()) };
        made.uses += 1;
        let used = made.uses;
        if let Some(own) = made.own.get_mut(&tls.fingerprint()) {
            own.used = used;
            return Ok(own.client.clone());
        }
        if made.own.len() >= MOST
            && let Some(oldest) =
                made.own.iter().min_by_key(|(_, own)| own.used).map(|(fingerprint, _)| *fingerprint)
        {
            made.own.remove(&oldest);
        }
        let client = self.recipe.client(&made.roots, Some(tls))?;
        made.own.insert(tls.fingerprint(), Own { client: client.clone(), used });
        Ok(client)
    }

    /// Looks at the bundle, where that is due. What cannot be used changes nothing.
    async fn look(&self) {
        let Some(path) = &self.bundle else { return };
        {
            let mut made = self.made();
            if made.looked.elapsed() < self.age {
                return;
            }
            made.looked = Instant::now();
        }
        let reading = path.clone();
        let read = tokio::task::spawn_blocking(move || read(&reading)).await;
        let Ok(read) = read else { return };
        match self.take(path, read) {
            Ok(true) => tracing::info!(path = %path.display(), "read a changed CA bundle"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "the CA bundle cannot be used; what it was before stays in use");
            }
        }
    }

    /// Whether what was `read` is news. An error is told once.
    fn take(&self, path: &Path, read: Result<Vec<u8>, SetupError>) -> Result<bool, SetupError> {
        let mut made = self.made();
        let seen = read.as_ref().ok().cloned();
        if seen == made.seen {
            return Ok(false);
        }
        made.seen = seen;
        let roots = roots(&self.system, &parse(path, &read?)?);
        let shared = self.recipe.client(&roots, None);
        made.shared = shared.map_err(|source| SetupError::Client { source })?;
        made.roots = roots;
        // What they trust is not trusted any more.
        made.own.clear();
        Ok(true)
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recipe {
    fn client(&self, roots: &RootCertStore, tls: Option<&Tls>) -> reqwest::Result<Client> {
        let headers =
            HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        let most = u32::try_from(self.limits.headers).unwrap_or(u32::MAX);
        let builder = Client::builder()
            .default_headers(headers)
            .user_agent(&self.user_agent)
            .connect_timeout(self.limits.connect)
            .redirect(redirect::Policy::none())
            .referer(false)
            .dns_resolver(Arc::clone(&self.resolver))
            .http2_max_header_list_size(most)
            // The environment was read at the start, and tests have none.
            .no_proxy()
            .tls_backend_preconfigured(config(roots, tls));
        let proxies = self.proxies.all()?.into_iter();
        proxies.fold(builder, reqwest::ClientBuilder::proxy).build()
    }
}

/// Verified by webpki in every case. It is made here and not by the HTTP client, whose verifier logs
/// the names in a certificate that it refuses, and whose errors do not tell a CA from a key.
fn config(roots: &RootCertStore, tls: Option<&Tls>) -> ClientConfig {
    let mut roots = roots.clone();
    let authorities = tls.map_or(&[][..], Tls::authorities);
    roots.add_parsable_certificates(authorities.iter().cloned());
    let identity = tls.and_then(Tls::identity);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    #[expect(clippy::expect_used, reason = "ring has what TLS 1.2 and 1.3 need")]
    let builder = builder.with_safe_default_protocol_versions().expect("TLS 1.2 and 1.3");
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => {
            let shown = SingleCertAndKey::from(Arc::clone(identity));
            builder.with_client_cert_resolver(Arc::new(shown))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// Of the system's, those that can be read: it has them from many hands.
fn roots(system: &[CertificateDer<'static>], bundle: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system.iter().chain(bundle).cloned());
    roots
}

fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|error| unusable(path, error.to_string()))
}

fn parse(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    authorities("the file", pem).map_err(|why| unusable(path, why))
}

fn unusable(path: &Path, why: String) -> SetupError {
    SetupError::Bundle { path: path.display().to_string(), why }
}
