//! Who is asking: a bearer token becomes a [`Caller`].
//!
//! Two ways: the admin token, compared in constant time with the file that bootstrap made, and ServiceAccount tokens,
//! which the cluster itself vouches for by TokenReview. Which account has which role is set by flags; any other
//! account of the cluster is known but may nothing.

pub mod admin_token;
pub mod token_review;

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use threeport_model::{problem::Code, protocol::whoami::Role};

use crate::problem::ApiError;

/// The longest token that is looked at.
const MAX_TOKEN: usize = 16 << 10;
/// Header: on whose behalf a facade acts.
pub const ON_BEHALF_OF: &str = "threeport-on-behalf-of";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As operations record it.
    pub actor: String,
    /// What it may.
    pub role: Role,
    /// Whom it acts for, where it is trusted to say so.
    pub on_behalf_of: Option<String>,
}

/// Turns headers into callers.
pub enum Authenticator {
    /// Everybody is admin. For tests; loopback only unless forced.
    Disabled,
    /// The real one.
    Enabled {
        /// The break-glass token, where there is one.
        admin: Option<admin_token::AdminToken>,
        /// Where there is a cluster that vouches for tokens.
        accounts: Option<Box<token_review::TokenReviewer>>,
        /// `system:serviceaccount:<namespace>:<name>` to role.
        roles: BTreeMap<String, Role>,
    },
}

impl Authenticator {
    /// The caller, or 401. 503 where the cluster can't be asked: unknown is not refused.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let (actor, role) = match self {
            Self::Disabled => ("anonymous".to_owned(), Role::Admin),
            Self::Enabled {
                admin,
                accounts,
                roles,
            } => {
                let token = bearer(headers)?;
                if admin.as_ref().is_some_and(|admin| admin.matches(token)) {
                    ("admin".to_owned(), Role::Admin)
                } else if let Some(reviewer) = accounts {
                    let user = reviewer.user(token).await?;
                    let role = roles.get(&user).copied().unwrap_or(Role::None);
                    (user, role)
                } else {
                    return Err(wrong_token());
                }
            }
        };
        let trusted = matches!(role, Role::Admin | Role::Facade);
        let on_behalf_of = headers.get(ON_BEHALF_OF).filter(|_| trusted);
        let on_behalf_of = on_behalf_of
            .and_then(|value| value.to_str().ok())
            .map(|text| text.chars().take(256).collect());
        Ok(Caller {
            actor,
            role,
            on_behalf_of,
        })
    }
}

/// The user name of a ServiceAccount that is written as `namespace/name`.
pub fn account_user(account: &str) -> Option<String> {
    let (namespace, name) = account.split_once('/')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains('/'))
        .then(|| format!("system:serviceaccount:{namespace}:{name}"))
}

fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let missing = || ApiError::new(Code::Unauthenticated, "the request has no bearer token");
    let value = headers.get(header::AUTHORIZATION).ok_or_else(missing)?;
    let text = value.to_str().map_err(|_| missing())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(missing)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > MAX_TOKEN {
        return Err(missing());
    }
    Ok(token)
}

fn wrong_token() -> ApiError {
    ApiError::new(Code::Unauthenticated, "the token is not valid here")
}
