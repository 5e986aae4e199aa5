//! Why a call failed, and whether trying again can help.

use std::path::PathBuf;

use threeport_model::{Code, Problem};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused, and says why.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// An answer that is not the API's (a proxy's, say).
    #[error("the answer to {request} was {status} and not the API's: {body}")]
    UnexpectedAnswer {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// Its beginning.
        body: String,
    },
    /// The API could not be reached, or the connection broke. Whether the request was carried out is unknown.
    #[error("failed to reach the API for {request}")]
    Reach {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The answer can't be read.
    #[error("failed to read the answer to {request}")]
    Decode {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The client can't be made.
    #[error("failed to configure the client")]
    Configure(#[source] reqwest::Error),
    /// The API's address is none.
    #[error("failed to read {0:?} as an address; it should be like https://localhost:8443")]
    Address(String),
    /// A file that should hold the control plane's CA.
    #[error("there is no certificate in {}; it should be the control plane's CA in PEM", .0.display())]
    NoCertificate(PathBuf),
    /// A file that the client needs can't be read.
    #[error("failed to read {path}")]
    ReadFile {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later, without a change of what is asked for.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(problem) => {
                matches!(
                    problem.code,
                    Code::TooManyRequests | Code::Unavailable | Code::Internal
                )
            }
            Self::Reach { .. } | Self::UnexpectedAnswer { .. } | Self::ReadFile { .. } => true,
            Self::Decode { .. } | Self::Configure(_) | Self::Address(_) | Self::NoCertificate(_) => false,
        }
    }

    /// The code of a refusal.
    pub fn code(&self) -> Option<Code> {
        self.problem().map(|problem| problem.code)
    }

    /// The refusal.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }
}
