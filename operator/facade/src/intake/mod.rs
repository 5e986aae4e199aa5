//! Custom resource -> API: what people and GitOps tools write is brought to the database, and they are told on the
//! resource what became of it.
//!
//! The order per resource: our finalizer first (so that its deletion can't be missed), then the desired state, then
//! status. [`plan`] decides; [`finalizer`] holds and lets go; [`refusal`] says what was refused. A resource that is behind
//! what was taken from it ([`regression`]) is brought back first.

pub(crate) mod finalizer;
pub(crate) mod plan;
pub(crate) mod refusal;
pub(crate) mod regression;
pub(crate) mod removal;
pub(crate) mod sending;
pub(crate) mod unreachable;

use kube::core::DynamicObject;
use serde_json::Value;
use threeport_model::{ConditionStatus, KindDescriptor, Object};

use crate::{
    context::Context,
    generation::Position,
    mirror::{project, story, write},
    queue::{Key, Next},
    reconcile::Error,
    resource,
};
use plan::Action;

/// How a run ended, before it is written down.
pub(crate) struct Outcome {
    pub(crate) synced: project::Synced,
    pub(crate) object: Option<Object>,
    pub(crate) deletion_blocked: Option<project::Blocked>,
    pub(crate) operation_id: Option<String>,
    pub(crate) next: Next,
}

/// One run for a key whose resource is somebody else's.
pub(crate) async fn run(
    context: &Context,
    kind: &'static KindDescriptor,
    key: &Key,
    found: &DynamicObject,
    object: Option<&Object>,
) -> Result<Next, Error> {
    if let Some(object) = object.filter(|object| regression::is_behind(found, object))
        && !context.is_closing()
    {
        return regression::mend(context, kind, key, found, object).await;
    }
    act(context, kind, key, found, object, false).await
}

/// `regressed`: the resource was seen to be behind what was taken from it.
async fn act(
    context: &Context,
    kind: &'static KindDescriptor,
    key: &Key,
    found: &DynamicObject,
    object: Option<&Object>,
    regressed: bool,
) -> Result<Next, Error> {
    match plan::plan(found, object, context.is_closing()) {
        Action::Leave => Ok(Next::Done),
        Action::Release => {
            finalizer::remove(&context.api(kind), found).await?;
            Ok(Next::Done)
        }
        Action::Hold => {
            let held = finalizer::add(&context.api(kind), found).await?;
            send(context, kind, key, &held, object, regressed).await
        }
        Action::Send => send(context, kind, key, found, object, regressed).await,
        Action::Show => {
            let outcome = sending::unchanged(found, object);
            show(context, kind, found, outcome).await
        }
        Action::Remove => match removal::remove(context, kind, key, found, object, regressed).await? {
            Some(outcome) => show(context, kind, found, outcome).await,
            None => Ok(Next::Done),
        },
    }
}

async fn send(
    context: &Context,
    kind: &'static KindDescriptor,
    key: &Key,
    found: &DynamicObject,
    object: Option<&Object>,
    regressed: bool,
) -> Result<Next, Error> {
    match sending::send(context, kind, key, found, object, regressed).await? {
        Some(outcome) => show(context, kind, found, outcome).await,
        None => Ok(Next::Done),
    }
}

async fn show(
    context: &Context,
    kind: &'static KindDescriptor,
    found: &DynamicObject,
    outcome: Outcome,
) -> Result<Next, Error> {
    let object = outcome.object.as_ref();
    let position = position(found, &outcome);
    let status = status(kind, found, &outcome, position);
    let refused = refusal::unsaid(found, &status);
    let changed = story::ready_changed(resource::status(found), &status);
    let written = write::status(&context.api(kind), found, status).await?;
    if let Some(object) = object {
        context.shows(kind, object, written.is_some());
    }
    if changed && position.synced.is_some() {
        story::tell(context, kind, found).await;
    }
    if let Some(refused) = refused {
        refusal::warn(context, kind, found, &refused).await;
    }
    Ok(outcome.next)
}

/// Whether a run would write nothing.
pub(crate) fn is_settled(
    context: &Context,
    kind: &'static KindDescriptor,
    found: &DynamicObject,
    object: &Object,
) -> bool {
    match plan::plan(found, Some(object), context.is_closing()) {
        Action::Leave => true,
        Action::Show => {
            let outcome = sending::unchanged(found, Some(object));
            let status = status(kind, found, &outcome, position(found, &outcome));
            project::same_status(resource::status(found), &status)
        }
        _ => false,
    }
}

fn position(found: &DynamicObject, outcome: &Outcome) -> Position {
    let is_same_state = outcome.synced.status == ConditionStatus::True || resource::is_synced(found);
    Position::of_source(
        resource::generation(found),
        resource::uid(found),
        outcome.object.as_ref(),
        is_same_state,
        project::observed_generation(found),
    )
}

fn status(
    kind: &'static KindDescriptor,
    found: &DynamicObject,
    outcome: &Outcome,
    position: Position,
) -> Value {
    let view = project::View {
        kind,
        object: outcome.object.as_ref().filter(|_| position.synced.is_some()),
        position,
        previous: resource::status(found),
        synced: outcome.synced.clone(),
        deletion_blocked: outcome.deletion_blocked.clone(),
        deleting: resource::is_deleting(found),
        operation_id: outcome.operation_id.clone(),
    };
    project::status(&view, jiff::Timestamp::now())
}
