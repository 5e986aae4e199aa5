//! Agents: registration, heartbeats, what they watch. A heartbeat touches a row of its own, which no watch sees.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use threeport_model::{
    Kind, Reference, digest,
    kinds::{KubernetesRuntimeInstance, control_plane_instance::SELF_SLOT},
    protocol::agent::{
        AgentState, HEARD_SECONDS, HeartbeatRequest, HeartbeatResponse, RegisterRequest, RegisterResponse,
        WatchedKind, Watches,
    },
};
use uuid::Uuid;

use crate::{
    Store,
    database::{
        clock::{self, SECOND},
        connection::Dialect,
        sql::{Fetch, Row, Sql},
        transaction::Transaction,
    },
    error::{Error, Result},
    pending,
    request::Notice,
    writes,
};

const RUNTIME: &str = KubernetesRuntimeInstance::KIND;

impl Store {
    /// Registers an agent: it gets a new epoch, and whoever had the one before is told to register anew. Its runtime
    /// becomes pending.
    pub async fn agent_register(&self, request: &RegisterRequest) -> Result<(RegisterResponse, Vec<Notice>)> {
        let input = (self, request);
        self.transactions()
            .run(writes::AGENT_REGISTER, &input, |transaction, (store, request)| {
                Box::pin(async move {
                    let origin = store.control_plane_id();
                    let runtime_id = runtime(transaction, origin, request.runtime.as_deref()).await?;
                    let upsert = Sql::new(
                        "INSERT INTO agent (runtime_id, epoch, version, registered_at, last_seen) \
                         VALUES ($1, 1, $2, $3, $3) ON CONFLICT (runtime_id) DO UPDATE SET epoch = agent.epoch + 1, \
                         version = excluded.version, registered_at = excluded.registered_at, \
                         last_seen = excluded.last_seen RETURNING epoch",
                    )
                    .values([runtime_id.into(), request.version.clone().into(), transaction.now.into()]);
                    let row = transaction.one(upsert).await?;
                    let row = row.ok_or_else(|| Error::not_found("agent of runtime", &runtime_id.to_string()))?;
                    let notices = pending::wake_observed(transaction, &[runtime_id].into()).await?;
                    let rows = transaction.all(watched(runtime_id)).await?;
                    let response = RegisterResponse {
                        control_plane_id: origin,
                        runtime_id,
                        epoch: row.get("epoch")?,
                        watches: watches(&rows)?,
                    };
                    Ok((response, notices))
                })
            })
            .await
    }

