//! The bundles, and how those that are no certificates are made.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::{TryRngCore, rngs::OsRng};
use threeport_model::protocol::notification::{STREAM, SUBJECT_PREFIX};

use super::Data;

/// What belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bundle {
    Authority,
    Api,
    Nats,
    EncryptionKey,
    AdminToken,
    NatsUsers,
}

impl Bundle {
    /// What the Secret's name ends with.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Authority => "ca",
            Self::Api => "api-tls",
            Self::Nats => "nats-tls",
            Self::EncryptionKey => "encryption-key",
            Self::AdminToken => "admin-token",
            Self::NatsUsers => "nats-auth",
        }
    }

    /// Its entries: as in the Secret, and as a file. Keys first: a certificate is for a key.
    pub(super) fn entries(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Authority => &[("ca.key", "ca.key"), ("ca.crt", "ca.crt")],
            Self::Api => &[
                ("tls.key", "api.key"),
                ("tls.crt", "api.crt"),
                ("ca.crt", "ca.crt"),
            ],
            Self::Nats => &[
                ("tls.key", "nats.key"),
                ("tls.crt", "nats.crt"),
                ("ca.crt", "ca.crt"),
            ],
            Self::EncryptionKey => &[("key", "encryption-key")],
            Self::AdminToken => &[("token", "admin-token")],
            Self::NatsUsers => &[
                ("api", "nats-api-password"),
                ("controllers", "nats-controllers-password"),
                ("auth.conf", "auth.conf"),
            ],
        }
    }

    /// What is missing of a bundle without certificates.
    pub(super) fn complete(self, known: &Data) -> anyhow::Result<Data> {
        let mut missing = Data::new();
        match self {
            Self::EncryptionKey if !known.contains_key("key") => {
                missing.insert("key".to_owned(), BASE64_STANDARD.encode(random()?).into_bytes());
            }
            Self::AdminToken if !known.contains_key("token") => {
                missing.insert("token".to_owned(), password()?.into_bytes());
            }
            Self::NatsUsers => {
                for user in ["api", "controllers"] {
                    if !known.contains_key(user) {
                        missing.insert(user.to_owned(), password()?.into_bytes());
                    }
                }
                let text = |user: &str| {
                    let password = missing.get(user).or_else(|| known.get(user));
                    String::from_utf8_lossy(password.map_or(&[], Vec::as_slice)).into_owned()
                };
                let configuration = nats_users(&text("api"), &text("controllers")).into_bytes();
                if known.get("auth.conf") != Some(&configuration) {
                    missing.insert("auth.conf".to_owned(), configuration);
                }
            }
            _ => {}
        }
        Ok(missing)
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.suffix())
    }
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes)
}

fn password() -> anyhow::Result<String> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(random()?))
}

/// Who may what in NATS: the API owns the stream and publishes, controllers have consumers and nothing else.
fn nats_users(api: &str, controllers: &str) -> String {
    format!(
        r#"authorization {{
  users: [
    {{
      user: api, password: "{api}"
      permissions: {{
        publish: ["{SUBJECT_PREFIX}.>", "$JS.API.INFO", "$JS.API.STREAM.INFO.{STREAM}", "$JS.API.STREAM.CREATE.{STREAM}", "$JS.API.STREAM.UPDATE.{STREAM}"]
        subscribe: ["_INBOX.>", "{SUBJECT_PREFIX}.>"]
      }}
    }}
    {{
      user: controllers, password: "{controllers}"
      permissions: {{
        publish: ["$JS.API.INFO", "$JS.API.STREAM.INFO.{STREAM}", "$JS.API.CONSUMER.CREATE.{STREAM}.>", "$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.*", "$JS.API.CONSUMER.INFO.{STREAM}.*", "$JS.API.CONSUMER.MSG.NEXT.{STREAM}.*", "$JS.ACK.{STREAM}.>"]
        subscribe: ["_INBOX.>"]
      }}
    }}
  ]
}}
"#
    )
}
