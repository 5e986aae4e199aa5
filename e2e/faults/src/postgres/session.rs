//! One connection: what the client sends is held back until it is a whole statement, then the plan is asked.

use std::ops::ControlFlow;

use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::TcpStream,
};

use super::{
    Error,
    batch::{Batch, Does, Names},
    journal::{Injected, Journal},
    plan::{Fault, Place},
    server::{Server, Stream},
    wire::{Frame, Reader, Startup},
};

/// Fails as a transaction does that collided with another one.
const FAIL: &str = "DO $$ BEGIN RAISE EXCEPTION 'could not serialize access (the fault proxy)' \
                    USING ERRCODE = 'serialization_failure'; END $$";

/// How much of a statement the journal keeps.
const SHOWN: usize = 120;

struct Session<'a> {
    client: Peer<TcpStream>,
    server: Peer<Box<dyn Stream>>,
    journal: &'a Journal,
    connection: u64,
    names: Names,
    /// As the server last said: `I`, `T` or `E`.
    transaction: u8,
    held: Vec<Frame>,
}

struct Peer<S> {
    reader: Reader<ReadHalf<S>>,
    writer: WriteHalf<S>,
}

/// Whether the connection goes on.
type Flow = ControlFlow<()>;

pub(super) async fn run(
    client: TcpStream,
    server: &Server,
    journal: &Journal,
    connection: u64,
) -> Result<(), Error> {
    client.set_nodelay(true)?;
    let mut client = Peer::new(client);
    let startup = loop {
        match client.reader.startup().await? {
            None => return Ok(()),
            Some(Startup::Encryption) => client.send(b"N").await?,
            Some(Startup::Cancel(bytes)) => return Peer::new(server.connect().await?).send(&bytes).await,
            Some(Startup::Session(bytes)) => break bytes,
        }
    };
    let mut server = Peer::new(server.connect().await?);
    server.send(&startup).await?;
    let session = Session {
        client,
        server,
        journal,
        connection,
        names: Names::default(),
        transaction: b'I',
        held: Vec::new(),
    };
    session.relay().await
}

impl<S: Stream> Peer<S> {
    fn new(stream: S) -> Self {
        let (reader, writer) = split(stream);
        Self {
            reader: Reader::new(reader),
            writer,
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.writer.write_all(bytes).await?;
        Ok(self.writer.flush().await?)
    }

    async fn send_all(&mut self, frames: &[Frame]) -> Result<(), Error> {
        self.send(&joined(frames)).await
    }
}

fn joined(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).copied().collect()
}

