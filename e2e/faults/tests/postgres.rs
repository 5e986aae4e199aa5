//! Every fault does what it says, to a real client and a real server.
//!
//! Needs `THREEPORT_TEST_DATABASES`, as `make test` sets it.

#![allow(missing_docs)]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sqlx::{Connection, Error, PgConnection, Row};
use threeport_faults::postgres::{Fault, Kind, Place, Plan, Proxy};

/// A schema with a table of this test's own, and ways to it with faults and without.
struct Bed {
    proxy: Proxy,
    faulty: PgConnection,
    direct: PgConnection,
    schema: String,
}

fn server() -> Result<String> {
    let list = std::env::var("THREEPORT_TEST_DATABASES").context("THREEPORT_TEST_DATABASES is not set")?;
    let found = list
        .split(',')
        .find_map(|entry| entry.trim().strip_prefix("postgresql=").map(str::to_owned));
    found.context("THREEPORT_TEST_DATABASES has no postgresql=URL")
}

impl Bed {
    async fn new(name: &str) -> Result<Self> {
        let url = server()?;
        let proxy = Proxy::start(&url).await?;
        let faulty = PgConnection::connect(&proxy.url()?).await?;
        let mut direct = PgConnection::connect(&url).await?;
        let schema = format!("faults_{name}_{}", std::process::id());
        run(&mut direct, &format!("CREATE SCHEMA {schema}")).await?;
        run(
            &mut direct,
            &format!("CREATE TABLE {schema}.t (n BIGINT PRIMARY KEY)"),
        )
        .await?;
        Ok(Self {
            proxy,
            faulty,
            direct,
            schema,
        })
    }

    fn insert(&self) -> String {
        format!("INSERT INTO {}.t VALUES (1)", self.schema)
    }

    /// BEGIN, INSERT, COMMIT, with `plan` from the INSERT on; answers what each of the last two did.
    async fn write(&mut self, plan: Plan) -> Result<(Result<(), Error>, Result<(), Error>)> {
        run(&mut self.faulty, "BEGIN ISOLATION LEVEL SERIALIZABLE").await?;
        self.proxy.begin(plan);
        let insert = self.insert();
        let inserted = run(&mut self.faulty, &insert).await;
        let committed = run(&mut self.faulty, "COMMIT").await;
        Ok((inserted, committed))
    }

    /// How many rows there are, once nobody holds the table any more.
    async fn rows(&mut self) -> Result<i64> {
        let (lock, count) = (
            format!("LOCK TABLE {}.t", self.schema),
            format!("SELECT COUNT(*) FROM {}.t", self.schema),
        );
        let mut transaction = self.direct.begin().await?;
        run(&mut transaction, &lock).await?;
        let row = sqlx::raw_sql(sqlx::AssertSqlSafe(count))
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(row.try_get(0)?)
    }

    async fn end(mut self) -> Result<()> {
        run(&mut self.direct, &format!("DROP SCHEMA {} CASCADE", self.schema)).await?;
        Ok(())
    }

    /// That just this took effect.
    fn injected(&self, place: Place, kind: Kind) -> Result<()> {
        let all = self.proxy.injected();
        let found: Vec<_> = all.iter().map(|one| (one.place, one.fault.kind())).collect();
        ensure!(found == [(place, kind)], "{all:?}");
        ensure!(
            self.proxy.counts().get(place, kind) == 1,
            "{}",
            self.proxy.counts()
        );
        Ok(())
    }
}

/// One simple query.
async fn run(connection: &mut PgConnection, statement: &str) -> Result<(), Error> {
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    sqlx::raw_sql(statement).execute(connection).await.map(drop)
}

fn code(answer: &Result<(), Error>) -> Option<String> {
    match answer {
        Err(Error::Database(error)) => error.code().map(std::borrow::Cow::into_owned),
        _ => None,
    }
}

