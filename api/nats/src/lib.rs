//! How a process connects to NATS: what it is told, TLS, credentials, and that a connection is never given up.
//!
//! NATS carries hints. A server that is away is no error: it is looked for in the background, and again whenever the
//! connection is lost.

use std::{path::PathBuf, time::Duration};

use async_nats::{Auth, AuthError, Client, ConnectOptions, Event};
use clap::Args;

/// How long it may take until a server has taken us in.
const CONNECT: Duration = Duration::from_secs(5);
/// A server that misses two of these pings is gone.
const PING: Duration = Duration::from_secs(5);
/// Between tries: the first pause, doubled up to the last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

/// The notifications' server. Without one, controllers find work by their sweep.
#[derive(Args, Clone, Debug, Default)]
pub struct Nats {
    /// Address of NATS, as in tls://threeport-nats:4222; without one, work is found by the sweep only
    #[arg(long, env = "THREEPORT_NATS_URL")]
    pub nats_url: Option<String>,
    /// PEM file with the CA of its certificate; with it, nothing is said without TLS
    #[arg(long, env = "THREEPORT_NATS_CA")]
    pub nats_ca: Option<PathBuf>,
    /// The user to log in as; the one that is made for this program where absent
    #[arg(long, env = "THREEPORT_NATS_USER")]
    pub nats_user: Option<String>,
    /// File with the user's password; read again at every connect
    #[arg(long, env = "THREEPORT_NATS_PASSWORD_FILE")]
    pub nats_password_file: Option<PathBuf>,
}

/// Why NATS can't be used as configured.
#[derive(Debug, thiserror::Error)]
#[error("failed to configure the connection to NATS at {url}")]
pub struct ConnectError {
    url: String,
    source: async_nats::ConnectError,
}

/// Begins to connect as the program `name`, and never stops to; nothing where no server is named. `user` is who the program
/// is where no other one is named, and `changed` hears whether there is a connection whenever that changes. Fails only where
/// the configuration is wrong.
pub async fn connect(
    nats: &Nats,
    name: &str,
    user: &str,
    changed: impl Fn(bool) + Send + Sync + 'static,
) -> Result<Option<Client>, ConnectError> {
    let Some(url) = nats.nats_url.clone() else {
        return Ok(None);
    };
    let mut options = with_credentials(nats, user)
        .name(name)
        // Who is woken by what others publish knows of his own already.
        .no_echo()
        .retry_on_initial_connect()
        .max_reconnects(None)
        .connection_timeout(CONNECT)
        .ping_interval(PING)
        .reconnect_delay_callback(|attempts| pause(attempts, rand::random()))
        .event_callback(move |event| {
            if let Some(is_connected) = told(&event) {
                changed(is_connected);
            }
            std::future::ready(())
        });
    if let Some(ca) = &nats.nats_ca {
        options = options.require_tls(true).add_root_certificates(ca.clone());
    }
    match options.connect(url.as_str()).await {
        Ok(client) => Ok(Some(client)),
        Err(source) => Err(ConnectError { url, source }),
    }
}

fn with_credentials(nats: &Nats, user: &str) -> ConnectOptions {
    let Some(file) = nats.nats_password_file.clone() else {
        return ConnectOptions::new();
    };
    let user = nats.nats_user.clone().unwrap_or_else(|| user.to_owned());
    ConnectOptions::with_auth_callback(move |_| credentials(user.clone(), file.clone()))
}

/// Read at every connect, so that a changed password needs no restart.
async fn credentials(user: String, file: PathBuf) -> Result<Auth, AuthError> {
    let failed = |error| AuthError::new(format!("failed to read {}: {error}", file.display()));
    let password = tokio::fs::read_to_string(&file).await.map_err(failed)?;
    let mut auth = Auth::new();
    auth.username = Some(user);
    auth.password = Some(password.trim().to_owned());
    Ok(auth)
}

/// The pause before a try, between 75 % and 125 % of what it is by their number, as `spread` (0 to 1) says: without that, all
/// processes would come back together.
fn pause(attempts: usize, spread: f64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1).min(30)).unwrap_or(30);
    let exponential = PAUSE.0.saturating_mul(2_u32.saturating_pow(doublings));
    exponential
        .min(PAUSE.1)
        .mul_f64(0.75 + spread.clamp(0.0, 1.0) / 2.0)
}