impl Session<'_> {
    async fn relay(mut self) -> Result<(), Error> {
        loop {
            let flow = tokio::select! {
                frame = self.client.reader.frame() => match frame? {
                    Some(frame) => self.take(frame).await?,
                    None => Flow::Break(()),
                },
                // Notices, and the end that an administrator makes.
                frame = self.server.reader.frame() => match frame? {
                    Some(frame) => {
                        self.see(&frame)?;
                        self.client.send(frame.bytes()).await?;
                        Flow::Continue(())
                    }
                    None => Flow::Break(()),
                },
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<Flow, Error> {
        match frame.tag() {
            // A password is answered before any statement.
            b'p' => self.server.send(frame.bytes()).await?,
            b'X' => {
                self.server.send(frame.bytes()).await?;
                return Ok(Flow::Break(()));
            }
            b'H' => return Err(Error::Unsupported("Flush")),
            b'S' | b'Q' | b'F' => {
                self.held.push(frame);
                let batch = Batch::new(std::mem::take(&mut self.held), &mut self.names);
                return self.statement(batch).await;
            }
            _ => self.held.push(frame),
        }
        Ok(Flow::Continue(()))
    }

    async fn statement(&mut self, batch: Batch) -> Result<Flow, Error> {
        let place = match batch.does {
            Does::Commit => Place::Commit,
            Does::Write if self.transaction == b'I' => Place::Commit,
            _ => Place::Statement,
        };
        let (number, fault) = self.journal.next(place);
        let Some(fault) = fault.filter(|fault| self.possible(*fault, &batch)) else {
            self.server.send_all(&batch.frames).await?;
            let answer = self.answer().await?;
            self.client.send_all(&answer).await?;
            return Ok(Flow::Continue(()));
        };
        let (flow, effective) = self.inject(fault, &batch).await?;
        if effective {
            self.journal.record(Injected {
                number,
                place,
                fault,
                connection: self.connection,
                statement: batch.text.chars().take(SHOWN).collect(),
            });
        }
        Ok(flow)
    }

    /// Whether it could happen to this statement, as the transaction stands. ROLLBACK can't fail, nor what executes
    /// nothing (a ping), and what failed already does not fail anew.
    fn possible(&self, fault: Fault, batch: &Batch) -> bool {
        match (fault, batch.does) {
            (Fault::Serialization, Does::Rollback) => false,
            (Fault::Serialization, Does::Write | Does::Else) => {
                self.transaction != b'E' && !batch.text.is_empty()
            }
            (_, Does::Commit) => self.transaction == b'T',
            _ => true,
        }
    }

    /// Answers whether the connection goes on, and whether the fault took effect.
    async fn inject(&mut self, fault: Fault, batch: &Batch) -> Result<(Flow, bool), Error> {
        match fault {
            Fault::LostBefore => return Ok((Flow::Break(()), true)),
            Fault::Serialization => return self.fail(batch).await,
            Fault::Delayed(time) => {
                tokio::time::sleep(time).await;
                self.server.send_all(&batch.frames).await?;
                let answer = self.answer().await?;
                tokio::time::sleep(time).await;
                self.client.send_all(&answer).await?;
                return Ok((Flow::Continue(()), true));
            }
            Fault::LostAfter | Fault::Truncated(_) => {}
        }
        self.server.send_all(&batch.frames).await?;
        let answer = self.answer().await?;
        let done = match batch.does {
            Does::Commit => answer.iter().any(|frame| frame.completes("COMMIT")),
            // What the server refused has no lost acknowledgement either.
            Does::Write => answer.iter().all(|frame| frame.sqlstate().is_none()),
            Does::Rollback | Does::Else => true,
        };
        if !done {
            self.client.send_all(&answer).await?;
            return Ok((Flow::Continue(()), false));
        }
        if let Fault::Truncated(thousandths) = fault {
            let bytes = joined(&answer);
            let part = bytes.len() * usize::try_from(thousandths).unwrap_or_default() / 1000;
            let part = part.clamp(1, bytes.len().saturating_sub(1));
            self.client.send(&bytes[..part]).await?;
        }
        Ok((Flow::Break(()), true))
    }

    /// Lets the server fail the transaction in the statement's place.
    async fn fail(&mut self, batch: &Batch) -> Result<(Flow, bool), Error> {
        self.server.send_all(&[Frame::query(FAIL)]).await?;
        let mut answer = self.answer().await?;
        let failed = answer
            .iter()
            .any(|frame| frame.sqlstate().as_deref() == Some("40001"));
        if batch.does == Does::Commit {
            // A COMMIT that fails ends the transaction, unlike any other statement.
            answer.retain(|frame| frame.ready().is_none());
            self.server.send_all(&[Frame::query("ROLLBACK")]).await?;
            let rolled_back = self.answer().await?;
            answer.extend(rolled_back.into_iter().filter(|frame| frame.ready().is_some()));
        }
        self.client.send_all(&answer).await?;
        Ok((Flow::Continue(()), failed))
    }

    /// The server's whole answer.
    async fn answer(&mut self) -> Result<Vec<Frame>, Error> {
        let mut frames = Vec::new();
        loop {
            let Some(frame) = self.server.reader.frame().await? else {
                // Why, if the server said so.
                self.client.send_all(&frames).await?;
                return Err(Error::ServerGone);
            };
            self.see(&frame)?;
            let ready = frame.ready().is_some();
            frames.push(frame);
            if ready {
                return Ok(frames);
            }
        }
    }

    fn see(&mut self, frame: &Frame) -> Result<(), Error> {
        if let Some(state) = frame.ready() {
            self.transaction = state;
        }
        match frame.tag() {
            b'G' | b'H' | b'W' => Err(Error::Unsupported("COPY")),
            _ => Ok(()),
        }
    }
}
