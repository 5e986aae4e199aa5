//! Requests that came before: by idempotency key (scoped to actor and route, answers kept for a day), and by operation
//! id after an ambiguous commit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use threeport_model::{
    Object,
    protocol::apply::{Applied, Outcome},
};
use uuid::Uuid;

use crate::{
    Store,
    database::sql::{Fetch, Row, Sql, from_json},
    document,
    error::{Error, Result},
    object::row::ObjectRow,
    request::{Request, Written},
};

/// An object of an answer as it is kept with the operation: the document apart.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) outcome: Outcome,
    pub(crate) object: Object,
    pub(crate) document: Option<String>,
}

/// Keeps an object of an answer.
pub(crate) fn keep(outcome: Outcome, row: &ObjectRow) -> Result<Kept> {
    let mut object = row.served()?;
    object.spec = from_json("spec", &row.spec_text)?;
    Ok(Kept {
        outcome,
        object,
        document: row.document.clone(),
    })
}

impl Store {
    /// The answer to the same request, where there was one. [`Error::IdempotencyMismatch`] where the key came with
    /// another body.
    pub async fn idempotency_find(&self, request: &Request) -> Result<Option<Written>> {
        let Some(idempotency) = &request.idempotency else {
            return Ok(None);
        };
        let query = Sql::new(
            "SELECT id, body_digest, changes, answer FROM operation WHERE actor = $1 AND route = $2 \
             AND idempotency_key = $3",
        )
        .values([
            request.actor.clone().into(),
            request.route.clone().into(),
            idempotency.key.clone().into(),
        ]);
        let Some(row) = self.reader().one(query).await? else {
            return Ok(None);
        };
        let digest: Option<String> = row.get("body_digest")?;
        if digest.as_deref() != Some(&idempotency.body_digest) {
            return Err(Error::IdempotencyMismatch(idempotency.key.clone()));
        }
        self.answer(&row).await.map(Some)
    }

    /// The answer to a request whose key was found used.
    pub(crate) async fn idempotency_answer(&self, request: &Request) -> Result<Written> {
        let found = self.idempotency_find(request).await?;
        found
            .ok_or_else(|| Error::Conflict("the answer for this idempotency key expired just now".to_owned()))
    }

    /// The answer to an operation that had committed.
    pub(crate) async fn operation_answer(&self, id: Uuid) -> Result<Written> {
        let query = Sql::new("SELECT id, changes, answer FROM operation WHERE id = $1").values([id.into()]);
        match self.reader().one(query).await? {
            Some(row) => self.answer(&row).await,
            None => Err(Error::not_found("Operation", &id.to_string())),
        }
    }

    /// The kept answer or, where none is kept, the objects that it changed, as they are now.
    async fn answer(&self, row: &Row) -> Result<Written> {
        let operation_id = row.get("id")?;
        let answer: Option<String> = row.get("answer")?;
        let results = match answer {
            Some(answer) => self.restore(from_json("answer", &answer)?).await?,
            None => self.results_of(row).await?,
        };
        Ok(Written {
            operation_id,
            results,
            notices: Vec::new(),
            replayed: true,
        })
    }

    async fn restore(&self, kept: Vec<Kept>) -> Result<Vec<Applied>> {
        let digests: Vec<String> = kept.iter().filter_map(|kept| kept.document.clone()).collect();
        let mut documents: BTreeMap<String, String> = BTreeMap::new();
        if !digests.is_empty() {
            let mut query = Sql::new("SELECT digest, content FROM document WHERE digest IN ");
            query.list(&digests);
            for row in self.reader().all(query).await? {
                documents.insert(row.get("digest")?, row.get("content")?);
            }
        }
        let mut results = Vec::with_capacity(kept.len());
        for Kept {
            outcome,
            mut object,
            document,
        } in kept
        {
            if let Some(digest) = document {
                let content = documents.get(&digest).cloned();
                let content = content.ok_or_else(|| Error::not_found("Document", &digest))?;
                object.spec[document::FIELD] = Value::String(content);
            }
            results.push(Applied { outcome, object });
        }
        Ok(results)
    }

    async fn results_of(&self, row: &Row) -> Result<Vec<Applied>> {
        use threeport_model::kinds::operation::{ChangeKind, ChangedObject};
        let changes: Vec<ChangedObject> = row.json("changes")?;
        let mut results = Vec::with_capacity(changes.len());
        for change in changes {
            let outcome = match change.change {
                ChangeKind::Created => Outcome::Created,
                ChangeKind::Updated | ChangeKind::Deleted => Outcome::Configured,
            };
            results.push(Applied {
                outcome,
                object: self.object_by_id(change.id, true).await?,
            });
        }
        Ok(results)
    }
}
