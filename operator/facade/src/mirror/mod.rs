//! API -> custom resource: what the API owns is shown, and what Kubernetes lost of what it manages is made again.
//!
//! [`plan`] decides, [`project`] says what a resource looks like, [`write`] writes it.

pub(crate) mod plan;
pub(crate) mod project;
pub(crate) mod story;
pub(crate) mod write;

use kube::core::DynamicObject;
use serde_json::Value;
use threeport_model::{KindDescriptor, Object};

use crate::{
    context::Context,
    generation::Position,
    queue::{Key, Next},
    reconcile::Error,
    resource,
};
use plan::Action;

/// One run for a key whose resource, if there is one, is a mirror.
pub(crate) async fn run(
    context: &Context,
    kind: &'static KindDescriptor,
    found: Option<&DynamicObject>,
    object: Option<&Object>,
) -> Result<Next, Error> {
    let action = decide(context, found, object);
    let api = context.api(kind);
    match (action, found, object) {
        (Action::Create, _, Some(object)) => {
            let made = write::create(&api, project::mirror(kind, object)).await?;
            show(context, kind, &made, object).await
        }
        (Action::Update, Some(found), Some(object)) => {
            let changed = project::updated(kind, found, object);
            match write::replace(&api, changed).await? {
                Some(made) => show(context, kind, &made, object).await,
                // A rule of the definition stands against the change itself: make it anew.
                None => delete(context, kind, found).await,
            }
        }
        (Action::Status, Some(found), Some(object)) => show(context, kind, found, object).await,
        (Action::Delete, Some(found), _) => delete(context, kind, found).await,
        _ => Ok(Next::Done),
    }
}

/// Whether a run would write nothing.
pub(crate) fn is_settled(
    context: &Context,
    kind: &'static KindDescriptor,
    found: Option<&DynamicObject>,
    object: &Object,
) -> bool {
    match (decide(context, found, Some(object)), found) {
        (Action::Leave, _) => true,
        (Action::Status, Some(found)) => {
            resource::is_mirror(found)
                && project::same_status(resource::status(found), &status(kind, found, object))
        }
        _ => false,
    }
}

fn decide(context: &Context, found: Option<&DynamicObject>, object: Option<&Object>) -> Action {
    let selected = |object: &Object| context.options.mirror_selector.matches(&object.metadata.labels);
    plan::plan(found, object, selected, context.is_closing())
}

fn status(kind: &'static KindDescriptor, found: &DynamicObject, object: &Object) -> Value {
    let equal = plan::shows_spec(found, object);
    let previous = project::observed_generation(found);
    let view = project::View {
        kind,
        object: Some(object),
        position: Position::of_mirror(resource::generation(found), equal, object, previous),
        previous: resource::status(found),
        synced: project::Synced::yes(),
        deletion_blocked: None,
        deleting: resource::is_deleting(found),
        operation_id: None,
    };
    project::status(&view, jiff::Timestamp::now())
}

async fn show(
    context: &Context,
    kind: &'static KindDescriptor,
    found: &DynamicObject,
    object: &Object,
) -> Result<Next, Error> {
    if !resource::is_mirror(found) {
        // A resource that Kubernetes manages was made again; the watch brings it to intake.
        return Ok(Next::Done);
    }
    let status = status(kind, found, object);
    let changed = story::ready_changed(resource::status(found), &status);
    let written = write::status(&context.api(kind), found, status).await?;
    context.shows(kind, object, written.is_some());
    if let Some(written) = written {
        context
            .echoes
            .expect(Key::new(kind, &object.metadata.name), &written);
    }
    if changed {
        story::tell(context, kind, found).await;
    }
    Ok(Next::Done)
}

async fn delete(
    context: &Context,
    kind: &'static KindDescriptor,
    found: &DynamicObject,
) -> Result<Next, Error> {
    write::delete(&context.api(kind), found).await?;
    // The watch tells that it is gone, and then it is made anew where there is still an object.
    Ok(Next::Done)
}
