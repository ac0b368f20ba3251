//! A kubelet's credential provider plugins: the operator's own credential, for the namespaces and repositories that its admin lists.

mod answer;
mod config;
mod duration;
mod kept;
mod pattern;
pub(super) mod plugin;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tracing::{debug, warn};

use self::{
    answer::{Answer, Logins},
    kept::{Kept, Who},
};
use super::KeychainError;
use crate::{
    oci::{Prefix, Repository},
    registry::Credential,
};

pub use self::{
    config::{ConfigError, Provider},
    plugin::{Limits, PluginError},
};

/// The providers, who may have them asked, and what they answered.
pub struct Providers {
    list: Vec<Provider>,
    allow: Vec<(String, Prefix)>,
    limits: Limits,
    observe: Observe,
    kept: Mutex<Kept>,
    /// Who runs a plugin for a host now. Hosts are those of `allow`, so there are few.
    flights: Mutex<HashMap<(Who, String), Flight>>,
}

type Flight = Arc<tokio::sync::Mutex<()>>;

/// Told of each run of a plugin: the provider, and in one word what came of it.
pub type Observe = Arc<dyn Fn(&str, &'static str) + Send + Sync>;

impl Providers {
    /// Those of `list`, for repositories in the prefixes that `allow` has for their namespace, and for nobody else.
    #[must_use]
    pub fn new(list: Vec<Provider>, allow: Vec<(String, Prefix)>) -> Self {
        Self {
            list,
            allow,
            limits: Limits::default(),
            observe: Arc::new(|_, _| {}),
            kept: Mutex::default(),
            flights: Mutex::default(),
        }
    }

    /// The same, telling `observe` of each run.
    #[must_use]
    pub fn observed_by(self, observe: Observe) -> Self {
        Self { observe, ..self }
    }

    /// The same with other limits.
    #[must_use]
    pub fn limited_to(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The credential for `repository` of an object in `namespace`, which asks for it by `provider: Kubelet`. Who may have it is
    /// asked first, whatever is kept; then all providers that are for the repository, each at most once at a time for its host.
    /// It is `now`; what a plugin gives, and that it failed, is kept from its end on.
    pub async fn credential(
        &self,
        namespace: &str,
        repository: &Repository,
        now: Instant,
    ) -> Result<Credential, KeychainError> {
        let begun = tokio::time::Instant::now();
        let now = || now + begun.elapsed();
        let (of, shown) = (namespace.to_owned(), repository.to_string());
        if !self.allow.iter().any(|(to, prefix)| to == namespace && prefix.covers(repository)) {
            return Err(KeychainError::ProviderNotAllowed { namespace: of, repository: shown });
        }
        let fitting = self.list.iter().enumerate().filter(|(_, it)| it.is_for(repository));
        let (mut given, mut failed) = (Vec::new(), None);
        for (number, provider) in fitting {
            let who = Who { namespace: of.clone(), provider: number };
            match self.logins(provider, &who, repository, &now).await {
                Ok(logins) => given.push((provider.name.as_str(), logins)),
                Err(source) => {
                    failed.get_or_insert((provider.name.clone(), source));
                }
            }
        }
        let all: Vec<_> = given.iter().map(|(name, logins)| (*name, &**logins)).collect();
        if let Some(credential) = Logins::best(&all, repository) {
            return Ok(credential);
        }
        Err(match (failed, given.first()) {
            (Some((provider, source)), _) => {
                KeychainError::Provider { provider, repository: shown, source }
            }
            (None, Some((provider, _))) => {
                KeychainError::NoneGiven { provider: (*provider).into(), repository: shown }
            }
            (None, None) => KeychainError::NoProvider { repository: shown },
        })
    }

    /// What `provider` gives for `repository`: kept, or fresh.
    async fn logins(
        &self,
        provider: &Provider,
        who: &Who,
        repository: &Repository,
        now: &impl Fn() -> Instant,
    ) -> Result<Arc<Logins>, PluginError> {
        let known = || self.kept().get(who, repository, now());
        if let Some(known) = known() {
            return known;
        }
        // One host's at a time: what is given for one repository may be for all of them.
        let flight = self.flight(who, repository);
        let _turn = flight.lock().await;
        if let Some(known) = known() {
            return known;
        }
        match self.run(provider, repository).await {
            Ok((answer, bytes)) => {
                let (logins, life) =
                    (Arc::new(answer.logins), answer.life.unwrap_or(provider.life));
                let fresh = (Arc::clone(&logins), bytes);
                self.kept().keep((who, repository), fresh, answer.kept_by, (now(), life));
                Ok(logins)
            }
            Err(error) => {
                self.kept().failed((who, repository), &error, now());
                Err(error)
            }
        }
    }

    /// Runs the plugin of `provider`, and tells of it.
    async fn run(
        &self,
        provider: &Provider,
        repository: &Repository,
    ) -> Result<(Answer, u64), PluginError> {
        let program = &provider.program;
        let printed = plugin::run(program, repository, self.limits).await;
        let answer = printed.and_then(|printed| {
            let answer = Answer::parse(&printed, &program.version);
            let answer = answer.map_err(|why| PluginError::Unusable { why })?;
            Ok((answer, printed.len() as u64))
        });
        let name = &provider.name;
        match &answer {
            Ok(_) => debug!(provider = name, %repository, "asked a credential provider"),
            Err(error) => warn!(
                provider = name, %repository, %error,
                "a credential provider failed; what it printed is not shown: run it by hand to see why"
            ),
        }
        (self.observe)(name, answer.as_ref().map_or_else(PluginError::word, |_| "success"));
        answer
    }

    fn flight(&self, who: &Who, repository: &Repository) -> Flight {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(flights.entry((who.clone(), repository.host().into())).or_default())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None, which nobody may have asked.
impl Default for Providers {
    fn default() -> Self {
        Self::new(Vec::new(), Vec::new())
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = (&self.list, &self.allow);
        f.debug_struct("Providers")
            .field("list", shown.0)
            .field("allow", shown.1)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
