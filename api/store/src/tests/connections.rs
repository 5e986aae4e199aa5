//! Connections are what the store takes them for.

use std::time::Duration;

use threeport_model::Code;

use super::harness::{TOUCH, database_test, on_servers};
use crate::{
    Error, Options, Store,
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

#[test]
fn who_refuses_has_answered_and_who_is_not_there_has_not() {
    on_servers(&async |bed| {
        let (before, rest) = bed.options.url.split_once('@').unwrap();
        let (server, after) = rest.split_once('/').unwrap();
        let migrate = async |url: String| {
            let options = Options {
                url,
                ..bed.options.clone()
            };
            Store::migrate(&options).await.unwrap_err()
        };
        // Port 1 is nobody's.
        let nobody = migrate(format!("{before}@127.0.0.1:1/{after}")).await;
        assert!(nobody.is_unanswered(), "{nobody}");
        let (_, parameters) = after.split_once('?').unwrap_or_default();
        let no_such = migrate(format!("{before}@{server}/no_such_database?{parameters}")).await;
        assert!(!no_such.is_unanswered(), "{no_such}");
    });
}

/// Where a database's name leads to is not known before it is asked.
#[test]
fn no_session_is_begun_with_a_standby() {
    on_servers(&async |bed| {
        let writer = &bed.store.0.connections.writer;
        if bed.store.dialect() == Dialect::Cockroachdb {
            println!("it has no standbys");
            return;
        }
        // Found before the function of PostgreSQL that it is named after: the server says of itself what the test wants.
        let options = Options {
            url: format!("{},pg_catalog", bed.options.url),
            ..bed.options.clone()
        };
        let say = async |answer: &str| {
            let function = format!(
                "CREATE OR REPLACE FUNCTION pg_is_in_recovery() RETURNS BOOLEAN LANGUAGE sql AS 'SELECT {answer}'"
            );
            writer.run(Sql::new(function)).await.unwrap();
        };
        say("TRUE").await;
        match Connections::open(&options).await {
            Err(Error::Database(error)) => assert!(is_transient(&error), "{error}"),
            other => panic!("{other:?}"),
        }
        writer.run(Sql::new("CREATE SEQUENCE asked")).await.unwrap();
        say("nextval(''asked'') < 3").await;
        let connections = Connections::open(&options).await.unwrap();
        let row = writer
            .one(Sql::new("SELECT last_value FROM asked"))
            .await
            .unwrap();
        let asked: i64 = row.unwrap().get("last_value").unwrap();
        assert_eq!(
            asked, 4,
            "whoever writes is begun twice with a standby, and then with the primary"
        );
        assert_eq!(connections.dialect, Dialect::Postgresql);
        connections.close().await;
    });
}

/// As of a server that was closed for writes: a session that reads is such for good.
#[test]
fn what_is_refused_by_a_server_that_takes_no_writes_may_be_sent_again() {
    on_servers(&async |bed| {
        if bed.store.dialect() == Dialect::Cockroachdb {
            println!("its sessions that read could write");
            return;
        }
        let reader = &bed.store.0.connections.reader;
        let Err(Error::Database(error)) = reader.run(Sql::new(TOUCH)).await else {
            panic!("it was written");
        };
        assert_eq!(code(&error), "25006", "{error}");
        assert_eq!(Error::Database(error).code(), Code::Unavailable);
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
