//! What a single write, a read by name and a page of a list cost at 50,000 objects in PostgreSQL and at 500: at most twice
//! as much.
//!
//! By the clock: p99, on both sizes in turn, one after the other, so that whatever else the machine does meets both alike;
//! what counts is the median of the rounds. And by what the database itself says, which no neighbour can disturb: what it
//! would do (EXPLAIN), and what it did (rows that were fetched, tables that were read from one end to the other). A query that
//! no index helps is found in all three ways.
//!
//! The tables are filled by SQL, as they would be after a while: history, operations, events, labels, references.
//! THREEPORT_SOAK=1 measures for longer.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sea_orm::DatabaseConnection;
use serde_json::json;

use super::{
    harness::{Bed, definition_spec, object, on_servers},
    indexes::plan,
};
use crate::{
    ListQuery, Options, Store,
    database::sql::{Fetch, Sql},
    object::{read, row::ObjectRow, rows},
};

const MANY: u32 = 50_000;
const FEW: u32 = 500;
const PAGE: u32 = 50;
/// How many times as much.
const MOST: f64 = 2.0;
/// The tables that grow with the number of objects.
const LARGE: &str =
    "('object', 'object_status', 'document', 'label', 'reference', 'revision', 'operation', 'event')";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Create,
    Update,
    Read,
    List,
    /// The positive control: a query that no index helps.
    Search,
}

const ALL: [Work; 4] = [Work::Create, Work::Update, Work::Read, Work::List];

/// A store with so many objects.
struct Place<'a> {
    bed: &'a Bed,
    /// With one connection that writes and one that reads: what they touched can be asked for.
    store: Store,
    objects: u32,
    random: RefCell<StdRng>,
}

fn is_long() -> bool {
    std::env::var("THREEPORT_SOAK").is_ok_and(|value| value == "1")
}

/// Half of the objects are definitions, each of which has an instance.
async fn fill(bed: &Bed, objects: u32) {
    let pairs = i64::from(objects / 2);
    let definition = object("WorkloadDefinition", "w", definition_spec("one")).spec;
    let instance = object("WorkloadInstance", "w", json!({"definition": "placeholder"})).spec;
    let origin = bed.store.control_plane_id();
    let insert = "INSERT INTO object (id, origin, kind, name, generation, resource_version, spec, labels, annotations, \
                  managed_by, suspended, created_at, updated_at) SELECT gen_random_uuid(), $1,";
    let rest = "1, 1, REPLACE($2, 'placeholder', 'w' || n), '{\"app\":\"a' || n % 100 || '\"}', '{}', 'api', 0, n, n \
                FROM generate_series(CAST(1 AS BIGINT), $3) AS n";
    let of_kind = |kind: &str, spec: String| {
        Sql::new(format!("{insert} '{kind}', 'w' || n, {rest}")).values([
            origin.into(),
            spec.into(),
            pairs.into(),
        ])
    };
    let statements = [
        Sql::new(
            "INSERT INTO document (digest, content, created_at) SELECT 'w' || n, 'x', n \
             FROM generate_series(CAST(1 AS BIGINT), $1) AS n",
        )
        .values([pairs.into()]),
        of_kind("WorkloadDefinition", definition.to_string()),
        of_kind("WorkloadInstance", instance.to_string()),
        Sql::new(
            "INSERT INTO object_status (object_id, version, observed_generation, ready, accepted, connected, reason, \
             message, epoch, reconciled_at, verify_at, updated_at) SELECT id, 1, 1, 'True', 'True', 0, '', '', 1, \
             updated_at, updated_at, updated_at FROM object",
        ),
        Sql::new(
            "INSERT INTO reference (from_id, field, to_id, to_kind, resolved_by) SELECT i.id, 'spec.definition', d.id, \
             d.kind, 'name' FROM object i JOIN object d ON d.name = i.name AND d.kind = 'WorkloadDefinition' \
             WHERE i.kind = 'WorkloadInstance'",
        ),
        Sql::new(
            "INSERT INTO label (object_id, label_key, label_value, kind, name) \
             SELECT id, 'app', 'a' || created_at % 100, kind, name FROM object",
        ),
        Sql::new(
            "INSERT INTO revision (object_id, generation, operation_id, actor, created_at, spec) \
             SELECT id, 1, id, 'a', created_at, spec FROM object",
        ),
        Sql::new(
            "INSERT INTO operation (id, actor, route, created_at, changes) SELECT id, 'a', 'r', created_at, '[]' FROM object",
        ),
        Sql::new(
            "INSERT INTO event (id, object_id, object_kind, object_name, kind, reason, message, message_digest, count, \
             first_seen, last_seen) SELECT id, id, kind, name, 'Normal', 'r', 'm', name, 1, 1, created_at FROM object",
        ),
        // What a table's first reader would do, and what the server does by itself some time later.
        Sql::new(format!("VACUUM ANALYZE {}", LARGE.replace(['(', ')', '\''], ""))),
    ];
    let store = bed.patient().await;
    for statement in statements {
        store.0.connections.writer.run(statement).await.unwrap();
    }
    store.close().await;
}

