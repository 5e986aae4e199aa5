//! `GET /openapi.json`, and `/docs`: the same for people, without scripts from elsewhere.

use std::{fmt::Write, sync::LazyLock};

use axum::{
    http::header,
    response::{Html, IntoResponse, Response},
    routing,
};

use crate::{
    openapi,
    router::{self, Access, Answer, Body, Route},
};

static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());
static PAGE: LazyLock<String> = LazyLock::new(page);

/// See the module.
pub const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/openapi.json",
        access: Access::Public,
        query: &[],
        summary: "This document.",
        body: Body::None,
        answer: Answer::Other(200, "application/json"),
        handler: || routing::get(document),
    },
    Route {
        method: "GET",
        path: "/docs",
        access: Access::Public,
        query: &[],
        summary: "The routes, for people.",
        body: Body::None,
        answer: Answer::Other(200, "text/html"),
        handler: || routing::get(async || Html(PAGE.as_str())),
    },
];

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

fn page() -> String {
    let mut page = String::from(
        "<!doctype html><meta charset=utf-8><title>Threeport API</title>\
         <style>body{font-family:sans-serif;margin:2em}td{padding:.2em 1em .2em 0;vertical-align:top}</style>\
         <h1>Threeport API</h1><p>For programs: <a href=/openapi.json>openapi.json</a> (OpenAPI 3.1).</p><table>",
    );
    for route in router::ROUTES.iter() {
        let (method, path, summary) = (route.method, route.path, route.summary);
        let query: Vec<_> = route.query.iter().map(|parameter| parameter.name).collect();
        let query = if query.is_empty() {
            String::new()
        } else {
            format!("?{}", query.join("&amp;"))
        };
        let _ = write!(
            page,
            "<tr><td><b>{method}</b><td><code>{path}{query}</code><td>{summary}"
        );
    }
    page.push_str("</table>");
    page
}
