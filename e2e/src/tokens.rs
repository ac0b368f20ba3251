//! A token server of a test's own: who asks gets tokens that distribution verifies, with the rights that he has, and what was asked is written down.

mod signer;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::Response,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub use self::signer::{ISSUER, SERVICE, Signer};
use crate::tls::{Certificates, Listener};

/// For how many seconds a token is good.
const LIFE: u64 = 300;

/// Somebody who gets tokens.
#[derive(Clone, Debug)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// What is sent in the place of both by POST.
    pub identity_token: String,
    /// What he may do: `team/app` or `team/*`, and `pull`, `push`, `delete`.
    pub rights: Vec<(String, Vec<String>)>,
}

/// Rights on a repository.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scope {
    /// The repository.
    pub repository: String,
    /// `pull`, `push`, `delete`.
    pub actions: Vec<String>,
}

/// How a request for a token said who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proof {
    /// Not at all.
    Nothing,
    /// GET, with a name and a password.
    Password,
    /// POST, with an identity token.
    IdentityToken,
}

/// A request for a token, and what became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    /// How it said who asks.
    pub proof: Proof,
    /// Who that is, if anyone.
    pub user: Option<String>,
    /// `service`.
    pub service: String,
    /// Each `scope`, as it was asked for.
    pub scopes: Vec<String>,
    /// Those that were given, as far as they were; none where there is no token.
    pub granted: Vec<String>,
    /// The status of the answer.
    pub status: u16,
}

/// What some token servers do, and the specification does not say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Habit {
    /// Of several scopes the last one is given: GitLab.
    LastScope,
    /// Several scopes are refused with this status.
    OneScope(u16),
    /// Scopes that are not all granted are refused: GHCR.
    AllOrNothing,
    /// A scope with `delete` is a bad request: Quay.
    NoDelete,
    /// There is no POST.
    NoPost,
}

#[derive(Debug, Default)]
struct Book {
    users: Vec<User>,
    habits: Vec<Habit>,
    seen: Vec<Asked>,
    issued: u64,
}

/// The server, over TLS. It ends when it is dropped.
#[derive(Debug)]
pub struct Tokens {
    address: String,
    signer: Signer,
    book: Arc<Mutex<Book>>,
    server: JoinHandle<std::io::Result<()>>,
}

#[derive(Clone)]
struct Desk {
    signer: Signer,
    book: Arc<Mutex<Book>>,
}

impl User {
    /// With these rights: `("team/app", "pull,push")`. The identity token is made of the password.
    #[must_use]
    pub fn new(name: &str, password: &str, rights: &[(&str, &str)]) -> Self {
        let rights = rights.iter().map(|(repository, actions)| {
            ((*repository).to_owned(), actions.split(',').map(Into::into).collect())
        });
        Self {
            name: name.into(),
            password: password.into(),
            identity_token: format!("identity-{password}"),
            rights: rights.collect(),
        }
    }

    /// As much of `asked` as he may have.
    fn granted(&self, asked: &Scope) -> Option<Scope> {
        let of_it = |place: &str| match place.strip_suffix('*') {
            Some(prefix) => asked.repository.starts_with(prefix),
            None => place == asked.repository,
        };
        let rights = self.rights.iter().filter(|(place, _)| of_it(place));
        let rights: Vec<_> = rights.flat_map(|(_, actions)| actions).collect();
        let mut granted = asked.clone();
        granted.actions.retain(|action| rights.contains(&action));
        (!granted.actions.is_empty()).then_some(granted)
    }
}

impl Scope {
    /// `repository:PATH:ACTIONS`
    fn parse(text: &str) -> Option<Self> {
        let (repository, actions) = text.strip_prefix("repository:")?.rsplit_once(':')?;
        let actions = actions.split(',').map(Into::into).collect();
        Some(Self { repository: repository.into(), actions })
    }

    fn text(&self) -> String {
        format!("repository:{}:{}", self.repository, self.actions.join(","))
    }
}

impl Tokens {
    /// Starts one for `users`, that shows the certificate of `certificates`.
    pub async fn start(certificates: &Certificates, users: Vec<User>) -> Result<Self> {
        let listener = Listener::bind(&certificates.server).await?;
        let address = listener.address()?;
        let signer = Signer::make()?;
        let book = Arc::new(Mutex::new(Book { users, ..Book::default() }));
        let desk = Desk { signer: signer.clone(), book: Arc::clone(&book) };
        let app = Router::new().fallback(serve).with_state(desk);
        let server = tokio::spawn(async { axum::serve(listener, app).await });
        Ok(Self { address, signer, book, server })
    }

