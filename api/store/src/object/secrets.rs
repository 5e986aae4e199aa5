//! The secret values of what is written: sealed where they are new, marked as used where they come back as placeholders,
//! forgotten where only specifications of long ago had them.

use uuid::Uuid;

use super::{change::Change, write::Context};
use crate::{
    error::{Error, Result},
    secret::{seal::Sealed, table},
    sql::Sql,
    transaction::Transaction,
};

/// For how many generations a secret value that is no longer used is kept, so that a former specification can be applied
/// again as it is shown.
const GENERATIONS: i64 = 10;

/// Seals the new values of changes. Answers object, generation and value, to be stored.
pub(crate) async fn seal(
    transaction: &Transaction,
    context: &Context<'_>,
    changes: &[&Change<'_>],
) -> Result<Vec<(Uuid, i64, Sealed)>> {
    let mut sealed = Vec::new();
    for change in changes {
        forget(transaction, change).await?;
        let redacted = &change.draft.redacted;
        if !redacted.kept.is_empty() {
            let known = table::known(transaction, change.id()).await?;
            let unknown = |(digest, _): &(&String, _)| {
                !known.contains(*digest) && !redacted.values.contains_key(*digest)
            };
            let errors: Vec<_> = redacted
                .kept
                .iter()
                .filter(unknown)
                .map(|(_, error)| error.clone())
                .collect();
            if !errors.is_empty() {
                return Err(Error::Invalid {
                    what: change.draft.reference(),
                    errors,
                });
            }
            let mut mark = Sql::new("UPDATE secret_value SET generation = ");
            mark.bind(change.generation())
                .push(" WHERE object_id = ")
                .bind(change.id())
                .push(" AND digest IN ");
            mark.list(&redacted.kept.keys().cloned().collect::<Vec<_>>());
            transaction.run(mark).await?;
        }
        seal_new(context, change, &mut sealed)?;
    }
    Ok(sealed)
}

/// Seals the values of a change that no former specification can have had.
pub(crate) fn seal_new(
    context: &Context<'_>,
    change: &Change<'_>,
    sealed: &mut Vec<(Uuid, i64, Sealed)>,
) -> Result<()> {
    for value in change.draft.redacted.values.values() {
        let key = context
            .key
            .ok_or_else(|| Error::Secret("there is no encryption key".to_owned()))?;
        let one = key.seal(change.id(), value, context.random.bytes())?;
        sealed.push((change.id(), change.generation(), one));
    }
    Ok(())
}

/// Removes secret values that only former specifications had, too long ago to come back.
async fn forget(transaction: &Transaction, change: &Change<'_>) -> Result<()> {
    let redacted = &change.draft.redacted;
    if change.old.is_none() || (redacted.kept.is_empty() && redacted.values.is_empty()) {
        return Ok(());
    }
    let delete = Sql::new("DELETE FROM secret_value WHERE object_id = $1 AND generation < $2");
    let oldest = change.generation() - GENERATIONS;
    transaction
        .run(delete.values([change.id().into(), oldest.into()]))
        .await
        .map(drop)
}