fn is_lost(answer: &Result<(), Error>) -> bool {
    matches!(answer, Err(Error::Io(_)))
}

#[tokio::test]
async fn without_a_fault_nothing_differs() -> Result<()> {
    let mut bed = Bed::new("quiet").await?;
    let (inserted, committed) = bed.write(Plan::quiet()).await?;
    ensure!(
        inserted.is_ok() && committed.is_ok(),
        "{inserted:?} {committed:?}"
    );
    // The extended protocol, prepared anew and again.
    for _ in 0..2 {
        let found: i64 = sqlx::query_scalar("SELECT $1::BIGINT + 1")
            .bind(2_i64)
            .fetch_one(&mut bed.faulty)
            .await?;
        ensure!(found == 3);
    }
    ensure!(bed.rows().await? == 1);
    ensure!(bed.proxy.injected().is_empty());
    bed.end().await
}

#[tokio::test]
async fn a_serialization_failure_fails_the_transaction() -> Result<()> {
    let mut bed = Bed::new("serialization").await?;
    let plan = Plan::of([(Place::Statement, 0, Fault::Serialization)]);
    let (inserted, committed) = bed.write(plan).await?;
    ensure!(code(&inserted).as_deref() == Some("40001"), "{inserted:?}");
    ensure!(
        committed.is_ok(),
        "COMMIT of a failed transaction is a rollback: {committed:?}"
    );
    ensure!(bed.rows().await? == 0);
    bed.injected(Place::Statement, Kind::Serialization)?;
    // The connection is as good as before.
    run(&mut bed.faulty, "SELECT 1").await?;
    bed.end().await
}

#[tokio::test]
async fn a_serialization_failure_comes_in_the_extended_protocol_too() -> Result<()> {
    let mut bed = Bed::new("extended").await?;
    // First the statement is prepared, then executed: 0 and 1. The next time it is only executed.
    for number in [1, 0] {
        bed.proxy
            .begin(Plan::of([(Place::Statement, number, Fault::Serialization)]));
        let found = sqlx::query("SELECT $1::BIGINT")
            .bind(2_i64)
            .fetch_one(&mut bed.faulty)
            .await;
        ensure!(code(&found.map(drop)).as_deref() == Some("40001"));
        bed.proxy.begin(Plan::quiet());
    }
    let found: i64 = sqlx::query_scalar("SELECT $1::BIGINT")
        .bind(2_i64)
        .fetch_one(&mut bed.faulty)
        .await?;
    ensure!(found == 2);
    bed.end().await
}

#[tokio::test]
async fn what_failed_already_does_not_fail_anew() -> Result<()> {
    let mut bed = Bed::new("failed").await?;
    let fail = |number| (Place::Statement, number, Fault::Serialization);
    run(&mut bed.faulty, "BEGIN").await?;
    bed.proxy.begin(Plan::of([fail(0), fail(1), fail(2)]));
    let answers = [
        run(&mut bed.faulty, "SELECT 1").await,
        run(&mut bed.faulty, "SELECT 1").await,
        run(&mut bed.faulty, "ROLLBACK").await,
    ];
    let codes = answers.each_ref().map(code);
    ensure!(
        codes == [Some("40001".to_owned()), Some("25P02".to_owned()), None],
        "{answers:?}"
    );
    bed.injected(Place::Statement, Kind::Serialization)?;
    bed.end().await
}

#[tokio::test]
async fn a_serialization_failure_at_commit_rolls_back() -> Result<()> {
    let mut bed = Bed::new("commit").await?;
    let plan = Plan::of([(Place::Commit, 0, Fault::Serialization)]);
    let (inserted, committed) = bed.write(plan).await?;
    ensure!(inserted.is_ok(), "{inserted:?}");
    ensure!(code(&committed).as_deref() == Some("40001"), "{committed:?}");
    ensure!(bed.rows().await? == 0);
    bed.injected(Place::Commit, Kind::Serialization)?;
    let (inserted, committed) = bed.write(Plan::quiet()).await?;
    ensure!(
        inserted.is_ok() && committed.is_ok(),
        "the same connection: {inserted:?} {committed:?}"
    );
    ensure!(bed.rows().await? == 1);
    bed.end().await
}

