//! Certificates of a testbed: an authority and what it issues. For tests and trials only: keys lie in files.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

use crate::paths::write_file;

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: String,
    /// The private key, PKCS #8 PEM.
    pub key: String,
}

impl Issued {
    /// Writes `<name>.crt` and `<name>.key`.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        write_file(&folder.join(format!("{name}.crt")), &self.certificate)?;
        write_file(&folder.join(format!("{name}.key")), &self.key)
    }
}

/// A certificate authority.
pub struct Authority {
    own: Issued,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with a key of its own.
    pub fn new(common_name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().context("failed to generate a key")?;
        let key_pem = key.serialize_pem();
        let issuer = CertifiedIssuer::self_signed(params, key).context("failed to sign an authority")?;
        Self::from_pem(Issued {
            certificate: issuer.pem(),
            key: key_pem,
        })
    }

    /// The authority that `folder` holds as `<name>.crt` and `<name>.key`, made there first if it holds none.
    pub fn load_or_create(folder: &Path, name: &str) -> Result<Self> {
        let read = |suffix: &str| std::fs::read_to_string(folder.join(format!("{name}.{suffix}")));
        // The certificate is written before the key, so a key means that both are whole.
        if let (Ok(key), Ok(certificate)) = (read("key"), read("crt")) {
            return Self::from_pem(Issued { certificate, key });
        }
        let authority = Self::new("threeport-testbed")?;
        authority.own.write(folder, name)?;
        Ok(authority)
    }

    fn from_pem(own: Issued) -> Result<Self> {
        let key = KeyPair::from_pem(&own.key).context("failed to parse the authority's key")?;
        let issuer = Issuer::from_ca_cert_pem(&own.certificate, key)
            .context("failed to parse the authority's certificate")?;
        Ok(Self { own, issuer })
    }

    /// The authority's certificate, PEM: what peers trust.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.own.certificate
    }

    /// Issues a certificate for servers and clients. `names` are DNS names and IP addresses; `organization` is a
    /// group to Kubernetes.
    pub fn issue(&self, common_name: &str, organization: Option<&str>, names: &[String]) -> Result<Issued> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        if let Some(organization) = organization {
            params
                .distinguished_name
                .push(DnType::OrganizationName, organization);
        }
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(
                    name.as_str()
                        .try_into()
                        .with_context(|| format!("invalid DNS name {name:?}"))?,
                ),
            });
        }
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().context("failed to generate a key")?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("failed to issue a certificate for {common_name}"))?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// Makes `<name>.key` and `<name>.pub`, a key pair without a certificate (ServiceAccount tokens), unless they exist.
pub fn key_pair(folder: &Path, name: &str) -> Result<()> {
    let (private, public) = (
        folder.join(format!("{name}.key")),
        folder.join(format!("{name}.pub")),
    );
    if private.exists() && public.exists() {
        return Ok(());
    }
    let key = KeyPair::generate().context("failed to generate a key")?;
    write_file(&public, key.public_key_pem())?;
    write_file(&private, key.serialize_pem())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_survives_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::load_or_create(folder.path(), "ca").unwrap();
        let second = Authority::load_or_create(folder.path(), "ca").unwrap();
        assert_eq!(first.certificate(), second.certificate());
        let issued = second
            .issue("x", Some("y"), &["localhost".into(), "127.0.0.1".into()])
            .unwrap();
        assert!(issued.certificate.contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn an_impossible_name_is_refused() {
        assert!(
            Authority::new("ca")
                .unwrap()
                .issue("x", None, &["ümlaut".into()])
                .is_err()
        );
    }
}