    /// Its host:port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.address
    }

    /// The realm, as a registry tells it.
    #[must_use]
    pub fn realm(&self) -> String {
        format!("https://{}/token", self.address)
    }

    /// What signs.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// What was asked since the start, or since the last [`Tokens::forget`].
    #[must_use]
    pub fn seen(&self) -> Vec<Asked> {
        lock(&self.book).seen.clone()
    }

    /// Writes down from nothing again.
    pub fn forget(&self) {
        lock(&self.book).seen.clear();
    }

    /// Knows these users from now on, and no others.
    pub fn admit(&self, users: Vec<User>) {
        lock(&self.book).users = users;
    }

    /// Has these habits from now on, and no others.
    pub fn behave(&self, habits: &[Habit]) {
        lock(&self.book).habits = habits.to_vec();
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Signer {
    /// A token that may do everything in `repository`.
    pub fn of_everything(&self, repository: &str) -> Result<String> {
        let actions = ["pull", "push", "delete"].map(Into::into).into();
        let scope = Scope { repository: repository.into(), actions };
        self.sign("the test itself", &[scope], 0, (now()?, LIFE))
    }
}

/// Whose the value of an `Authorization` is: the name that a password goes with, or that a token was given to.
#[must_use]
pub fn whose(authorization: &str) -> Option<String> {
    match authorization.split_once(' ')? {
        ("Basic", pair) => pair_of(pair).map(|(name, _)| name),
        ("Bearer", token) => {
            let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
            let claims: Value = serde_json::from_slice(&claims).ok()?;
            claims["sub"].as_str().map(ToOwned::to_owned)
        }
        _ => None,
    }
}

async fn serve(State(desk): State<Desk>, request: Request) -> Response {
    let is_post = request.method() == "POST";
    let authorization = request.headers().get(header::AUTHORIZATION);
    let authorization =
        authorization.and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = to_bytes(request.into_body(), 64 << 10).await.unwrap_or_default();
    let form = if is_post { String::from_utf8_lossy(&body).into_owned() } else { query };
    let fields = fields(&form);
    let (status, answer) = desk.answer(is_post, &fields, &authorization);
    let mut response = Response::new(Body::from(answer.to_string()));
    *response.status_mut() = status;
    response
}

impl Desk {
    fn answer(
        &self,
        is_post: bool,
        fields: &[(String, String)],
        authorization: &str,
    ) -> (StatusCode, Value) {
        let field = |name: &str| {
            let mut values = fields.iter().filter(|(key, _)| key == name);
            values.next().map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let mut book = lock(&self.book);
        let pair = authorization.strip_prefix("Basic ").and_then(pair_of);
        let (proof, user) = if is_post {
            let token = field("refresh_token");
            let is_of = |user: &&User| user.identity_token == token;
            (Proof::IdentityToken, book.users.iter().find(is_of).cloned())
        } else if let Some((name, password)) = pair {
            let is_of = |user: &&User| user.name == name && user.password == password;
            (Proof::Password, book.users.iter().find(is_of).cloned())
        } else {
            (Proof::Nothing, None)
        };
        // One field by POST, one for each by GET.
        let scopes = fields.iter().filter(|(key, _)| key == "scope");
        let scopes = scopes.flat_map(|(_, value)| value.split(' ')).map(Into::into);
        let mut asked = Asked {
            proof,
            user: user.as_ref().map(|user| user.name.clone()),
            service: field("service").into(),
            scopes: scopes.collect(),
            granted: Vec::new(),
            status: 200,
        };
        let has = |habit| book.habits.contains(&habit);
        let one_scope = book.habits.iter().find_map(|habit| match habit {
            Habit::OneScope(status) => Some(*status),
            _ => None,
        });
        let lacks = |text: &String| {
            let scope = Scope::parse(text);
            let granted = scope.as_ref().and_then(|scope| user.as_ref()?.granted(scope));
            granted != scope
        };
        let refused = if is_post && has(Habit::NoPost) {
            Some(StatusCode::NOT_FOUND)
        } else if is_post && field("grant_type") != "refresh_token" || asked.service != SERVICE {
            Some(StatusCode::BAD_REQUEST)
        } else if proof != Proof::Nothing && user.is_none() {
            Some(StatusCode::UNAUTHORIZED)
        } else if let (Some(status), 2..) = (one_scope, asked.scopes.len()) {
            Some(StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN))
        } else if has(Habit::NoDelete) && asked.scopes.iter().any(|it| it.contains("delete")) {
            Some(StatusCode::BAD_REQUEST)
        } else if has(Habit::AllOrNothing) && asked.scopes.iter().any(lacks) {
            Some(StatusCode::FORBIDDEN)
        } else {
            None
        };
        let answer = if let Some(status) = refused {
            asked.status = status.as_u16();
            (status, json!({"errors": [{"code": "UNAUTHORIZED"}]}))
        } else {
            let mut wanted: Vec<_> =
                asked.scopes.iter().filter_map(|it| Scope::parse(it)).collect();
            if has(Habit::LastScope) {
                wanted = wanted.pop().into_iter().collect();
            }
            // Who is nobody gets a token for nothing, as from Docker Hub.
            let granted = |scope: &Scope| user.as_ref().and_then(|user| user.granted(scope));
            let granted: Vec<_> = wanted.iter().filter_map(granted).collect();
            asked.granted = granted.iter().map(Scope::text).collect();
            book.issued += 1;
            let name = asked.user.as_deref().unwrap_or("nobody");
            let now = now().unwrap_or_default();
            match self.signer.sign(name, &granted, book.issued, (now, LIFE)) {
                Ok(token) => (StatusCode::OK, json!({"token": token, "expires_in": LIFE})),
                Err(error) => {
                    asked.status = 500;
                    (StatusCode::INTERNAL_SERVER_ERROR, json!({"errors": [error.to_string()]}))
                }
            }
        };
        book.seen.push(asked);
        answer
    }
}

/// The fields of a form, or of a query.
fn fields(form: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(form.as_bytes()).into_owned().collect()
}

/// A name and a password, from base64.
fn pair_of(encoded: &str) -> Option<(String, String)> {
    let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    pair.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
}

fn now() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?;
    Ok(since.as_secs())
}

/// A test that failed while it held the lock says so by itself.
fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
