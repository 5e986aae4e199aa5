//! `POST /v1alpha1/claims`, `/renew`, `/complete`: how controllers take work and give it back.

use axum::{Json, extract::State, routing};
use threeport_model::{
    find_kind,
    problem::Code,
    protocol::{
        claim::{
            ClaimRequest, ClaimResponse, CompleteRequest, CompleteResponse, MAX_CLAIMS, RenewRequest,
            RenewResponse,
        },
        whoami::Role,
    },
};

use crate::{
    app::App,
    body,
    extract::Writer,
    problem::ApiError,
    router::{Access, Answer, Body, Route, schema},
};

const CONTROLLERS: Access = Access::Roles(&[Role::Controller]);
const MAX_TTL: u32 = 300;
const MAX_ITEMS: usize = 10_000;

/// See the module.
pub const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/v1alpha1/claims",
        access: CONTROLLERS,
        query: &[],
        summary: "Takes work, with all that it refers to in the answer.",
        body: Body::Json(schema::<ClaimRequest>),
        answer: Answer::Json(200, schema::<ClaimResponse>),
        handler: || routing::post(claim),
    },
    Route {
        method: "POST",
        path: "/v1alpha1/claims/renew",
        access: CONTROLLERS,
        query: &[],
        summary: "Keeps claims; what is missing in the answer is lost.",
        body: Body::Json(schema::<RenewRequest>),
        answer: Answer::Json(200, schema::<RenewResponse>),
        handler: || routing::post(renew),
    },
    Route {
        method: "POST",
        path: "/v1alpha1/claims/complete",
        access: CONTROLLERS,
        query: &[],
        summary: "Ends a run: status, inventory, events, and what becomes of the work, in one transaction.",
        body: Body::Json(schema::<CompleteRequest>),
        answer: Answer::Json(200, schema::<CompleteResponse>),
        handler: || routing::post(complete),
    },
];

async fn claim(
    State(app): State<App>,
    writer: Writer,
    body::Json(request): body::Json<ClaimRequest>,
) -> Result<Json<ClaimResponse>, ApiError> {
    ttl(request.ttl_seconds)?;
    at_most("ids", request.ids.len(), MAX_CLAIMS)?;
    at_most("limit", request.limit as usize, MAX_CLAIMS)?;
    for (index, word) in request.kinds.iter().enumerate() {
        if find_kind(word).is_none_or(|kind| kind.kind != word) {
            return Err(ApiError::field(
                format!("kinds[{index}]"),
                format!("{word:?} is not a kind"),
            ));
        }
    }
    let (response, notices) = app.store.claim_take(&request).await?;
    // Most claims change nothing that anybody must hear of.
    if !notices.is_empty() {
        app.notifier.committed(writer.operation_id(), notices);
    }
    Ok(Json(response))
}

async fn renew(
    State(app): State<App>,
    body::Json(request): body::Json<RenewRequest>,
) -> Result<Json<RenewResponse>, ApiError> {
    ttl(request.ttl_seconds)?;
    at_most("claims", request.claims.len(), MAX_ITEMS)?;
    Ok(Json(app.store.claim_renew(&request).await?))
}

async fn complete(
    State(app): State<App>,
    writer: Writer,
    body::Json(request): body::Json<CompleteRequest>,
) -> Result<Json<CompleteResponse>, ApiError> {
    at_most("inventory", request.inventory.len(), MAX_ITEMS)?;
    at_most("inventoryRemoved", request.inventory_removed.len(), MAX_ITEMS)?;
    at_most("events", request.events.len(), MAX_ITEMS)?;
    let (response, notices) = app.store.claim_complete(&request).await?;
    app.notifier.committed(writer.operation_id(), notices);
    Ok(Json(response))
}

fn ttl(seconds: u32) -> Result<(), ApiError> {
    if (1..=MAX_TTL).contains(&seconds) {
        return Ok(());
    }
    Err(ApiError::field(
        "ttlSeconds",
        format!("must be between 1 and {MAX_TTL}"),
    ))
}

/// A list within its bound.
pub fn at_most(field: &str, count: usize, most: usize) -> Result<(), ApiError> {
    if count <= most {
        return Ok(());
    }
    let detail = format!("{field}: {count}; {most} are the most in one request");
    Err(ApiError::new(Code::TooLarge, detail))
}
