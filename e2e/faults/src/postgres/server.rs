//! The way to the real server: TCP, and TLS where its URL says so.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use url::Url;

use super::Error;

/// The client's question whether the server speaks TLS.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Where the server is.
pub(super) struct Server {
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
}

/// A stream in both directions.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Server {
    pub(super) fn of(url: &Url) -> Result<Self, Error> {
        let host = url
            .host_str()
            .ok_or_else(|| Error::Url("it has no host".to_owned()))?;
        let mode = url.query_pairs().find(|(name, _)| name == "sslmode");
        let tls = match mode.as_ref().map(|(_, value)| value.as_ref()) {
            Some("require") => Some(connector()?),
            None | Some("disable") => None,
            Some(other) => return Err(Error::Url(format!("sslmode {other} is not supported"))),
        };
        Ok(Self {
            host: host.to_owned(),
            port: url.port().unwrap_or(5432),
            tls,
        })
    }

    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>, Error> {
        let mut stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        stream.write_all(&TLS_REQUEST).await?;
        if stream.read_u8().await? != b'S' {
            return Err(Error::Unsupported("a server without TLS"));
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|error| Error::Url(error.to_string()))?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

fn connector() -> Result<TlsConnector, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let configuration = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(configuration)))
}

/// What `sslmode=require` means: encrypted, whoever it is.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_says_where_and_whether_it_is_encrypted() {
        let server = |text: &str| Server::of(&text.parse().unwrap());
        let plain = server("postgres://a:b@host/db").unwrap();
        assert_eq!(
            (plain.host.as_str(), plain.port, plain.tls.is_some()),
            ("host", 5432, false)
        );
        let required = server("postgres://a:b@host:1/db?sslmode=require").unwrap();
        assert_eq!((required.port, required.tls.is_some()), (1, true));
        assert!(server("postgres://a:b@host/db?sslmode=verify-full").is_err());
    }
}
