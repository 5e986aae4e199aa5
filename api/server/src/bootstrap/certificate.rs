//! Certificates: one CA, serving certificates signed by it. A new certificate is always for the key that is there, so
//! that who reads key and certificate at different moments never holds a pair that does not fit.

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

use super::{Data, entry};

const DAY: i64 = 24 * 3600;
/// A certificate that ends earlier than this from now is issued anew.
const RENEW_BEFORE: i64 = 30 * DAY;
const AUTHORITY_DAYS: i64 = 3650;
/// For servers that read their certificate again by themselves.
pub(super) const RELOADED_DAYS: i64 = 365;
/// For NATS, which would need a SIGHUP: as long as a CA that was made with it.
pub(super) const FIXED_DAYS: i64 = AUTHORITY_DAYS;

/// The CA, ready to sign.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
}

impl Authority {
    /// What is missing of the CA.
    pub(super) fn complete(known: &Data, now: jiff::Timestamp) -> anyhow::Result<Data> {
        let mut missing = Data::new();
        let key = key(known, "ca.key", &mut missing)?;
        if missing.contains_key("ca.key") || !known.get("ca.crt").is_some_and(|pem| is_good(pem, &[], now)) {
            let mut parameters = validity(CertificateParams::default(), AUTHORITY_DAYS, now)?;
            parameters
                .distinguished_name
                .push(DnType::CommonName, "threeport-ca");
            parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            missing.insert(
                "ca.crt".to_owned(),
                parameters.self_signed(&key)?.pem().into_bytes(),
            );
        }
        Ok(missing)
    }

    pub(super) fn from_data(data: &Data) -> anyhow::Result<Self> {
        let key = KeyPair::from_pem(std::str::from_utf8(entry(data, "ca.key")?)?)
            .context("failed to read ca.key")?;
        let certificate = entry(data, "ca.crt")?.to_vec();
        let issuer = Issuer::from_ca_cert_pem(std::str::from_utf8(&certificate)?, key)
            .context("failed to read ca.crt")?;
        Ok(Self { issuer, certificate })
    }
}

/// A serving certificate.
pub(super) struct Serving<'a> {
    pub(super) names: &'a [String],
    pub(super) issuer: &'a Authority,
    pub(super) days: i64,
}

impl Serving<'_> {
    /// What is missing of it.
    pub(super) fn complete(&self, known: &Data, now: jiff::Timestamp) -> anyhow::Result<Data> {
        let mut missing = Data::new();
        let key = key(known, "tls.key", &mut missing)?;
        // A CA that was made anew vouches for nothing that its predecessor signed.
        let stale = known.get("ca.crt") != Some(&self.issuer.certificate);
        let renewed = stale || missing.contains_key("tls.key");
        if renewed
            || !known
                .get("tls.crt")
                .is_some_and(|pem| is_good(pem, self.names, now))
        {
            let mut parameters = validity(CertificateParams::new(self.names.to_vec())?, self.days, now)?;
            parameters
                .distinguished_name
                .push(DnType::CommonName, "threeport");
            parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            parameters.use_authority_key_identifier_extension = true;
            let certificate = parameters.signed_by(&key, &self.issuer.issuer)?;
            missing.insert("tls.crt".to_owned(), certificate.pem().into_bytes());
        }
        if stale {
            missing.insert("ca.crt".to_owned(), self.issuer.certificate.clone());
        }
        Ok(missing)
    }
}

fn key(known: &Data, name: &str, missing: &mut Data) -> anyhow::Result<KeyPair> {
    if let Some(pem) = known.get(name) {
        return KeyPair::from_pem(std::str::from_utf8(pem)?)
            .with_context(|| format!("failed to read {name}"));
    }
    let key = KeyPair::generate()?;
    missing.insert(name.to_owned(), key.serialize_pem().into_bytes());
    Ok(key)
}

fn validity(
    mut parameters: CertificateParams,
    days: i64,
    now: jiff::Timestamp,
) -> anyhow::Result<CertificateParams> {
    // An hour back: clocks of clients differ.
    let at = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds);
    parameters.not_before = at(now.as_second() - 3600)?;
    parameters.not_after = at(now.as_second() + days * DAY)?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    Ok(parameters)
}

/// Whether a certificate lasts long enough and has all `names`. One that can't be read is not good.
fn is_good(pem: &[u8], names: &[String], now: jiff::Timestamp) -> bool {
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(pem) else {
        return false;
    };
    let Ok(certificate) = pem.parse_x509() else {
        return false;
    };
    let ends = certificate.validity().not_after.timestamp();
    let held = names_of(&certificate);
    ends - now.as_second() > RENEW_BEFORE && names.iter().all(|name| held.contains(name))
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names
        .map(|extension| extension.value.general_names.iter())
        .into_iter()
        .flatten();
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    };
    names.filter_map(text).collect()
}
