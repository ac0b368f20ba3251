//! What a token is asked with: all scopes of a run, and where these are not given together, those of one repository.

use std::time::Instant;

use url::Url;

use super::{
    Remote,
    call::Call,
    challenge::Challenge,
    hosts::Site,
    token::{Identity, Key, Token},
};
use crate::registry::{Actions, RegistryError, Scope};

/// A token, and what it was issued for.
pub(super) struct Issued {
    pub(super) token: Token,
    pub(super) key: Key,
    /// It came with this request.
    pub(super) fresh: bool,
    /// It was asked with all scopes of the run.
    pub(super) together: bool,
}

/// Where tokens are, and for which service.
pub(super) type Endpoint<'a> = (&'a Url, Option<&'a str>);

impl Remote {
    /// A token for `call`, and not the one that was `refused`. All scopes of the run are asked for at
    /// once, unless the call goes `alone`: one token then serves every call, and lets mounts through.
    /// Where an endpoint refuses to give it, each repository gets a token of its own from then on,
    /// which is of no use for a mount.
    pub(super) async fn issue(
        &self,
        call: &Call<'_>,
        at: &Url,
        endpoint: Endpoint<'_>,
        refused: Option<&Token>,
        alone: bool,
    ) -> Result<Issued, RegistryError> {
        let all = call.scopes().filter(|_| !alone).map(|all| key(call, at, endpoint, &all));
        let all = all.filter(|key| !self.apart.has(key, Instant::now()));
        let mut apart = None;
        if let Some(key) = all {
            match self.token(call, at, &key, call.credential(), refused).await {
                Ok((token, fresh)) => return Ok(Issued { token, key, fresh, together: true }),
                Err(error) if is_refusal(&error) && !call.is_mount() => apart = Some(key),
                Err(error) => return Err(error),
            }
        }
        let issued = self.issue_alone(call, at, endpoint, refused).await?;
        // It was their number, and not a credential that nothing is given for.
        if let Some(key) = apart {
            self.apart.add(key, Instant::now());
        }
        Ok(issued)
    }

    /// A token for the repository of `call` alone.
    async fn issue_alone(
        &self,
        call: &Call<'_>,
        at: &Url,
        endpoint: Endpoint<'_>,
        refused: Option<&Token>,
    ) -> Result<Issued, RegistryError> {
        let site = Site::of(at, call.access);
        let most = self.hosts.get(&site).most.unwrap_or(Actions::Delete);
        let mut scope = call.scope();
        scope.actions = scope.actions.min(most);
        let mut key_of_it = key(call, at, endpoint, &[scope.clone()]);
        let mut got = self.token(call, at, &key_of_it, call.credential(), refused).await;
        if scope.actions == Actions::Delete
            && let Err(error) = &got
            && is_refusal(error)
        {
            // Most token endpoints leave out what they do not grant, and should; Quay's has never heard
            // of `delete` and answers 400 (quay/quay, endpoints/v2/v2auth.py). Who may delete is the
            // registry's to say.
            let status = error.status();
            scope.actions = Actions::Push;
            key_of_it = key(call, at, endpoint, &[scope]);
            got = self.token(call, at, &key_of_it, call.credential(), refused).await;
            // It was the word, and not a credential that nothing is given for.
            if status == Some(400) && got.is_ok() {
                self.hosts.learn(&site, |host| host.most = Some(Actions::Push));
            }
        }
        let (token, fresh) = got?;
        Ok(Issued { token, key: key_of_it, fresh, together: false })
    }

    /// `together` did not suffice for what a token of one repository does, or for a mount: GitLab's, say,
    /// have the last scope only, whatever they are asked with.
    pub(super) fn set_apart(&self, together: Option<Box<Issued>>) {
        if let Some(issued) = together {
            self.apart.add(issued.key, Instant::now());
        }
    }

    /// Whether the scopes that `call` needs at once were not given by one token, lately.
    pub(super) fn are_apart(&self, call: &Call<'_>) -> bool {
        let (Ok(at), Some(all)) = (call.url(self.allow_http), call.scopes()) else { return false };
        match self.hosts.get(&Site::of(&at, call.access)).challenge {
            Some(Challenge::Bearer { realm, service }) => {
                let key = key(call, &at, (&realm, service.as_deref()), &all);
                self.apart.has(&key, Instant::now())
            }
            Some(Challenge::Basic) | None => false,
        }
    }
}

fn key(call: &Call<'_>, at: &Url, (realm, service): Endpoint<'_>, scopes: &[Scope]) -> Key {
    Key {
        registry: Site::of(at, call.access),
        identity: call.credential().map(Identity::of),
        challenge: (realm.clone(), service.map(Into::into)),
        scopes: scopes.iter().map(ToString::to_string).collect(),
    }
}

/// Whether an endpoint gave its word on what it was asked, and not on how it does.
fn is_refusal(error: &RegistryError) -> bool {
    matches!(error.status(), Some(400 | 401 | 403))
}