#[tokio::test]
async fn a_connection_that_is_lost_before_commit_leaves_nothing() -> Result<()> {
    let mut bed = Bed::new("before").await?;
    let (inserted, committed) = bed
        .write(Plan::of([(Place::Commit, 0, Fault::LostBefore)]))
        .await?;
    ensure!(
        inserted.is_ok() && is_lost(&committed),
        "{inserted:?} {committed:?}"
    );
    ensure!(bed.rows().await? == 0);
    bed.injected(Place::Commit, Kind::LostBefore)?;
    bed.end().await
}

#[tokio::test]
async fn a_connection_that_is_lost_after_commit_leaves_all() -> Result<()> {
    for fault in [Fault::LostAfter, Fault::Truncated(0), Fault::Truncated(999)] {
        let mut bed = Bed::new("after").await?;
        let (inserted, committed) = bed.write(Plan::of([(Place::Commit, 0, fault)])).await?;
        ensure!(
            inserted.is_ok() && is_lost(&committed),
            "{fault}: {inserted:?} {committed:?}"
        );
        ensure!(bed.rows().await? == 1, "{fault}");
        bed.injected(Place::Commit, fault.kind())?;
        bed.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_that_is_lost_at_a_statement_leaves_nothing() -> Result<()> {
    for fault in [Fault::LostBefore, Fault::LostAfter, Fault::Truncated(500)] {
        let mut bed = Bed::new("statement").await?;
        let (inserted, committed) = bed.write(Plan::of([(Place::Statement, 0, fault)])).await?;
        ensure!(
            is_lost(&inserted) && committed.is_err(),
            "{fault}: {inserted:?} {committed:?}"
        );
        ensure!(bed.rows().await? == 0, "{fault}");
        bed.injected(Place::Statement, fault.kind())?;
        bed.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_delay_takes_its_time_twice_and_changes_nothing() -> Result<()> {
    let mut bed = Bed::new("delay").await?;
    let time = Duration::from_millis(80);
    let begin = Instant::now();
    let (inserted, committed) = bed
        .write(Plan::of([(Place::Commit, 0, Fault::Delayed(time))]))
        .await?;
    ensure!(begin.elapsed() >= 2 * time, "{:?}", begin.elapsed());
    ensure!(
        inserted.is_ok() && committed.is_ok(),
        "{inserted:?} {committed:?}"
    );
    ensure!(bed.rows().await? == 1);
    bed.injected(Place::Commit, Kind::Delayed)?;
    bed.end().await
}

#[tokio::test]
async fn the_acknowledgement_of_a_refused_commit_is_not_lost() -> Result<()> {
    let mut bed = Bed::new("refused").await?;
    run(&mut bed.faulty, "BEGIN").await?;
    let failed = run(&mut bed.faulty, "SELECT 1 / 0").await;
    ensure!(code(&failed).as_deref() == Some("22012"), "{failed:?}");
    bed.proxy.begin(Plan::of([(Place::Commit, 0, Fault::LostAfter)]));
    run(&mut bed.faulty, "COMMIT").await?;
    ensure!(bed.proxy.injected().is_empty(), "{:?}", bed.proxy.injected());
    bed.end().await
}

#[tokio::test]
async fn a_proxy_that_is_dropped_takes_its_connections_along() -> Result<()> {
    let mut bed = Bed::new("dropped").await?;
    let url = bed.proxy.url()?;
    bed.proxy = Proxy::start(&server()?).await?;
    ensure!(is_lost(&run(&mut bed.faulty, "SELECT 1").await));
    ensure!(PgConnection::connect(&url).await.is_err());
    bed.end().await
}
