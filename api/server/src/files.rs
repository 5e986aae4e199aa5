//! Files that may change while the process runs: certificate, key, admin token. Kubernetes swaps a symbolic link, an
//! editor renames; so contents are compared, not names or times.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::{app::App, authentication::Authenticator, tls::ServingCertificate};

const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Reloads what changed, until `shutdown`. What can't be read stays as it was and is tried again.
pub async fn watch(app: App, certificate: Arc<ServingCertificate>, shutdown: CancellationToken) {
    let mut tls = Watched::new(certificate.files());
    let token_file = match &app.authenticator {
        Authenticator::Enabled {
            admin: Some(admin), ..
        } => vec![admin.file().to_owned()],
        _ => Vec::new(),
    };
    let mut token = Watched::new(token_file.iter().map(PathBuf::as_path));
    while shutdown
        .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
        .await
        .is_some()
    {
        tls.on_change("serving certificate", || certificate.reload());
        app.health
            .set_certificate_ends(certificate.ends_soon(jiff::Timestamp::now()));
        if let Authenticator::Enabled {
            admin: Some(admin), ..
        } = &app.authenticator
        {
            token.on_change("admin token", || admin.reload());
        }
    }
}

struct Watched {
    files: Vec<PathBuf>,
    digest: Option<Vec<u8>>,
}

impl Watched {
    fn new<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let files: Vec<_> = files.into_iter().map(Path::to_owned).collect();
        let digest = digest(&files);
        Self { files, digest }
    }

    fn on_change(&mut self, what: &str, reload: impl FnOnce() -> anyhow::Result<()>) {
        let now = digest(&self.files);
        if now.is_none() || now == self.digest {
            return;
        }
        match reload() {
            Ok(()) => {
                tracing::info!("reloaded the {what}");
                self.digest = now;
            }
            Err(error) => tracing::warn!("failed to reload the {what}, the old one stays: {error:#}"),
        }
    }
}

fn digest(files: &[PathBuf]) -> Option<Vec<u8>> {
    let mut hasher = Sha256::new();
    for file in files {
        hasher.update(std::fs::read(file).ok()?);
    }
    Some(hasher.finalize().to_vec())
}
