//! Whom the server asks for what: nobody, Basic, or Bearer with a token endpoint of its own.

use std::sync::atomic::Ordering;

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use url::form_urlencoded;

use super::{
    Lie, Seen, Shared, Target, built, error,
    lies::tokens::{self, TokenLie},
    respond,
};

/// Whom the server asks for what.
#[derive(Clone, Debug, Default)]
pub enum Login {
    /// Nobody.
    #[default]
    Nobody,
    /// Username and password with each request.
    Basic(Vec<User>),
    /// A token with each request; without a credential one may read below `public`.
    Bearer {
        /// Where tokens are.
        realm: Realm,
        /// Who gets which.
        users: Vec<User>,
        /// Paths that anonymous tokens may read.
        public: Vec<String>,
        /// `expires_in` of the tokens.
        expires_in: Option<u32>,
    },
}

/// Where tokens are.
#[derive(Clone, Debug, Default)]
pub enum Realm {
    /// On the registry itself.
    #[default]
    Own,
    /// At this URL.
    At(String),
}

/// Who may do what.
#[derive(Clone, Debug)]
pub struct User {
    /// Username.
    pub name: String,
    /// Password.
    pub password: String,
    /// Paths of the repositories that it may read and write.
    pub paths: Vec<String>,
}

impl User {
    /// A user that may read and write the repositories at `paths`.
    #[must_use]
    pub fn new(name: &str, password: &str, paths: &[&str]) -> Self {
        let paths = paths.iter().map(|&path| path.into()).collect();
        Self { name: name.into(), password: password.into(), paths }
    }
}

impl Login {
    /// Bearer with tokens of its own, for these users and nobody else.
    #[must_use]
    pub fn bearer(users: Vec<User>) -> Self {
        Self::Bearer { realm: Realm::Own, users, public: Vec::new(), expires_in: Some(300) }
    }
}

/// The answer to a request that does not prove who asks, or for what it may not do.
pub(super) fn check(shared: &Shared, seen: &Seen, target: &Target<'_>) -> Option<Response> {
    let (login, lies) = {
        let lies = shared.lies();
        (lies.login.clone(), lies.lies.clone())
    };
    let given = seen.header("authorization");
    let challenge = match &login {
        Login::Nobody => return None,
        Login::Basic(users) => {
            if let Some(user) = user(users, given) {
                let allowed = target.path().is_none_or(|path| user.paths.iter().any(|p| p == path));
                return (!allowed).then(|| error(403, "DENIED"));
            }
            "Basic realm=\"lies\"".to_owned()
        }
        Login::Bearer { realm, .. } => {
            let realm = match realm {
                Realm::Own => format!("{}/token", shared.origin),
                Realm::At(url) => url.clone(),
            };
            let mut service = "lies".to_owned();
            if lies.contains(&Lie::Token(TokenLie::NewChallenge)) {
                let serial = shared.serial.fetch_add(1, Ordering::Relaxed);
                service = format!("lies-{serial}");
            }
            let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
            if let Some(path) = target.path() {
                let actions = match needed(&lies, seen) {
                    "push" => "pull,push",
                    action => action,
                };
                challenge.push_str(",scope=\"repository:");
                challenge.extend([path, ":", actions, "\""]);
            }
            if let Some(token) = given.strip_prefix("Bearer ") {
                if !stale(shared)
                    && !lies.contains(&Lie::InsufficientScope)
                    && !lies.contains(&Lie::Token(TokenLie::NewChallenge))
                    && target.path().is_none_or(|path| grants(token, path, needed(&lies, seen)))
                {
                    return None;
                }
                challenge.push_str(",error=\"insufficient_scope\"");
            }
            challenge
        }
    };
    if lies.contains(&Lie::Hidden) && given.is_empty() && target.path().is_some() {
        return Some(error(404, "NAME_UNKNOWN"));
    }
    let mut response = error(401, "UNAUTHORIZED");
    if let Ok(challenge) = challenge.parse() {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    Some(response)
}

/// The token endpoint. A user's password is its identity token, too.
pub(super) fn token(shared: &Shared, seen: &Seen) -> Response {
    if let Some(lie) = tokens::instead(shared, seen) {
        return lie;
    }
    tokens::distort(shared, issue(shared, seen))
}

fn issue(shared: &Shared, seen: &Seen) -> Response {
    let Login::Bearer { users, public, expires_in, .. } = shared.lies().login.clone() else {
        return error(404, "UNSUPPORTED");
    };
    let given = seen.header("authorization");
    let form = seen.form();
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| &**value);
    let posted = seen.method == "POST";
    if posted && field("grant_type") != Some("refresh_token") {
        return error(400, "UNSUPPORTED");
    }
    let user = if posted {
        let token = field("refresh_token").unwrap_or_default();
        users.iter().find(|user| user.password == token).cloned()
    } else {
        user(&users, given)
    };
    let lies = shared.lies().lies.clone();
    let refused = lies.iter().find_map(|lie| match lie {
        Lie::TokenRefused(status) => Some(*status),
        _ => None,
    });
    let anonymous = !posted && given.is_empty() && (refused.is_some() || !public.is_empty());
    if user.is_none() && !anonymous {
        return error(401, "UNAUTHORIZED");
    }
    let mut asked: Vec<String> = if posted {
        field("scope").unwrap_or_default().split(' ').map(Into::into).collect()
    } else {
        form_urlencoded::parse(seen.query.as_bytes())
            .filter(|(name, _)| name == "scope")
            .map(|(_, scope)| scope.into_owned())
            .collect()
    };
    if lies.contains(&Lie::OneScope) && asked.len() > 1 {
        return error(403, "DENIED");
    }
    if lies.contains(&Lie::UnknownDelete) && asked.iter().any(|scope| scope.ends_with(",delete")) {
        return error(400, "UNSUPPORTED");
    }
    if lies.contains(&Lie::KeepsDelete) {
        asked = asked.iter().map(|scope| scope.trim_end_matches(",delete").into()).collect();
    }
    if lies.contains(&Lie::LastScope) {
        asked = asked.pop().into_iter().collect();
    }
    let granted = asked.iter().filter(|scope| {
        let (path, actions) = split(scope);
        let reads = actions == "pull";
        user.as_ref().is_some_and(|user| user.paths.iter().any(|p| p == path))
            || (reads && public.iter().any(|p| p == path))
    });
    let granted: Vec<_> = granted.map(String::as_str).collect();
    if let Some(status) = refused.filter(|_| granted.is_empty()) {
        return error(status, "DENIED");
    }
    let serial = shared.tokens.fetch_add(1, Ordering::Relaxed);
    let name = user.as_ref().map_or("nobody", |user| user.name.as_str());
    // It says whose it is, so that tests can tell who sent it.
    let plain = format!("{name}-{serial} {}", granted.join(" "));
    let field = if lies.contains(&Lie::AccessToken) { "access_token" } else { "token" };
    let mut body = serde_json::json!({ field: STANDARD.encode(plain) });
    if let Some(seconds) = expires_in {
        body["expires_in"] = seconds.into();
    }
    built(respond(StatusCode::OK).body(Body::from(body.to_string())))
}