/// Logs what happened. The answer: whether there is a connection now, where that changed.
fn told(event: &Event) -> Option<bool> {
    match event {
        Event::Connected => {
            tracing::info!("NATS is connected");
            return Some(true);
        }
        Event::Disconnected | Event::Closed => {
            tracing::warn!("NATS is disconnected: controllers find work by their sweep until it is back");
            return Some(false);
        }
        Event::ServerError(_) => tracing::warn!("NATS: {event}"),
        other => tracing::debug!("NATS: {other}"),
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// How TLS begins.
    const HANDSHAKE: u8 = 0x16;

    /// What a server that does not ask for TLS is told first; nothing where TLS is begun instead.
    async fn heard(nats: Nats) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let nats = Nats {
            nats_url: Some(url),
            ..nats
        };
        let _client = connect(&nats, "program", "own", |_| {}).await.unwrap().unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let info = b"INFO {\"max_payload\":1048576}\r\n";
        stream.write_all(info).await.unwrap();
        let mut said = String::new();
        loop {
            match stream.read_u8().await.unwrap() {
                HANDSHAKE if said.is_empty() => return None,
                b'\n' => return Some(said),
                letter => said.push(char::from(letter)),
            }
        }
    }

    #[tokio::test]
    async fn a_program_says_who_it_is_and_with_a_ca_nothing_without_tls() {
        let folder = tempfile::tempdir().unwrap();
        let [password, ca] = ["password", "ca.crt"].map(|name| folder.path().join(name));
        std::fs::write(&password, "secret\n").unwrap();
        // Nobody is trusted by it, which is found out after TLS was begun.
        std::fs::write(&ca, "").unwrap();
        let nats = Nats {
            nats_password_file: Some(password),
            ..Nats::default()
        };
        let other = Nats {
            nats_user: Some("other".to_owned()),
            ..nats.clone()
        };
        for (nats, user) in [(nats.clone(), "own"), (other, "other")] {
            let said = heard(nats).await.expect("no TLS");
            for part in [r#""name":"program""#, r#""pass":"secret""#, r#""echo":false"#] {
                assert!(said.contains(part), "{said}");
            }
            assert!(said.contains(&format!(r#""user":"{user}""#)), "{said}");
        }
        let nats = Nats {
            nats_ca: Some(ca),
            ..nats
        };
        assert_eq!(heard(nats).await, None);
    }

    #[tokio::test]
    async fn without_an_address_there_is_no_connection_and_a_wrong_one_is_refused() {
        let none = connect(&Nats::default(), "program", "own", |_| {}).await;
        assert!(none.unwrap().is_none());
        let wrong = Nats {
            nats_url: Some("http://nats:4222".to_owned()),
            ..Nats::default()
        };
        let said = connect(&wrong, "program", "own", |_| {}).await.unwrap_err();
        assert!(said.to_string().contains("http://nats:4222"), "{said}");
    }

    #[tokio::test]
    async fn a_password_that_can_t_be_read_is_told_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let failed = credentials("own".to_owned(), file.clone()).await.err().unwrap();
        let said = failed.to_string();
        assert!(said.contains(&file.display().to_string()), "{said}");
        for password in ["one", "two"] {
            std::fs::write(&file, format!("{password}\n")).unwrap();
            let auth = credentials("own".to_owned(), file.clone()).await.unwrap();
            assert_eq!(auth.password.as_deref(), Some(password));
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_spread() {
        assert_eq!(pause(0, 0.5), PAUSE.0);
        assert_eq!(pause(1, 0.5), PAUSE.0);
        assert_eq!(pause(3, 0.5), PAUSE.0 * 4);
        assert_eq!(pause(1000, 0.0), PAUSE.1.mul_f64(0.75));
        assert_eq!(pause(1000, 1.0), PAUSE.1.mul_f64(1.25));
    }

    #[test]
    fn a_connection_that_comes_or_goes_is_told() {
        assert_eq!(told(&Event::Connected), Some(true));
        assert_eq!(
            [Event::Disconnected, Event::Closed].map(|event| told(&event)),
            [Some(false); 2]
        );
        assert_eq!(told(&Event::Draining), None);
    }
}
