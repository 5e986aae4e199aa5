//! Objects that carry an instance's identity without being in its inventory: a late create, or what the database has no
//! record of ([`inventory::former`]). Of an instance that ends, both are to go.

use std::collections::BTreeSet;

use sea_orm::Value;
use threeport_model::{kinds::workload_instance::Health, protocol::agent::Observation};
use uuid::Uuid;

use super::{Batch, Key, identities, key};
use crate::{
    database::{
        sql::{Sql, to_json},
        transaction::Transaction,
    },
    error::Result,
    inventory::{self, LEFTOVER, UNRECORDED},
};

impl Batch<'_> {
    /// They become leftovers of an instance that the database knows, tombstone or not, or are recorded as unrecorded. Those
    /// of what it doesn't know are left alone.
    pub(super) async fn strays(
        &mut self,
        transaction: &Transaction,
        strays: &[&Observation],
    ) -> Result<Vec<Uuid>> {
        let instances: BTreeSet<Uuid> = strays.iter().map(|observation| observation.instance_id).collect();
        if instances.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = Sql::new("SELECT id, deletion_requested_at, deleted_at FROM object WHERE id IN ");
        query.list(&instances.iter().copied().collect::<Vec<_>>());
        let rows = transaction.all(query).await?;
        let known: BTreeSet<Uuid> = rows.iter().map(|row| row.get("id")).collect::<Result<_>>()?;
        let mut ending = BTreeSet::<Uuid>::new();
        for row in &rows {
            let times: [Option<i64>; 2] = [row.get("deletion_requested_at")?, row.get("deleted_at")?];
            if times.iter().any(Option::is_some) {
                ending.insert(row.get("id")?);
            }
        }
        let former = self.former(transaction, strays).await?;
        // What carries our labels without our having applied it is a copy: whoever made it, a controller of the cluster as
        // often as not, would go on making it.
        let left = strays.iter().filter(|found| {
            known.contains(&found.instance_id)
                && found.health != Health::Missing
                && found.ownership_digest.is_some()
        });
        let mut values = Vec::new();
        for observation in left {
            self.changed += 1;
            self.relevant.insert(observation.instance_id);
            let is_late = ending.contains(&observation.instance_id)
                || former.contains(&(observation.instance_id, key(observation)));
            values.push(Vec::<Value>::from([
                self.random.uuid().into(),
                self.runtime.into(),
                observation.instance_id.into(),
                observation.group.clone().into(),
                observation.version.clone().into(),
                observation.kind.clone().into(),
                "".into(),
                observation.namespace.clone().into(),
                observation.name.clone().into(),
                (if is_late { LEFTOVER } else { UNRECORDED }).into(),
                observation.uid.clone().into(),
                "[]".into(),
                observation.health.as_str().into(),
                observation.message.replace('\0', "").into(),
                observation.uid.clone().into(),
                observation.resource_version.clone().into(),
                observation.ownership_digest.clone().into(),
                to_json(&observation.images)?.into(),
                self.request.epoch.into(),
                self.request.sequence.into(),
                to_json(&observation.other_managers)?.into(),
                transaction.now.into(),
            ]));
        }
        if !values.is_empty() {
            let mut sql = Sql::new(
                "INSERT INTO inventory (id, runtime_id, instance_id, api_group, version, kind, plural, namespace, name, \
                 leftover, uid, healed_at, observed_health, observed_message, observed_uid, \
                 observed_resource_version, observed_ownership_digest, observed_images, observed_epoch, \
                 observed_sequence, observed_managers, seen_at) VALUES ",
            );
            sql.rows(values)
                .push(" ON CONFLICT (instance_id, runtime_id, api_group, kind, namespace, name) DO NOTHING");
            transaction.run(sql).await?;
        }
        Ok(instances.difference(&known).copied().collect())
    }

    /// Which of them their instances had until a while ago.
    async fn former(
        &self,
        transaction: &Transaction,
        strays: &[&Observation],
    ) -> Result<BTreeSet<(Uuid, Key)>> {
        let strays = identities(self.runtime, strays.iter().copied());
        let mut former = BTreeSet::new();
        for row in transaction
            .all(inventory::former::of(strays, transaction.now))
            .await?
        {
            let key = (
                row.get("api_group")?,
                row.get("kind")?,
                row.get("namespace")?,
                row.get("name")?,
            );
            former.insert((row.get("instance_id")?, key));
        }
        Ok(former)
    }
}