/// Whoever logs in by Basic, right or wrong.
pub(super) fn username(given: &str) -> Option<String> {
    let pair = STANDARD.decode(given.strip_prefix("Basic ")?).ok()?;
    Some(String::from_utf8(pair).ok()?.split_once(':')?.0.to_owned())
}

fn user(users: &[User], given: &str) -> Option<User> {
    let pair = STANDARD.decode(given.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (name, password) = pair.split_once(':')?;
    users.iter().find(|user| user.name == name && user.password == password).cloned()
}

/// Whether the credential of a request that was let in may read the repository at `from` too.
pub(super) fn reads(shared: &Shared, seen: &Seen, from: &str) -> bool {
    let given = seen.header("authorization");
    match &shared.lies().login {
        Login::Nobody => true,
        Login::Basic(users) => {
            user(users, given).is_some_and(|user| user.paths.iter().any(|path| path == from))
        }
        Login::Bearer { .. } => {
            given.strip_prefix("Bearer ").is_some_and(|token| grants(token, from, "pull"))
        }
    }
}

/// The action that a request needs, as in distribution, which wants `delete` for uploads too.
fn needed(lies: &[Lie], seen: &Seen) -> &'static str {
    match &*seen.method {
        "PUT" | "POST" | "PATCH" => "push",
        "DELETE" if lies.contains(&Lie::UnknownDelete) => "push",
        "DELETE" => "delete",
        _ => "pull",
    }
}

/// Whether the scopes of a token suffice for a repository.
fn grants(token: &str, path: &str, needed: &str) -> bool {
    let plain = STANDARD.decode(token).ok().and_then(|plain| String::from_utf8(plain).ok());
    plain.unwrap_or_default().split(' ').skip(1).any(|scope| {
        let (scoped, actions) = split(scope);
        scoped == path && actions.split(',').any(|action| action == needed)
    })
}

/// Whether the token of this request counts as stale: once for each [`Lie::Stale`].
fn stale(shared: &Shared) -> bool {
    let mut lies = shared.lies();
    let at = lies.lies.iter().position(|lie| *lie == Lie::Stale);
    at.map(|at| lies.lies.remove(at)).is_some()
}

/// `repository:PATH:ACTIONS`
fn split(scope: &str) -> (&str, &str) {
    scope.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':')).unwrap_or_default()
}
