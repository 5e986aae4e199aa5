//! The HTTPS listener's certificate, read again when its file changes: a renewal needs no restart.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use anyhow::Context;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

/// So many seconds before its end, or for a tenth of a shorter life, a certificate should long have been renewed.
const OVERDUE: i64 = 14 * 24 * 3600;

/// Certificate and key of the listener.
pub struct ServingCertificate {
    certificate: PathBuf,
    key: PathBuf,
    served: RustlsConfig,
    life: RwLock<Option<Life>>,
}

/// From when and until when a certificate is valid, in seconds.
#[derive(Clone, Copy)]
struct Life {
    begins: i64,
    ends: i64,
}

impl ServingCertificate {
    /// Reads both files. Fails where they don't fit together.
    pub fn from_files(certificate: PathBuf, key: PathBuf) -> anyhow::Result<Self> {
        let (config, life) = load(&certificate, &key)?;
        Ok(Self {
            certificate,
            key,
            served: RustlsConfig::from_config(Arc::new(config)),
            life: RwLock::new(life),
        })
    }

    /// What the listener uses; follows every reload.
    pub fn served(&self) -> RustlsConfig {
        self.served.clone()
    }

    /// The files that a change of calls for a reload.
    pub fn files(&self) -> [&std::path::Path; 2] {
        [&self.certificate, &self.key]
    }

    /// Reads both files again; on a failure the old certificate stays. Connections that are open keep theirs.
    pub fn reload(&self) -> anyhow::Result<()> {
        let (config, life) = load(&self.certificate, &self.key)?;
        self.served.reload_from_config(Arc::new(config));
        *self.life.write().unwrap_or_else(PoisonError::into_inner) = life;
        Ok(())
    }

    /// When it ends, where that is so soon that nobody can be renewing it.
    pub fn ends_soon(&self, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let Life { begins, ends } = (*self.life.read().unwrap_or_else(PoisonError::into_inner))?;
        let is_soon = ends - now.as_second() < OVERDUE.min((ends - begins) / 10);
        let ends = jiff::Timestamp::from_second(ends).ok();
        ends.filter(|_| is_soon)
    }
}

fn load(certificate: &PathBuf, key: &PathBuf) -> anyhow::Result<(ServerConfig, Option<Life>)> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("failed to read the certificate {}", certificate.display()))?;
    let life = chain.first().and_then(|first| life_of(first));
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("failed to read the key {}", key.display()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| format!("failed to use {} with {}", certificate.display(), key.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((config, life))
}

fn life_of(certificate: &[u8]) -> Option<Life> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    Some(Life {
        begins: validity.not_before.timestamp(),
        ends: validity.not_after.timestamp(),
    })
}
