//! The OpenAPI 3.1 document, made from the list of routes and the schemas of the kinds and of the protocol.
//!
//! OpenAPI 3.1 takes JSON Schema 2020-12 as it is, so the same `JsonSchema` derives that make the custom resources
//! make this. `openapi.json` beside the sources is checked in; a test holds them together.

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use threeport_model::{API_VERSION, KindDescriptor, Problem, kinds, object::Metadata};

use crate::router::{Access, Answer, Body, ROUTES, Route};

/// The document.
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in ROUTES.iter() {
        if route.path.contains("{plural}") {
            for kind in kinds::ALL {
                let path = route.path.replace("{plural}", kind.plural);
                add(
                    &mut paths,
                    &path,
                    route,
                    operation(route, Some(kind), &mut generator),
                );
            }
        } else {
            add(
                &mut paths,
                route.path,
                route,
                operation(route, None, &mut generator),
            );
        }
    }
    let problem = generator.subschema_for::<Problem>();
    let metadata = generator.subschema_for::<Metadata>();
    let mut schemas = Map::new();
    for kind in kinds::ALL {
        let spec = (kind.spec_schema)(&mut generator);
        let status = (kind.status_schema)(&mut generator);
        schemas.insert(kind.kind.to_owned(), object(kind, &metadata, &spec, &status));
        schemas.insert(format!("{}List", kind.kind), list(kind));
    }
    schemas.insert("AnyObject".to_owned(), any_object());
    schemas.extend(generator.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Threeport",
            "version": threeport_model::VERSION,
            "description": "The REST API of a Threeport control plane. Every answer has the header \
                            threeport-operation-id; every refusal is an RFC 9457 problem with a stable code.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {"Problem": {
                "description": "The request was refused.",
                "content": {"application/problem+json": {"schema": problem}},
            }},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    })
}

fn add(paths: &mut Map<String, Value>, path: &str, route: &Route, operation: Value) {
    let methods = paths.entry(path.to_owned()).or_insert_with(|| json!({}));
    methods[route.method.to_ascii_lowercase()] = operation;
}

fn operation(route: &Route, kind: Option<&KindDescriptor>, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route, kind),
        "summary": route.summary,
        "tags": [kind.map_or("threeport", |kind| kind.kind)],
        "parameters": parameters(route, kind.is_some()),
        "responses": {"default": {"$ref": "#/components/responses/Problem"}},
    });
    let takes_key = takes_key(route, kind.is_some());
    let kind = kind.map_or("AnyObject", |kind| kind.kind);
    let (status, mut answer) = answer(&route.answer, kind, generator);
    if takes_key {
        let description =
            "`true`: the answer of an earlier request with the same Idempotency-Key; nothing was written now";
        answer["headers"] =
            json!({"Idempotency-Replayed": {"description": description, "schema": {"type": "string"}}});
    }
    operation["responses"][status.to_string()] = answer;
    if let Some(content) = body(&route.body, kind, generator) {
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    operation["x-threeport-roles"] = match route.access {
        Access::Public => json!("public"),
        Access::Authenticated => json!("authenticated"),
        Access::Roles(roles) => {
            let names = roles
                .iter()
                .map(|role| serde_json::to_value(role).unwrap_or_default());
            std::iter::once(json!("admin")).chain(names).collect()
        }
    };
    if route.access == Access::Public {
        operation["security"] = json!([]);
    }
    operation
}

fn operation_id(route: &Route, kind: Option<&KindDescriptor>) -> String {
    let path = route.path.replace("{plural}", kind.map_or("", |kind| kind.kind));
    let words = path
        .split(['/', '{', '}', '.'])
        .filter(|word| !word.is_empty() && *word != "v1alpha1");
    let capitals = words.map(|word| format!("{}{}", word[..1].to_ascii_uppercase(), &word[1..]));
    format!(
        "{}{}",
        route.method.to_ascii_lowercase(),
        capitals.collect::<String>()
    )
}

