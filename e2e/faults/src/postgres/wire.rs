//! Messages of PostgreSQL's protocol, version 3: a tag, a length, a body. Their boundaries matter here, and the few
//! fields that say what a statement is; what a client's library needs beyond that is none of a proxy's business.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// No message of a test is longer.
const LONGEST: usize = 64 << 20;
const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// One message, tag and length included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame(Bytes);

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Startup {
    /// May it be encrypted? Answered with one byte.
    Encryption,
    /// Another connection's statement is to be cancelled.
    Cancel(Bytes),
    /// A session begins.
    Session(Bytes),
}

impl Frame {
    /// A simple query.
    pub(super) fn query(text: &str) -> Self {
        let mut bytes = BytesMut::with_capacity(text.len() + 6);
        bytes.put_u8(b'Q');
        bytes.put_u32(u32::try_from(text.len() + 5).unwrap_or(u32::MAX));
        bytes.put_slice(text.as_bytes());
        bytes.put_u8(0);
        Self(bytes.freeze())
    }

    pub(super) fn tag(&self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    pub(super) fn body(&self) -> &[u8] {
        self.0.get(5..).unwrap_or_default()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Where it is ReadyForQuery: the state of the transaction, one of `I`, `T` and `E`.
    pub(super) fn ready(&self) -> Option<u8> {
        (self.tag() == b'Z').then(|| self.body().first().copied().unwrap_or_default())
    }

    /// Where it is an ErrorResponse: its SQLSTATE.
    pub(super) fn sqlstate(&self) -> Option<String> {
        if self.tag() != b'E' {
            return None;
        }
        let fields = self.body().split(|byte| *byte == 0);
        let code = fields.filter_map(|field| field.strip_prefix(b"C")).next()?;
        Some(String::from_utf8_lossy(code).into_owned())
    }

    /// Whether it says that such a statement was carried out.
    pub(super) fn completes(&self, statement: &str) -> bool {
        self.tag() == b'C' && text(self.body()).0 == statement
    }
}

/// The text up to the next NUL, and what follows.
pub(super) fn text(body: &[u8]) -> (String, &[u8]) {
    let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    let (text, rest) = body.split_at(end);
    (
        String::from_utf8_lossy(text).into_owned(),
        rest.get(1..).unwrap_or_default(),
    )
}

/// Cuts messages out of a stream. Its futures may be dropped at any time: nothing that was read is lost.
pub(super) struct Reader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: BytesMut::with_capacity(8 << 10),
        }
    }

    /// The next message, or nothing where the stream ended between two.
    pub(super) async fn frame(&mut self) -> io::Result<Option<Frame>> {
        let cut = self.cut(1).await?;
        Ok(cut.map(Frame))
    }

    /// The next message of a connection that has not begun yet.
    pub(super) async fn startup(&mut self) -> io::Result<Option<Startup>> {
        let Some(bytes) = self.cut(0).await? else {
            return Ok(None);
        };
        let code = bytes.get(4..8).map(|mut code| code.get_u32());
        Ok(Some(match code {
            Some(TLS | GSS) => Startup::Encryption,
            Some(CANCEL) => Startup::Cancel(bytes),
            _ => Startup::Session(bytes),
        }))
    }

    /// The next message whose length stands behind `tag` bytes.
    async fn cut(&mut self, tag: usize) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(mut length) = self.buffer.get(tag..tag + 4) {
                let length = usize::try_from(length.get_u32()).unwrap_or(usize::MAX);
                if !(4..=LONGEST).contains(&length) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "not a message"));
                }
                if self.buffer.len() >= tag + length {
                    return Ok(Some(self.buffer.split_to(tag + length).freeze()));
                }
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_cut_wherever_the_network_cuts_them() {
        let (query, ready) = (
            Frame::query("SELECT 1"),
            Frame(Bytes::from_static(b"Z\0\0\0\x05T")),
        );
        let bytes = [query.bytes(), ready.bytes()].concat();
        for at in 0..bytes.len() {
            let stream = in_two_reads(&bytes, at);
            let mut reader = Reader::new(stream);
            assert_eq!(reader.frame().await.unwrap().as_ref(), Some(&query));
            assert_eq!(reader.frame().await.unwrap().as_ref(), Some(&ready));
            assert_eq!(reader.frame().await.unwrap(), None);
        }
        assert_eq!(text(query.body()).0, "SELECT 1");
        assert_eq!(ready.ready(), Some(b'T'));
        assert_eq!(query.ready(), None);
    }

    fn in_two_reads(bytes: &[u8], at: usize) -> impl AsyncRead + Unpin + use<'_> {
        let (left, right) = bytes.split_at(at);
        AsyncReadExt::chain(left, right)
    }

    #[tokio::test]
    async fn half_a_message_is_an_error_and_so_is_nonsense() {
        let query = Frame::query("SELECT 1");
        let half = &query.bytes()[..7];
        let error = Reader::new(half).frame().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let error = Reader::new(&b"Q\0\0\0\x01"[..]).frame().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn what_a_connection_begins_with_is_told_apart() {
        let packet = |code: u32| {
            let mut bytes = BytesMut::new();
            bytes.put_u32(8);
            bytes.put_u32(code);
            bytes.freeze()
        };
        let bytes = [packet(TLS), packet(GSS), packet(CANCEL), packet(196_608)].concat();
        let mut reader = Reader::new(&bytes[..]);
        assert_eq!(reader.startup().await.unwrap(), Some(Startup::Encryption));
        assert_eq!(reader.startup().await.unwrap(), Some(Startup::Encryption));
        assert_eq!(
            reader.startup().await.unwrap(),
            Some(Startup::Cancel(packet(CANCEL)))
        );
        assert_eq!(
            reader.startup().await.unwrap(),
            Some(Startup::Session(packet(196_608)))
        );
        assert_eq!(reader.startup().await.unwrap(), None);
    }

    #[test]
    fn an_error_has_its_sqlstate_and_a_completion_its_statement() {
        let error = Frame(Bytes::from_static(b"E\0\0\0\x20SERROR\0VERROR\0C40001\0Mno\0\0"));
        assert_eq!(error.sqlstate().as_deref(), Some("40001"));
        let complete = Frame(Bytes::from_static(b"C\0\0\0\x0bCOMMIT\0"));
        assert!(complete.completes("COMMIT") && !complete.completes("ROLLBACK"));
        assert_eq!(complete.sqlstate(), None);
    }
}
