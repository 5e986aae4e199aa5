//! What agents see.
//!
//! An observation is written where it is newer than what is stored (epoch, then sequence). It makes its instance pending
//! where something differs that a status or a plan depends on: health, message, uid, ownership, images, the epoch (health
//! of a former epoch does not count), or the resource version where the last apply was not yet covered. A resource version
//! alone is stored silently: the next apply may be answered with that very one. But if the instance is being worked on
//! right now, that run's apply may be the one, so it runs again.
//!
//! What is written is said to be heard, at a time of its own: a database that loses it (a failover to a replica that lacks the
//! last commits) does not remember that time, which the agent says with its next heartbeat, and is told all of it anew. What
//! was seen is said once; else it would stay lost until it changed.

mod effect;
mod kinds;
mod stray;

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::Value;
use threeport_model::protocol::{
    agent::{MAX_OBSERVATIONS, Observation, ObservationsRequest, ObservationsResponse},
    inventory::InventoryRow,
};
use uuid::Uuid;

use self::effect::{Effect, effect};
use crate::{
    Store, agent,
    database::{
        clock,
        random::Random,
        sql::{Sql, to_json},
        transaction::Transaction,
    },
    error::{Error, Result},
    inventory, pending,
    request::Notice,
    writes,
};

type Key = (String, String, String, String);

fn key(observation: &Observation) -> Key {
    (
        observation.group.clone(),
        observation.kind.clone(),
        observation.namespace.clone(),
        observation.name.clone(),
    )
}

/// What observations are of, as a common table expression `v`.
pub(crate) fn identities<'o>(runtime: Uuid, observations: impl Iterator<Item = &'o Observation>) -> Sql {
    let mut query =
        Sql::new("WITH v (runtime_id, instance_id, api_group, kind, namespace, name) AS (VALUES ");
    query.rows(observations.map(|observation| {
        let (group, kind, namespace, name) = key(observation);
        Vec::<Value>::from([
            runtime.into(),
            observation.instance_id.into(),
            group.into(),
            kind.into(),
            namespace.into(),
            name.into(),
        ])
    }));
    query.push(")");
    query
}

/// The statement of the rows that observations are of: a join by which the index of the rows of instances serves. (With
/// the runtime outside of it, all rows of the runtime are read.)
pub(crate) fn of_observed<'o>(runtime: Uuid, observations: impl Iterator<Item = &'o Observation>) -> Sql {
    let mut query = identities(runtime, observations);
    query.push(&format!(
        " SELECT {} FROM v JOIN inventory i ON i.instance_id = v.instance_id AND i.runtime_id = v.runtime_id \
         AND i.api_group = v.api_group AND i.kind = v.kind AND i.namespace = v.namespace AND i.name = v.name",
        inventory::COLUMNS
    ));
    query
}

struct Batch<'a> {
    runtime: Uuid,
    request: &'a ObservationsRequest,
    random: &'a Random,
    /// Instances that have work now.
    relevant: BTreeSet<Uuid>,
    /// Instances that run again if they run right now.
    silent: BTreeSet<Uuid>,
    changed: i64,
}

impl Store {
    /// Writes what the agent of a runtime saw. [`Error::EpochStale`] where there is a newer agent.
    pub async fn agent_observe(
        &self,
        runtime_id: Uuid,
        request: &ObservationsRequest,
    ) -> Result<(ObservationsResponse, Vec<Notice>)> {
        if request.observations.len() > MAX_OBSERVATIONS {
            let message = format!(
                "{} observations are more than {MAX_OBSERVATIONS}",
                request.observations.len()
            );
            return Err(Error::TooLarge(message));
        }
        let input = (runtime_id, request, self.random());
        self.transactions()
            .run_on(
                writes::AGENT_OBSERVE,
                &input,
                |(runtime, ..), dialect| agent::epoch_of(*runtime, dialect),
                |transaction, (runtime, request, random)| {
                    Box::pin(async move {
                        let batch = Batch {
                            runtime: *runtime,
                            request,
                            random,
                            relevant: BTreeSet::new(),
                            silent: BTreeSet::new(),
                            changed: 0,
                        };
                        batch.write(transaction).await
                    })
                },
            )
            .await
    }
}