impl<'a> Place<'a> {
    async fn new(bed: &'a Bed, objects: u32) -> Self {
        let started = Instant::now();
        fill(bed, objects).await;
        println!("filled with {objects} objects in {:?}", started.elapsed());
        let options = Options {
            readers: 1,
            writers: 1,
            ..bed.options.clone()
        };
        Self {
            bed,
            store: Store::open(options).await.unwrap(),
            objects,
            random: RefCell::new(StdRng::seed_from_u64(bed.seed)),
        }
    }

    fn some_name(&self) -> String {
        format!("w{}", self.random.borrow_mut().random_range(1..=self.objects / 2))
    }

    fn new_word(&self) -> String {
        format!("n{:032x}", self.random.borrow_mut().random::<u128>())
    }

    /// Does it once, with an object of the many, and answers how long it took.
    async fn once(&self, work: Work) -> Duration {
        let (name, word) = (self.some_name(), self.new_word());
        let started = Instant::now();
        match work {
            Work::Create => {
                let made = object("WorkloadDefinition", &word, definition_spec("one"));
                self.store.object_create(&self.bed.request(), made).await.unwrap();
            }
            Work::Update => {
                let changed = object("WorkloadDefinition", &name, definition_spec(&word));
                let written = self.store.object_update(&self.bed.request(), changed, None).await;
                written.unwrap();
            }
            Work::Read => {
                self.store.object_get("WorkloadInstance", &name).await.unwrap();
            }
            Work::List => {
                let page = self.store.object_list(&self.page(&name, "")).await.unwrap();
                assert!(page.watch_token.is_some());
            }
            Work::Search => {
                let rows = self.store.reader().all(search()).await.unwrap();
                assert!(rows.is_empty());
            }
        }
        let took = started.elapsed();
        if work == Work::Create {
            // What lives stays as many.
            let request = self.bed.request();
            let deleted = self
                .store
                .object_delete(&request, "WorkloadDefinition", &word, None, false);
            deleted.await.unwrap();
        }
        took
    }

    fn page(&self, after: &str, labels: &str) -> ListQuery {
        ListQuery {
            kind: "WorkloadInstance".to_owned(),
            limit: PAGE,
            after: Some(URL_SAFE_NO_PAD.encode(after)),
            labels: labels.parse().unwrap(),
            ..ListQuery::default()
        }
    }

    /// How often a large table was read whole, and how many rows of them were fetched, by this place's sessions and by
    /// all that ended.
    async fn touched(&self) -> (i64, i64) {
        let pools = &self.store.0.connections;
        for connection in [&pools.writer, &pools.reader] {
            // Otherwise a session tells of its work once a second.
            connection
                .run(Sql::new("SELECT pg_stat_force_next_flush()"))
                .await
                .unwrap();
        }
        let query = Sql::new(format!(
            "SELECT CAST(SUM(seq_scan) AS BIGINT) AS scans, CAST(SUM(seq_tup_read + idx_tup_fetch) AS BIGINT) AS rows \
             FROM pg_stat_user_tables WHERE schemaname = current_schema() AND relname IN {LARGE}"
        ));
        let row = pools.reader.one(query).await.unwrap().unwrap();
        (row.get("scans").unwrap(), row.get("rows").unwrap())
    }
}

/// Nothing is found, and no index helps.
fn search() -> Sql {
    Sql::new("SELECT id FROM object WHERE annotations = 'x'")
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() * 99).div_ceil(100) - 1]
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Medians of the p99 of both places, each done once in turn.
async fn compare(places: [&Place<'_>; 2], work: Work, rounds: usize, samples: usize) -> [Duration; 2] {
    let mut found = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let mut times = [Vec::new(), Vec::new()];
        for sample in 0..samples {
            for index in if sample % 2 == 0 { [0, 1] } else { [1, 0] } {
                times[index].push(places[index].once(work).await);
            }
        }
        for (found, times) in found.iter_mut().zip(times) {
            found.push(p99(times));
        }
    }
    found.map(median)
}

