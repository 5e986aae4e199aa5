//! Objects: read, write, apply, and what the facade brings.

use reqwest::Method;
use serde_json::Value;
use threeport_model::{
    Etag, KindDescriptor, Object,
    kinds::{
        event::Event,
        operation::{Operation, Revision},
    },
    object::ObjectList,
    protocol::{
        apply::{Applied, ApplyResponse},
        inventory::InventoryRow,
        source::SourceRequest,
    },
};

use crate::{Client, Error, request::segment};

/// What becomes of what refers to a deleted object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// The deletion is refused while something refers to it.
    #[default]
    Refuse,
    /// It is deleted too.
    Cascade,
}

/// Which objects of a kind, and how many at once.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// The most objects in one page; the server's default where absent.
    pub limit: Option<u32>,
    /// From the page before.
    pub continue_token: Option<String>,
    /// As in `app=web,tier!=test`.
    pub label_selector: Option<String>,
}

/// What to apply.
#[derive(Clone, Debug)]
pub enum ApplyBody {
    /// Multi-document YAML as a person wrote it, so that errors can name its lines.
    Yaml(String),
    /// Objects.
    Objects(Vec<Value>),
}

fn path(kind: &KindDescriptor, name: &str) -> String {
    format!("/v1alpha1/{}/{}", kind.plural, segment(name))
}

impl Client {
    /// One object.
    pub async fn object_get(&self, kind: &KindDescriptor, name: &str) -> Result<Object, Error> {
        self.request(Method::GET, &path(kind, name))?.send().await
    }

    /// One page of objects.
    pub async fn object_list(&self, kind: &KindDescriptor, query: &ListQuery) -> Result<ObjectList, Error> {
        self.request(Method::GET, &format!("/v1alpha1/{}", kind.plural))?
            .query("limit", query.limit)
            .query("continue", query.continue_token.as_deref())
            .query("labelSelector", query.label_selector.as_deref())
            .send()
            .await
    }

    /// All objects of a kind, page by page, and the watch token of the first page.
    pub async fn object_list_all(
        &self,
        kind: &KindDescriptor,
        label_selector: Option<&str>,
    ) -> Result<(Vec<Object>, Option<String>), Error> {
        let mut query = ListQuery {
            limit: Some(500),
            continue_token: None,
            label_selector: label_selector.map(str::to_owned),
        };
        let mut objects = Vec::new();
        let mut token = None;
        loop {
            let page = self.object_list(kind, &query).await?;
            objects.extend(page.items);
            token = token.or(page.watch_token);
            match page.continue_token {
                Some(next) => query.continue_token = Some(next),
                None => return Ok((objects, token)),
            }
        }
    }

    /// Creates an object.
    pub async fn object_create(&self, kind: &KindDescriptor, object: &Object) -> Result<Object, Error> {
        self.request(Method::POST, &format!("/v1alpha1/{}", kind.plural))?
            .json(object)
            .send()
            .await
    }

    /// Replaces an object's specification, labels and annotations; with `if_match`, only where it is that version of that
    /// object.
    pub async fn object_replace(
        &self,
        kind: &KindDescriptor,
        object: &Object,
        if_match: Option<Etag>,
    ) -> Result<Object, Error> {
        self.request(Method::PUT, &path(kind, &object.metadata.name))?
            .header("if-match", if_match)
            .json(object)
            .send()
            .await
    }

    /// Changes an object by a JSON merge patch (RFC 7396).
    pub async fn object_patch(
        &self,
        kind: &KindDescriptor,
        name: &str,
        patch: &Value,
    ) -> Result<Object, Error> {
        let body = patch.to_string();
        self.request(Method::PATCH, &path(kind, name))?
            .body("application/merge-patch+json", body)
            .send()
            .await
    }

    /// Asks for an object's deletion. The answer is the object as it is now: it may live on until what it made is
    /// gone.
    pub async fn object_delete(
        &self,
        kind: &KindDescriptor,
        name: &str,
        propagation: Propagation,
    ) -> Result<Object, Error> {
        let cascade = (propagation == Propagation::Cascade).then_some("cascade");
        self.request(Method::DELETE, &path(kind, name))?
            .query("propagation", cascade)
            .send()
            .await
    }

    /// Makes the API the owner of an object that Kubernetes managed.
    pub async fn object_take_over(&self, kind: &KindDescriptor, name: &str) -> Result<Object, Error> {
        self.request(Method::POST, &format!("{}/takeover", path(kind, name)))?
            .send()
            .await
    }

    /// All desired states that an object had, newest first, page by page.
    pub async fn object_history(&self, kind: &KindDescriptor, name: &str) -> Result<Vec<Revision>, Error> {
        let path = format!("{}/history", path(kind, name));
        let mut revisions: Vec<Revision> = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self.request(Method::GET, &path)?;
            let request = request.query("continue", token.as_deref());
            let (page, next) = request.send_page::<Revision>().await?;
            revisions.extend(page);
            token = next;
            if token.is_none() {
                return Ok(revisions);
            }
        }
    }

    /// The live objects of an instance.
    pub async fn object_resources(
        &self,
        kind: &KindDescriptor,
        name: &str,
    ) -> Result<Vec<InventoryRow>, Error> {
        self.request(Method::GET, &format!("{}/resources", path(kind, name)))?
            .send()
            .await
    }

    /// What happened to an object, newest first.
    pub async fn object_events(&self, kind: &KindDescriptor, name: &str) -> Result<Vec<Event>, Error> {
        self.request(Method::GET, &format!("{}/events", path(kind, name)))?
            .send()
            .await
    }

    /// Applies many objects in one transaction.
    pub async fn apply(&self, body: ApplyBody, dry_run: bool) -> Result<ApplyResponse, Error> {
        let request = self
            .request(Method::POST, "/v1alpha1/apply")?
            .query("dryRun", dry_run.then_some(true));
        match body {
            ApplyBody::Yaml(text) => request.body("application/yaml", text),
            ApplyBody::Objects(objects) => request.json(&objects),
        }
        .send()
        .await
    }

    /// Who did what, newest first.
    pub async fn operations(&self, limit: Option<u32>) -> Result<Vec<Operation>, Error> {
        self.request(Method::GET, "/v1alpha1/operations")?
            .query("limit", limit)
            .send()
            .await
    }

    /// Brings a custom resource that Kubernetes manages.
    pub async fn source_put(&self, uid: &str, source: &SourceRequest) -> Result<Applied, Error> {
        self.request(Method::PUT, &format!("/v1alpha1/sources/{}", segment(uid)))?
            .json(source)
            .send()
            .await
    }

    /// Says that the deletion of a custom resource is meant. The answer is the object that is now being deleted;
    /// NotFound once it is gone. For `regressed` see [`SourceRequest`].
    pub async fn source_delete(
        &self,
        uid: &str,
        kind: &str,
        name: &str,
        generation: i64,
        regressed: bool,
    ) -> Result<Object, Error> {
        self.request(Method::DELETE, &format!("/v1alpha1/sources/{}", segment(uid)))?
            .query("kind", Some(kind))
            .query("name", Some(name))
            .query("generation", Some(generation))
            .query("regressed", regressed.then_some(true))
            .send()
            .await
    }
}
