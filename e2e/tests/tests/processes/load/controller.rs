//! A controller that has nothing to do in the world: takes what is due, says that it is done, and ends what is being
//! deleted. So names become free again, and pending rows go where they may go and only there.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use serde_json::json;
use threeport_model::{
    Condition, ConditionStatus,
    condition::{ACCEPTED, READY},
    protocol::claim::{Claim, ClaimRequest, ClaimResponse, CompleteRequest, Next, StatusUpdate},
};
use tokio::sync::Notify;

use super::{
    rest::{Answer, Request, Rest},
    write::{DEFINITION, INSTANCE},
};

/// Between two looks: a busy one would be most of the load.
const PAUSE: Duration = Duration::from_millis(20);

/// Works until `done`.
pub(crate) async fn work(rest: Arc<Rest>, holder: String, done: Arc<Notify>) -> Result<()> {
    loop {
        round(&rest, &holder).await?;
        if tokio::time::timeout(PAUSE, done.notified()).await.is_ok() {
            return Ok(());
        }
    }
}

/// Works until nothing is due. For a database that does not fail.
pub(crate) async fn drain(rest: &Rest, holder: &str) -> Result<()> {
    while round(rest, holder).await? > 0 {}
    Ok(())
}

/// Takes what is due and ends it; answers how much that was.
async fn round(rest: &Rest, holder: &str) -> Result<usize> {
    let request = ClaimRequest {
        holder: holder.to_owned(),
        kinds: vec![DEFINITION.to_owned(), INSTANCE.to_owned()],
        ids: Vec::new(),
        limit: 16,
        // What a lost answer takes along is due again soon.
        ttl_seconds: 1,
    };
    let claims = match rest.send(&Request::post("/v1alpha1/claims", &request)?).await {
        Answer::Acknowledged { body, .. } => serde_json::from_value::<ClaimResponse>(body)?.claims,
        Answer::Unanswered(_) => return Ok(0),
        other => bail!("a claim was answered {other:?}"),
    };
    for claim in &claims {
        // A claim that was lost meanwhile is refused, and what is not answered is claimed again.
        if let Answer::Wrong(text) = rest
            .send(&Request::post("/v1alpha1/claims/complete", &end(claim))?)
            .await
        {
            bail!(text);
        }
    }
    Ok(claims.len())
}

fn end(claim: &Claim) -> CompleteRequest {
    let object = &claim.object;
    let gone = object.is_deleting() && object.kind == INSTANCE;
    let generation = object.generation();
    let conditions =
        [ACCEPTED, READY].map(|kind| Condition::new(kind, ConditionStatus::True, "Done", "", generation));
    let mut status = json!({"observedGeneration": generation, "conditions": conditions});
    let named = object.spec["definition"].as_str();
    let definition = claim
        .references
        .iter()
        .find(|found| Some(found.metadata.name.as_str()) == named);
    if let Some(definition) = definition {
        status["revision"] = json!({"definition": definition.generation(), "instance": generation});
    }
    let update = StatusUpdate {
        observed_generation: generation,
        status,
    };
    CompleteRequest {
        id: object.id(),
        epoch: claim.epoch,
        token: claim.token.clone(),
        status: (!gone).then_some(update),
        next: Next::Done,
        inventory: Vec::new(),
        inventory_removed: Vec::new(),
        events: Vec::new(),
        finalize: gone,
    }
}
