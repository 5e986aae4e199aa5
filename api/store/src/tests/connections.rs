//! Connections are what the store takes them for.

use super::harness::on_servers;
use crate::{
    connection::Connections,
    sql::{Fetch, Sql},
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