/// Whether no step of a plan reads a table, or an index, from one end to the other.
fn walks_indexes(plan: &[String]) -> bool {
    let count = |words: &[&str]| {
        let has = |line: &&String| words.iter().any(|word| line.contains(word));
        plan.iter().filter(has).count()
    };
    let scans = count(&["Index Scan", "Index Only Scan"]);
    count(&["Seq Scan"]) == 0 && scans > 0 && count(&["Index Cond"]) >= scans
}

async fn assert_indexed(bed: &Bed, connection: &DatabaseConnection, name: &str, sql: Sql) {
    let steps = plan(bed, connection, sql).await;
    println!("{name}:\n  {}", steps.join("\n  "));
    assert!(walks_indexes(&steps), "{name} reads more than it needs");
}

/// What the database says that it would do at that size.
async fn explained(place: &Place<'_>) {
    let pools = &place.store.0.connections;
    for connection in [&pools.writer, &pools.reader] {
        let steps = plan(place.bed, connection, search()).await;
        assert!(!walks_indexes(&steps), "the control: {steps:#?}");
    }
    let origin = place.store.control_plane_id();
    let find = || read::by_name(origin, "WorkloadDefinition", "w100");
    assert_indexed(place.bed, &pools.reader, "read by name", find()).await;
    assert_indexed(place.bed, &pools.writer, "read before a write", find()).await;
    let row = place
        .store
        .object_row("WorkloadDefinition", "w100")
        .await
        .unwrap();
    let changed: Vec<&ObjectRow> = vec![&row];
    let update = rows::update_objects(&changed, &BTreeSet::new());
    assert_indexed(place.bed, &pools.writer, "write", update).await;
    for labels in ["", "app=a7", "app=a7,tier!=db"] {
        let page = place.store.list_statement(&place.page("w100", labels)).unwrap();
        assert_indexed(place.bed, &pools.reader, &format!("list page {labels}"), page).await;
    }
}

/// What it touches is what it needs, whatever the clock says.
async fn counted(place: &Place<'_>, work: Work) {
    const TIMES: i64 = 20;
    let before = place.touched().await;
    for _ in 0..TIMES {
        place.once(work).await;
    }
    let after = place.touched().await;
    let (scans, rows) = (after.0 - before.0, (after.1 - before.1) / TIMES);
    println!("{work:?}: {rows} rows each time, {scans} times a whole table");
    let enough = match work {
        // An object, its status, its references and what it refers to.
        Work::List => 5 * i64::from(PAGE),
        _ => 40,
    };
    let is_control = work == Work::Search;
    assert_eq!(
        (scans > 0, rows > enough),
        (is_control, is_control),
        "{work:?} reads more than it needs"
    );
}

async fn test(bed: &Bed) {
    if bed.store.database() != "postgresql" {
        println!("not on {}", bed.store.database());
        return;
    }
    let Some(small) = bed.beside().await else {
        panic!("a server takes a second schema")
    };
    let (few, many) = (Place::new(&small, FEW).await, Place::new(bed, MANY).await);
    explained(&many).await;
    for work in ALL.into_iter().chain([Work::Search]) {
        counted(&many, work).await;
    }
    let (rounds, samples) = if is_long() { (15, 300) } else { (5, 100) };
    let ratio = |times: [Duration; 2]| times[1].as_secs_f64() / times[0].as_secs_f64();
    let mut control = compare([&few, &many], Work::Search, 3, 20).await;
    for factor in [2, 4] {
        if ratio(control) > MOST {
            break;
        }
        println!("{:?}: {control:?}, once more", Work::Search);
        control = compare([&few, &many], Work::Search, 3 * factor, 20).await;
    }
    println!("{:?}: p99 at {FEW} and {MANY} objects {control:?}", Work::Search);
    assert!(ratio(control) > MOST, "the control: {control:?}");
    for work in ALL {
        // A neighbour that comes and goes may meet most of one place's few rounds: then more of them are asked.
        let mut times = compare([&few, &many], work, rounds, samples).await;
        for factor in [2, 4] {
            if ratio(times) <= MOST {
                break;
            }
            println!("{work:?}: {times:?}, once more");
            times = compare([&few, &many], work, rounds * factor, samples).await;
        }
        println!("{work:?}: p99 at {FEW} and {MANY} objects {times:?}");
        assert!(
            ratio(times) <= MOST,
            "{work:?} takes {times:?} at {FEW} and {MANY} objects"
        );
    }
    few.store.close().await;
    many.store.close().await;
    small.end().await;
}

#[test]
fn writes_reads_and_pages_cost_the_same_at_50000_objects() {
    on_servers(&async |bed| test(bed).await);
}