impl Batch<'_> {
    async fn write(mut self, transaction: &Transaction) -> Result<(ObservationsResponse, Vec<Notice>)> {
        agent::check_epoch(transaction, self.runtime, self.request.epoch)?;
        let (unknown, mut update) = self.observations(transaction).await?;
        if !self.request.closed.is_empty() || !self.request.unlistable.is_empty() {
            // What is closed is what was not seen.
            transaction.write(update.take().into_iter().collect()).await?;
        }
        for kind in &self.request.closed {
            self.close(transaction, kind).await?;
        }
        for unlistable in &self.request.unlistable {
            self.unlistable(transaction, &unlistable.kind, &unlistable.message)
                .await?;
        }
        let wakes = pending::of_observed(transaction, &self.relevant);
        // Who has work now has a new token by that.
        let claimed = self.silent.difference(&self.relevant).copied().collect();
        let refreshed = pending::of_claimed(transaction, &claimed);
        let (at, heard) = agent::heard(transaction, self.runtime)?;
        let woken = transaction
            .write_and_read(
                update.into_iter().chain(refreshed).chain([heard]).collect(),
                wakes.into_iter().collect(),
            )
            .await?;
        let notices = pending::woken(transaction, &woken)?;
        Ok((
            ObservationsResponse {
                changed: self.changed,
                unknown,
                seen: Some(clock::timestamp(at)?),
            },
            notices,
        ))
    }

    /// Answers the instances that the database doesn't know, and the statement that writes what was seen of the others.
    async fn observations(&mut self, transaction: &Transaction) -> Result<(Vec<Uuid>, Option<Sql>)> {
        // Of several in one request the last one holds.
        let latest: BTreeMap<(Key, Uuid), &Observation> = self
            .request
            .observations
            .iter()
            .map(|observation| ((key(observation), observation.instance_id), observation))
            .collect();
        if latest.is_empty() {
            return Ok((Vec::new(), None));
        }
        let query = of_observed(self.runtime, latest.values().copied());
        let mut rows: BTreeMap<(Key, Uuid), InventoryRow> = BTreeMap::new();
        for row in transaction.all(query).await? {
            let row = inventory::read(&row)?;
            let key = (
                row.group.clone(),
                row.kind.clone(),
                row.namespace.clone(),
                row.name.clone(),
            );
            rows.insert((key, row.instance_id), row);
        }
        let mut updates = Vec::new();
        let mut strays = Vec::new();
        for (key, observation) in latest {
            match rows.get(&key) {
                None => strays.push(observation),
                Some(row) => match effect(row, observation, self.request.epoch, self.request.sequence) {
                    Effect::Stale => {}
                    Effect::Silent => {
                        self.silent.insert(row.instance_id);
                        updates.push((row.id, observation));
                    }
                    Effect::Relevant => {
                        self.changed += 1;
                        self.relevant.insert(row.instance_id);
                        updates.push((row.id, observation));
                    }
                },
            }
        }
        let unknown = self.strays(transaction, &strays).await?;
        Ok((unknown, self.update(transaction, &updates)?))
    }

    fn update(&self, transaction: &Transaction, updates: &[(Uuid, &Observation)]) -> Result<Option<Sql>> {
        if updates.is_empty() {
            return Ok(None);
        }
        let mut sql = Sql::new(
            "WITH v (id, health, message, uid, resource_version, ownership_digest, images, managers, completed) \
             AS (VALUES ",
        );
        let mut values = Vec::with_capacity(updates.len());
        for (id, observation) in updates {
            values.push(Vec::<Value>::from([
                (*id).into(),
                observation.health.as_str().into(),
                observation.message.replace('\0', "").into(),
                observation.uid.clone().into(),
                observation.resource_version.clone().into(),
                observation.ownership_digest.clone().into(),
                to_json(&observation.images)?.into(),
                to_json(&observation.other_managers)?.into(),
                observation.completed.clone().into(),
            ]));
        }
        sql.rows(values).push(
            ") UPDATE inventory SET observed_health = v.health, observed_message = v.message, observed_uid = v.uid, \
             observed_resource_version = v.resource_version, observed_ownership_digest = v.ownership_digest, \
             observed_images = v.images, observed_managers = v.managers, \
             completed_hash = COALESCE(v.completed, inventory.completed_hash), observed_epoch = ",
        );
        sql.bind(self.request.epoch)
            .push(", observed_sequence = ")
            .bind(self.request.sequence);
        sql.push(", seen_at = ")
            .bind(transaction.now)
            .push(" FROM v WHERE inventory.id = v.id");
        Ok(Some(sql))
    }
}
