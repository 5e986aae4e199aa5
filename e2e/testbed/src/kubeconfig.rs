//! Kubeconfig files, self-contained: certificates are embedded.

use std::path::Path;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::certificates::{Authority, Issued};
use crate::paths::write_file;

/// Writes a kubeconfig with one context called `context`.
pub(crate) fn write(
    path: &Path,
    context: &str,
    server: &str,
    authority: &Authority,
    user: &Issued,
) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {
            "server": server,
            "certificate-authority-data": STANDARD.encode(authority.certificate()),
        }}],
        "users": [{"name": context, "user": {
            "client-certificate-data": STANDARD.encode(&user.certificate),
            "client-key-data": STANDARD.encode(&user.key),
        }}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    });
    write_file(path, serde_json::to_vec_pretty(&config)?)
}