    /// The agent is there. [`Error::EpochStale`] where there is a newer one, and where the agent remembers that it was
    /// heard and the database does not: it was restored, or a failover lost its last commits; it lacks what was seen since,
    /// and must be told all of it anew. (Not where that was at a time from before the clock was set back.)
    pub async fn agent_heartbeat(
        &self,
        runtime_id: Uuid,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatResponse> {
        self.transactions()
            .run(
                writes::AGENT_HEARTBEAT,
                &(runtime_id, request),
                |transaction, (runtime_id, request)| {
                    Box::pin(async move {
                        let seen = request.seen.map_or(0, jiff::Timestamp::as_microsecond);
                        let seen = if clock::is_ahead(seen, transaction.now) { 0 } else { seen };
                        let update = Sql::new(
                            "UPDATE agent SET last_seen = CASE WHEN last_seen < $1 THEN $1 ELSE last_seen END \
                             WHERE runtime_id = $2 AND epoch = $3 AND last_seen >= $4 RETURNING last_seen",
                        )
                        .values([
                            transaction.now.into(),
                            (*runtime_id).into(),
                            request.epoch.into(),
                            seen.into(),
                        ]);
                        let row = transaction.one(update).await?;
                        let row = row.ok_or(Error::EpochStale {
                            runtime_id: *runtime_id,
                            epoch: request.epoch,
                        })?;
                        let watches = watches(&transaction.all(watched(*runtime_id)).await?)?;
                        Ok(HeartbeatResponse {
                            watches_revision: watches.revision,
                            seen: Some(clock::timestamp(row.get("last_seen")?)?),
                        })
                    })
                },
            )
            .await
    }

    /// The kinds that the agent of a runtime watches.
    pub async fn agent_watches(&self, runtime_id: Uuid) -> Result<Watches> {
        watches(&self.reader().all(watched(runtime_id)).await?)
    }
}

fn watched(runtime: Uuid) -> Sql {
    Sql::new(
        "SELECT api_group, version, kind FROM watched_kind WHERE runtime_id = $1 ORDER BY api_group, kind",
    )
    .values([runtime.into()])
}

fn watches(rows: &[Row]) -> Result<Watches> {
    let kinds: Vec<WatchedKind> = rows.iter().map(kind).collect::<Result<_>>()?;
    let names = kinds
        .iter()
        .map(|kind| format!("{}/{}/{}\n", kind.group, kind.version, kind.kind));
    Ok(Watches {
        revision: digest::of_bytes(names.collect::<String>().as_bytes()),
        kinds,
    })
}

fn kind(row: &Row) -> Result<WatchedKind> {
    Ok(WatchedKind {
        group: row.get("api_group")?,
        version: row.get("version")?,
        kind: row.get("kind")?,
    })
}

/// The runtime of that name; the one that the control plane runs in where none is given.
async fn runtime(transaction: &Transaction, origin: Uuid, name: Option<&str>) -> Result<Uuid> {
    let query = match name {
        Some(name) => Sql::new(
            "SELECT id FROM object WHERE origin = $1 AND kind = $2 AND name = $3 AND deleted_at IS NULL",
        )
        .values([origin.into(), RUNTIME.into(), name.into()]),
        None => Sql::new(
            "SELECT r.to_id AS id FROM object o JOIN reference r ON r.from_id = o.id AND r.field = $1 \
             WHERE o.origin = $2 AND o.slot = $3 AND o.deleted_at IS NULL",
        )
        .values([Reference::RUNTIME.into(), origin.into(), SELF_SLOT.into()]),
    };
    let row = transaction.one(query).await?;
    row.map_or_else(
        || Err(Error::not_found(RUNTIME, name.unwrap_or("of the control plane"))),
        |row| row.get("id"),
    )
}

/// The statement that reads the epoch of a runtime's agent, when it was heard, and the clock: what a transaction can begin
/// with.
pub(crate) fn epoch_of(runtime_id: Uuid, dialect: Dialect) -> Sql {
    let clock = clock::expression(dialect);
    Sql::new(format!(
        "SELECT epoch, last_seen, {clock} AS now FROM agent WHERE runtime_id = $1"
    ))
    .values([runtime_id.into()])
}

/// Fails where an agent's epoch is not the newest; the transaction began with [`epoch_of`].
pub(crate) fn check_epoch(transaction: &Transaction, runtime_id: Uuid, epoch: i64) -> Result<()> {
    let found: Option<i64> = transaction
        .first
        .first()
        .map(|row| row.get("epoch"))
        .transpose()?;
    if found == Some(epoch) {
        Ok(())
    } else {
        Err(Error::EpochStale { runtime_id, epoch })
    }
}

/// When an agent is heard by a transaction that began with [`epoch_of`], and the statement that says so. Later than ever
/// before: whoever remembers it finds out that the database lost the transaction.
pub(crate) fn heard(transaction: &Transaction, runtime_id: Uuid) -> Result<(i64, Sql)> {
    let before: Option<i64> = transaction
        .first
        .first()
        .map(|row| row.get("last_seen"))
        .transpose()?;
    let at = before.map_or(transaction.now, |before| transaction.now.max(before + 1));
    let sql = Sql::new("UPDATE agent SET last_seen = $1 WHERE runtime_id = $2");
    Ok((at, sql.values([at.into(), runtime_id.into()])))
}

/// The statement of the agents of runtimes, each once for every kind whose list was complete in its epoch, or once.
pub(crate) fn of_runtimes(runtimes: &[Uuid]) -> Sql {
    let mut query = Sql::new(
        "SELECT a.runtime_id, a.epoch, a.version AS agent_version, a.last_seen, w.api_group, w.version, w.kind \
         FROM agent a LEFT JOIN watched_kind w ON w.runtime_id = a.runtime_id AND w.closed_epoch = a.epoch \
         WHERE a.runtime_id IN ",
    );
    query.list(runtimes).push(" ORDER BY w.api_group, w.kind");
    query
}

/// What is known of the agents of runtimes.
pub(crate) async fn states(
    transaction: &Transaction,
    runtimes: &BTreeSet<Uuid>,
) -> Result<BTreeMap<Uuid, AgentState>> {
    let mut states: BTreeMap<Uuid, AgentState> = BTreeMap::new();
    if runtimes.is_empty() {
        return Ok(states);
    }
    let runtimes: Vec<Uuid> = runtimes.iter().copied().collect();
    for row in transaction.all(of_runtimes(&runtimes)).await? {
        let runtime_id: Uuid = row.get("runtime_id")?;
        let state = match states.entry(runtime_id) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => place.insert(without_kinds(transaction, runtime_id, &row)?),
        };
        if row.get::<Option<String>>("kind")?.is_some() {
            state.closed.push(kind(&row)?);
        }
    }
    Ok(states)
}

fn without_kinds(transaction: &Transaction, runtime_id: Uuid, row: &Row) -> Result<AgentState> {
    let last_seen: i64 = row.get("last_seen")?;
    Ok(AgentState {
        runtime_id: Some(runtime_id),
        epoch: row.get("epoch")?,
        version: row.get("agent_version")?,
        last_seen: clock::timestamp(last_seen)?,
        heard: transaction.now - last_seen < HEARD_SECONDS * SECOND,
        closed: Vec::new(),
    })
}
