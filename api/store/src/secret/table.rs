//! The table of secret values.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use sea_orm::Value;
use threeport_model::explain;
use uuid::Uuid;

use super::{
    redact,
    seal::{EncryptionKey, Sealed},
};
use crate::{
    broken::Broken,
    database::{
        sql::{Row, Sql},
        transaction::Transaction,
    },
    error::{Error, Result},
};

/// The statement that stores values; those that are there already are marked as used by the generation.
pub(crate) fn insert(rows: &[(Uuid, i64, &Sealed)]) -> Option<Sql> {
    if rows.is_empty() {
        return None;
    }
    let mut sql = Sql::new(
        "INSERT INTO secret_value (object_id, digest, key_id, nonce, ciphertext, generation) VALUES ",
    );
    sql.rows(rows.iter().map(|(object, generation, sealed)| {
        Vec::<Value>::from([
            (*object).into(),
            sealed.digest.clone().into(),
            sealed.key_id.clone().into(),
            sealed.nonce.clone().into(),
            sealed.ciphertext.clone().into(),
            (*generation).into(),
        ])
    }));
    sql.push(" ON CONFLICT (object_id, digest) DO UPDATE SET generation = excluded.generation");
    Some(sql)
}

/// By which generation each of the objects' values was used last, by its digest.
pub(crate) async fn generations(
    transaction: &Transaction,
    ids: &[Uuid],
) -> Result<BTreeMap<Uuid, BTreeMap<String, i64>>> {
    let mut found: BTreeMap<Uuid, BTreeMap<String, i64>> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(found);
    }
    let mut query = Sql::new("SELECT object_id, digest, generation FROM secret_value WHERE object_id IN ");
    query.list(ids);
    for row in transaction.all(query).await? {
        let values = found.entry(row.get("object_id")?).or_default();
        values.insert(row.get("digest")?, row.get("generation")?);
    }
    Ok(found)
}

/// The statement that says by which generations values are used.
pub(crate) fn mark(used: &[(Uuid, String, i64)]) -> Option<Sql> {
    if used.is_empty() {
        return None;
    }
    let mut sql = Sql::new("WITH v (object_id, digest, generation) AS (VALUES ");
    sql.rows(used.iter().map(|(object, digest, generation)| {
        Vec::<Value>::from([(*object).into(), digest.clone().into(), (*generation).into()])
    }));
    sql.push(
        ") UPDATE secret_value SET generation = v.generation FROM v \
         WHERE secret_value.object_id = v.object_id AND secret_value.digest = v.digest",
    );
    Some(sql)
}

/// The statement that removes values.
pub(crate) fn forget(values: &[(Uuid, String)]) -> Option<Sql> {
    if values.is_empty() {
        return None;
    }
    let mut sql = Sql::new("DELETE FROM secret_value WHERE (object_id, digest) IN (VALUES ");
    let row =
        |(object, digest): &(Uuid, String)| Vec::<Value>::from([(*object).into(), digest.clone().into()]);
    sql.rows(values.iter().map(row)).push(")");
    Some(sql)
}

/// The statement of all values of objects.
pub(crate) fn of_objects(ids: &[Uuid]) -> Sql {
    let mut query =
        Sql::new("SELECT object_id, digest, key_id, nonce, ciphertext FROM secret_value WHERE object_id IN ");
    query.list(ids);
    query
}

/// The values behind the placeholders in the texts of objects, base64, by placeholder; of those apart of which one can't
/// be read.
pub(crate) async fn values(
    transaction: &Transaction,
    key: Option<&EncryptionKey>,
    texts: &[(Uuid, &str)],
    broken: &mut Broken,
) -> Result<BTreeMap<Uuid, BTreeMap<String, String>>> {
    let mut wanted: BTreeMap<Uuid, BTreeSet<&str>> = BTreeMap::new();
    for (id, text) in texts {
        for digest in redact::placeholders(text) {
            wanted.entry(*id).or_default().insert(digest);
        }
    }
    let mut found: BTreeMap<Uuid, BTreeMap<String, String>> = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let ids: Vec<Uuid> = wanted.keys().copied().collect();
    for row in transaction.all(of_objects(&ids)).await? {
        let object: Uuid = row.get("object_id")?;
        let digest: String = row.get("digest")?;
        if !wanted
            .get(&object)
            .is_some_and(|digests| digests.contains(digest.as_str()))
        {
            continue;
        }
        match open(&row, key, object, digest) {
            Ok((placeholder, value)) => drop(found.entry(object).or_default().insert(placeholder, value)),
            Err(error) => drop(broken.insert(object, format!("its secret values: {}", explain(&error)))),
        }
    }
    Ok(found)
}

fn open(row: &Row, key: Option<&EncryptionKey>, object: Uuid, digest: String) -> Result<(String, String)> {
    let key = key.ok_or_else(|| Error::Secret("there is no encryption key".to_owned()))?;
    let sealed = Sealed {
        key_id: row.get("key_id")?,
        nonce: row.get("nonce")?,
        ciphertext: row.get("ciphertext")?,
        digest,
    };
    let value = STANDARD.encode(key.open(object, &sealed)?.as_slice());
    Ok((redact::placeholder(&sealed.digest), value))
}