fn parameters(route: &Route, of_kind: bool) -> Vec<Value> {
    let names = route
        .path
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next());
    let path = names
        .filter(|name| !(of_kind && *name == "plural"))
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let query = route.query.iter().map(|parameter| {
        let (name, description) = (parameter.name, parameter.description);
        json!({"name": name, "in": "query", "description": description, "schema": {"type": "string"}})
    });
    let writes = !matches!(route.method, "GET");
    let takes_version = writes && route.path.ends_with("{name}");
    let if_match = takes_version.then(|| {
        let description =
            "the ETag that was read; refused (412) where the object changed since or is another";
        json!({"name": "If-Match", "in": "header", "description": description, "schema": {"type": "string"}})
    });
    let key = takes_key(route, of_kind).then(|| {
        let description = "the same request with the same key happens once within 24 h; its answer is given again, \
                           with the header Idempotency-Replayed";
        json!({"name": "Idempotency-Key", "in": "header", "description": description, "schema": {"type": "string"}})
    });
    path.chain(query).chain(if_match).chain(key).collect()
}

/// Whether the route takes an idempotency key, and says whether its answer was kept.
fn takes_key(route: &Route, of_kind: bool) -> bool {
    let is_object_write = route.method != "GET" && (of_kind || matches!(route.body, Body::Objects));
    is_object_write && !route.path.ends_with("/status")
}

fn body(body: &Body, kind: &str, generator: &mut SchemaGenerator) -> Option<Value> {
    let schema = json!({"$ref": format!("#/components/schemas/{kind}")});
    match body {
        Body::None => None,
        Body::Json(schema) | Body::Source(schema) => {
            Some(json!({"application/json": {"schema": schema(generator)}}))
        }
        Body::Object => {
            Some(json!({"application/json": {"schema": schema}, "application/yaml": {"schema": schema}}))
        }
        Body::MergePatch => Some(json!({"application/merge-patch+json": {"schema": {"type": "object"}}})),
        Body::Objects => {
            let any = json!({"$ref": "#/components/schemas/AnyObject"});
            let schema = json!({"oneOf": [any, {"type": "array", "items": any}]});
            Some(json!({"application/json": {"schema": schema}, "application/yaml": {"schema": schema}}))
        }
    }
}

fn answer(answer: &Answer, kind: &str, generator: &mut SchemaGenerator) -> (u16, Value) {
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let of_json =
        |schema: Value| json!({"description": "Done.", "content": {"application/json": {"schema": schema}}});
    match answer {
        Answer::Json(status, schema) => (*status, of_json(schema(generator).to_value())),
        Answer::Object(status) => (*status, of_json(reference(kind))),
        Answer::List => (200, of_json(reference(&format!("{kind}List")))),
        Answer::Other(status, "") => (*status, json!({"description": "Done."})),
        Answer::Other(status, media) => (*status, json!({"description": "Done.", "content": {*media: {}}})),
    }
}

fn object(
    kind: &KindDescriptor,
    metadata: &schemars::Schema,
    spec: &schemars::Schema,
    status: &schemars::Schema,
) -> Value {
    json!({
        "type": "object",
        "description": kind.description,
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": kind.kind},
            "metadata": metadata,
            "spec": spec,
            "status": status,
        },
    })
}

fn list(kind: &KindDescriptor) -> Value {
    json!({
        "type": "object",
        "description": "A page, in the order of names.",
        "required": ["items"],
        "properties": {
            "items": {"type": "array", "items": {"$ref": format!("#/components/schemas/{}", kind.kind)}},
            "continue": {"type": "string", "description": "Pass it as ?continue= for the next page."},
            "watchToken": {"type": "string", "description": "Where a watch that follows this list starts."},
        },
    })
}

fn any_object() -> Value {
    let each = kinds::ALL
        .iter()
        .map(|kind| json!({"$ref": format!("#/components/schemas/{}", kind.kind)}));
    json!({"oneOf": each.collect::<Vec<_>>()})
}
