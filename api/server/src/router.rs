//! From the list of routes to a router, and what stands before every handler.
//!
//! [`Route`] is the one place where a route says what it is: method, path, who may use it, which query parameters it
//! takes, what goes in and out. The router, the authorization table, the OpenAPI document and the tests that
//! enumerate all routes are made from that list, so none of them can forget one.

use std::{sync::LazyLock, time::Instant};

use axum::{
    Router,
    body::HttpBody,
    extract::{Request, State},
    http::Uri,
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::MethodRouter,
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use threeport_model::{FieldError, problem::Code, protocol::whoami::Role};

use crate::{app::App, authentication::Caller, connections::Known, operation, problem::ApiError, routes};

/// Makes the schema of what goes in or out.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`.
pub fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// One route.
pub struct Route {
    /// As in `GET`.
    pub method: &'static str,
    /// The template, as in `/v1alpha1/{plural}/{name}`.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    /// The query parameters that it takes; others are refused.
    pub query: &'static [Parameter],
    /// One sentence.
    pub summary: &'static str,
    /// What goes in.
    pub body: Body,
    /// What comes out.
    pub answer: Answer,
    /// Serves it.
    pub handler: fn() -> MethodRouter<App>,
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, without credentials.
    Public,
    /// Everybody with credentials.
    Authenticated,
    /// Admins and these.
    Roles(&'static [Role]),
}

impl Access {
    /// Whether somebody with `role` may.
    pub fn allows(self, role: Role) -> bool {
        match self {
            Self::Public | Self::Authenticated => true,
            Self::Roles(roles) => role == Role::Admin || roles.contains(&role),
        }
    }
}

/// A query parameter.
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// One sentence.
    pub description: &'static str,
}

/// What goes in.
pub enum Body {
    /// Nothing.
    None,
    /// JSON of a protocol type.
    Json(SchemaOf),
    /// JSON of a protocol type that brings an object.
    Source(SchemaOf),
    /// One object of the path's kind, JSON or YAML.
    Object,
    /// A merge patch of an object.
    MergePatch,
    /// Any number of objects, JSON or YAML.
    Objects,
}

impl Body {
    /// How many bytes of objects a request has, as far as it says. What controllers and agents say is none of it: they don't
    /// wait for whoever writes objects.
    fn bytes_of_objects(&self, request: &Request) -> u64 {
        match self {
            Self::Source(_) | Self::Object | Self::MergePatch | Self::Objects => {
                request.body().size_hint().upper().unwrap_or(u64::MAX)
            }
            Self::None | Self::Json(_) => 0,
        }
    }
}

/// What comes out.
pub enum Answer {
    /// JSON of a protocol type.
    Json(u16, SchemaOf),
    /// An object of the path's kind.
    Object(u16),
    /// A page of objects of the path's kind.
    List,
    /// Something else, of this media type.
    Other(u16, &'static str),
}

/// A request that is a stream has no time limit, and a bound of its own.
pub const WATCH_PATH: &str = "/v1alpha1/watch";

/// What reads or writes the database is below it.
const DATABASE_PATHS: &str = "/v1alpha1/";

/// Every route that is served.
pub static ROUTES: LazyLock<Vec<&'static Route>> = LazyLock::new(|| {
    let groups = [
        routes::objects::ROUTES,
        routes::apply::ROUTES,
        routes::status::ROUTES,
        routes::history::ROUTES,
        routes::sources::ROUTES,
        routes::claims::ROUTES,
        routes::inventory::ROUTES,
        routes::agents::ROUTES,
        routes::events::ROUTES,
        routes::operations::ROUTES,
        routes::watch::ROUTES,
        routes::health::ROUTES,
        routes::whoami::ROUTES,
        routes::openapi::ROUTES,
    ];
    groups.into_iter().flatten().collect()
});

/// The whole API.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in ROUTES.iter() {
        let guarded = (route.handler)().route_layer(from_fn_with_state((app.clone(), *route), guard));
        router = router.route(route.path, guarded);
    }
    router
        .layer(from_fn_with_state(app.clone(), operation::layer))
        .with_state(app)
}

/// Among the extensions of a request that has room for its body: a handler that waited for more would wait for itself, or
/// for another one that waits for it.
#[derive(Clone, Copy)]
pub struct HasRoom;

/// What stands before every handler: who asks, whether he may, the query, the schema, and a place. The place is last: who is not
/// known takes none from those who are.
async fn guard(
    State((app, route)): State<(App, &'static Route)>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if route.access == Access::Public {
        check_query(route, request.uri())?;
        return Ok(next.run(request).await);
    }
    let caller = app.authenticator.caller(request.headers()).await?;
    app.admission.count(&caller.actor, Instant::now())?;
    authorize(route, &caller)?;
    check_query(route, request.uri())?;
    if route.path.starts_with(DATABASE_PATHS) {
        let fit = app.health.fit();
        fit.map_err(|reason| ApiError::new(Code::Unavailable, reason))?;
    }
    let is_watch = route.path == WATCH_PATH;
    let _place = if is_watch {
        None
    } else {
        Some(app.admission.request()?)
    };
    if caller.role != Role::None
        && let Some(known) = request.extensions().get::<Known>()
    {
        known.note();
    }
    request.extensions_mut().insert(caller);
    let bytes = route.body.bytes_of_objects(&request);
    let answer = async {
        let room = app.admission.room(bytes).await;
        if room.is_some() {
            request.extensions_mut().insert(HasRoom);
        }
        next.run(request).await
    };
    if is_watch {
        return Ok(answer.await);
    }
    tokio::time::timeout(app.timeout, answer).await.map_err(|_| {
        let detail = format!("the request was not done within {} s and was given up", app.timeout.as_secs());
        ApiError::new(Code::Unavailable, detail)
            .next("GET /v1alpha1/operations/{operationId} says whether a write was done all the same; else try again")
    })
}

fn authorize(route: &Route, caller: &Caller) -> Result<(), ApiError> {
    if route.access.allows(caller.role) {
        return Ok(());
    }
    let detail = format!("{} may not {} {}", caller.actor, route.method, route.path);
    Err(ApiError::new(Code::Forbidden, detail))
}

/// Unknown and repeated parameters are mistakes that nobody would notice otherwise.
fn check_query(route: &Route, uri: &Uri) -> Result<(), ApiError> {
    let mut seen = Vec::new();
    let mut errors = Vec::new();
    for pair in uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let name = pair.split('=').next().unwrap_or_default();
        if !route.query.iter().any(|parameter| parameter.name == name) {
            let known: Vec<_> = route.query.iter().map(|parameter| parameter.name).collect();
            let message = match known.as_slice() {
                [] => "is not a query parameter; this route takes none".to_owned(),
                known => format!(
                    "is not a query parameter of this route; it takes {}",
                    known.join(", ")
                ),
            };
            errors.push(FieldError::new(name, message));
        } else if seen.contains(&name) {
            errors.push(FieldError::new(name, "is given more than once"));
        }
        seen.push(name);
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(errors))
    }
}
