//! What a token endpoint, or the challenge that leads to it, does wrong.

use axum::{http::header, response::Response};

use super::{Lie, huge, page, redirect, streamed, trickle};
use crate::registry::memory::server::{Seen, Shared};

/// What is wrong with tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenLie {
    /// POST is answered with this status.
    PostRefused(u16),
    /// The answer has a body of 1 GiB.
    Huge,
    /// The answer comes by one byte a second.
    Trickle,
    /// The answer is a redirect to this host.
    Redirect(String),
    /// No token is enough, and every challenge is another one.
    NewChallenge,
    /// The answer is a 401 that wants a token from this realm.
    Challenge(String),
}

/// What the endpoint answers in place of a token.
pub(in super::super) fn instead(shared: &Shared, seen: &Seen) -> Option<Response> {
    let lies = shared.lies().lies.clone();
    lies.iter().find_map(|lie| match lie {
        Lie::Token(TokenLie::PostRefused(status)) if seen.method == "POST" => {
            Some(page(*status, "", ""))
        }
        Lie::Token(TokenLie::Challenge(realm)) => {
            let mut response = page(401, "", "");
            if let Ok(challenge) = format!("Bearer realm=\"{realm}\"").parse() {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
            Some(response)
        }
        Lie::Token(TokenLie::Huge) => Some(huge(shared, false, axum::http::StatusCode::OK)),
        Lie::Token(TokenLie::Redirect(to)) => {
            Some(redirect(&format!("{to}{}?a=secret", seen.path)))
        }
        _ => None,
    })
}

/// The token as it is sent.
pub(in super::super) fn distort(shared: &Shared, honest: Response) -> Response {
    let slow = shared.lies().lies.contains(&Lie::Token(TokenLie::Trickle));
    if slow { streamed(honest, trickle) } else { honest }
}
