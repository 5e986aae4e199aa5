//! Connections are what the store takes them for.

use std::time::Duration;

use super::harness::{TOUCH, database_test, on_servers};
use crate::{
    Error, Options,
    database::{
        connection::{Connections, Dialect},
        sql::{Fetch, Sql},
        transaction::{code, is_transient},
    },
};

/// A statement that commits itself too: it has no BEGIN that could say so.
#[test]
fn whoever_writes_is_serializable() {
    on_servers(&async |bed| {
        let connections = Connections::open(&bed.options).await.unwrap();
        let shown = Sql::new("SELECT current_setting('transaction_isolation') AS level");
        let row = connections.writer.one(shown).await.unwrap().unwrap();
        let level: String = row.get("level").unwrap();
        assert_eq!(level, "serializable");
        connections.close().await;
    });
}

/// A snapshot of PostgreSQL is one because its connection's transactions are.
#[test]
fn whoever_reads_sees_one_moment_and_writes_nothing() {
    on_servers(&async |bed| {
        let connections = Connections::open(&bed.options).await.unwrap();
        if connections.dialect == Dialect::Cockroachdb {
            println!("its snapshots say so themselves");
            return;
        }
        let shown = Sql::new(
            "SELECT current_setting('transaction_isolation') AS level, \
             current_setting('transaction_read_only') AS reads",
        );
        for (connection, expected) in [
            (&connections.reader, ("repeatable read", "on")),
            (&connections.writer, ("serializable", "off")),
        ] {
            let row = connection.one(shown.clone()).await.unwrap().unwrap();
            let (level, reads): (String, String) = (row.get("level").unwrap(), row.get("reads").unwrap());
            assert_eq!((level.as_str(), reads.as_str()), expected);
        }
        connections.close().await;
    });
}

database_test!(a_statement_that_is_held_up_is_ended_by_the_database, bed, {
    bed.definition("web").await;
    let options = Options {
        timeout: Duration::from_millis(500),
        ..bed.options.clone()
    };
    let connections = Connections::open(&options).await.unwrap();
    let touch = || connections.writer.run(Sql::new(TOUCH));
    let holder = bed.holder().await;
    let Err(Error::Database(error)) = touch().await else {
        panic!("it was not held up");
    };
    // SQLITE_BUSY, and SQLSTATE query_canceled.
    let expected = if bed.is_sqlite() { "5" } else { "57014" };
    assert_eq!(code(&error), expected, "{error}");
    assert!(is_transient(&error));
    holder.let_go().await;
    assert_eq!(touch().await.unwrap(), 1, "the control");
    connections.close().await;
});
