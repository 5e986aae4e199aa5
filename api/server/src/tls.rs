//! The HTTPS listener's certificate, read again when its file changes: a renewal needs no restart.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// Certificate and key of the listener.
pub struct ServingCertificate {
    certificate: PathBuf,
    key: PathBuf,
    served: RustlsConfig,
}

impl ServingCertificate {
    /// Reads both files. Fails where they don't fit together.
    pub fn from_files(certificate: PathBuf, key: PathBuf) -> anyhow::Result<Self> {
        let served = RustlsConfig::from_config(Arc::new(load(&certificate, &key)?));
        Ok(Self {
            certificate,
            key,
            served,
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
        self.served
            .reload_from_config(Arc::new(load(&self.certificate, &self.key)?));
        Ok(())
    }
}

fn load(certificate: &PathBuf, key: &PathBuf) -> anyhow::Result<ServerConfig> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("failed to read the certificate {}", certificate.display()))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("failed to read the key {}", key.display()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| format!("failed to use {} with {}", certificate.display(), key.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
