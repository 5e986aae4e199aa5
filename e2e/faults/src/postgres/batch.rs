//! What a client sends at once, and what of it is executed.
//!
//! In the extended protocol the text was sent earlier, perhaps long ago: names lead to it.

use std::collections::HashMap;

use super::wire::{Frame, text};

/// What a statement does to its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Commit,
    Rollback,
    /// Where no transaction is open, it commits itself.
    Write,
    Else,
}

/// The messages up to a Sync or a simple query.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) frames: Vec<Frame>,
    /// What it executes or, where it only prepares, what that is.
    pub(super) text: String,
    pub(super) does: Does,
}

/// The statements and portals that a session has names for.
#[derive(Debug, Default)]
pub(super) struct Names {
    statements: HashMap<String, String>,
    portals: HashMap<String, String>,
}

impl Batch {
    pub(super) fn new(frames: Vec<Frame>, names: &mut Names) -> Self {
        let (mut prepared, mut executed) = (None, None);
        for frame in &frames {
            match frame.tag() {
                b'P' => prepared = Some(names.prepare(frame)),
                b'B' => names.bind(frame),
                b'E' => executed = names.portals.get(&text(frame.body()).0).cloned(),
                b'Q' => executed = Some(text(frame.body()).0),
                b'C' => names.close(frame),
                _ => {}
            }
        }
        let does = executed.as_deref().map_or(Does::Else, does);
        Self {
            frames,
            text: executed.or(prepared).unwrap_or_default(),
            does,
        }
    }
}

fn does(text: &str) -> Does {
    let words = || text.split(|letter: char| !letter.is_ascii_alphabetic());
    let mut words = words()
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_uppercase);
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match (first.as_str(), second.as_str()) {
        // COMMIT PREPARED and ROLLBACK TO SAVEPOINT end no transaction of their session.
        ("COMMIT", "PREPARED") | ("ROLLBACK", "PREPARED" | "TO") => Does::Else,
        ("COMMIT" | "END", _) => Does::Commit,
        ("ROLLBACK" | "ABORT", _) => Does::Rollback,
        ("INSERT" | "UPDATE" | "DELETE", _) => Does::Write,
        ("WITH", _)
            if ["INSERT INTO ", "UPDATE ", "DELETE FROM "]
                .iter()
                .any(|write| text.contains(write)) =>
        {
            Does::Write
        }
        _ => Does::Else,
    }
}

impl Names {
    fn prepare(&mut self, frame: &Frame) -> String {
        let (name, rest) = text(frame.body());
        let statement = text(rest).0;
        self.statements.insert(name, statement.clone());
        statement
    }

    fn bind(&mut self, frame: &Frame) {
        let (portal, rest) = text(frame.body());
        let statement = self.statements.get(&text(rest).0).cloned();
        self.portals.insert(portal, statement.unwrap_or_default());
    }

    fn close(&mut self, frame: &Frame) {
        let Some((what, name)) = frame.body().split_first() else {
            return;
        };
        let names = match what {
            b'S' => &mut self.statements,
            _ => &mut self.portals,
        };
        names.remove(&text(name).0);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncRead;

    use super::*;
    use crate::postgres::wire::Reader;

    async fn frames(stream: impl AsyncRead + Unpin) -> Vec<Frame> {
        let mut reader = Reader::new(stream);
        let mut frames = Vec::new();
        while let Some(frame) = reader.frame().await.unwrap() {
            frames.push(frame);
        }
        frames
    }

    #[test]
    fn the_end_of_a_transaction_and_a_write_are_recognised() {
        for (statement, expected) in [
            ("COMMIT", Does::Commit),
            ("commit;", Does::Commit),
            (" End Transaction", Does::Commit),
            ("COMMIT PREPARED 'x'", Does::Else),
            ("ROLLBACK", Does::Rollback),
            ("ROLLBACK TO SAVEPOINT a", Does::Else),
            ("COMMITTED", Does::Else),
            ("SELECT 'COMMIT'", Does::Else),
            ("SELECT 'INSERT INTO a'", Does::Else),
            ("insert into a values (1)", Does::Write),
            (
                "WITH a AS (INSERT INTO b VALUES (1) RETURNING 1) SELECT * FROM a",
                Does::Write,
            ),
            ("WITH a AS (SELECT 1) SELECT * FROM a", Does::Else),
            ("", Does::Else),
        ] {
            assert_eq!(does(statement), expected, "{statement:?}");
        }
    }

    #[tokio::test]
    async fn a_statement_that_was_prepared_earlier_is_known_by_its_name() {
        let mut names = Names::default();
        let prepare = frames(&b"P\0\0\0\x10s1\0COMMIT\0\0\0S\0\0\0\x04"[..]).await;
        let batch = Batch::new(prepare, &mut names);
        assert_eq!((batch.text.as_str(), batch.does), ("COMMIT", Does::Else));
        let execute = frames(&b"B\0\0\0\x0e\0s1\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04"[..]).await;
        let batch = Batch::new(execute, &mut names);
        assert_eq!((batch.text.as_str(), batch.does), ("COMMIT", Does::Commit));
        let close = frames(&b"C\0\0\0\x08Ss1\0S\0\0\0\x04"[..]).await;
        Batch::new(close, &mut names);
        assert!(names.statements.is_empty());
    }
}
