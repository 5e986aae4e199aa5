//! Lists: page by page, or whole or not at all. What decides whether something is removed or written must not rest on a
//! first page.

use kube::{api::ListParams, core::Request};
use serde_json::Value;

use super::{Resource, Target, TargetError};

/// How many objects a page has at most.
const PAGE: u32 = 500;
/// How many pages of whole objects are read at most.
const PAGES: u32 = 20;

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Its objects.
    pub items: Vec<Value>,
    /// Where the next one begins; nothing after the last.
    pub next: Option<String>,
}

impl Target {
    /// A page of metadata of the objects of a kind, in one namespace unless that is empty: the first, or the one that
    /// begins at `from`. Only with the last page is the list complete.
    pub async fn page_of_metadata(
        &self,
        resource: &Resource,
        namespace: &str,
        from: Option<String>,
    ) -> Result<Page, TargetError> {
        let parameters = page_from(from);
        let request = Request::new(resource.path(namespace)).list_metadata(&parameters);
        page(&self.call(request, "list", resource).await?)
    }

    /// All whole objects of a kind in a namespace: to the last page, or unknown.
    pub async fn list(&self, resource: &Resource, namespace: &str) -> Result<Vec<Value>, TargetError> {
        let (mut objects, mut from) = (Vec::new(), None);
        for _ in 0..PAGES {
            let request = Request::new(resource.path(namespace)).list(&page_from(from));
            let Page { items, next } = page(&self.call(request, "list", resource).await?)?;
            objects.extend(items);
            if next.is_none() {
                return Ok(objects);
            }
            from = next;
        }
        let message = format!("there are more than {} {}", PAGE * PAGES, resource.plural);
        Err(TargetError::Unreachable(message))
    }
}

fn page_from(from: Option<String>) -> ListParams {
    ListParams {
        limit: Some(PAGE),
        continue_token: from,
        ..ListParams::default()
    }
}

fn page(list: &Value) -> Result<Page, TargetError> {
    let next = list["metadata"]["continue"].as_str();
    Ok(Page {
        items: items(list)?,
        next: next.filter(|token| !token.is_empty()).map(str::to_owned),
    })
}

/// What a list holds. An answer that is no list is not an empty one.
fn items(list: &Value) -> Result<Vec<Value>, TargetError> {
    match list.get("items") {
        Some(Value::Array(items)) => Ok(items.clone()),
        Some(Value::Null) if list["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => {
            Ok(Vec::new())
        }
        _ => Err(TargetError::Unreachable("the answer is not a list".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::fake::{self, Asked},
        *,
    };

    /// A cluster whose lists have these pages; an error is a page's status.
    fn cluster(pages: Vec<Result<Value, u16>>) -> Target {
        let answer = move |asked: &Asked| {
            let mut query = asked.query.split('&');
            let from = query.find_map(|pair| pair.strip_prefix("continue="));
            let number: usize = from.map_or(0, |from| from.parse().unwrap());
            match &pages[number] {
                Ok(items) => {
                    let last = number + 1 == pages.len();
                    let next = if last {
                        String::new()
                    } else {
                        (number + 1).to_string()
                    };
                    Some((
                        200,
                        json!({"kind": "List", "metadata": {"continue": next}, "items": items}),
                    ))
                }
                Err(code) => fake::status(*code, "no"),
            }
        };
        fake::target(answer).0
    }

    async fn listed(pages: Vec<Result<Value, u16>>) -> Result<Vec<Value>, TargetError> {
        cluster(pages).list(&Resource::namespace(), "").await
    }

    #[tokio::test]
    async fn every_page_is_read() {
        // A server may give fewer objects than were asked for, or none: that is not the end.
        let pages = vec![Ok(json!([1, 2])), Ok(json!([])), Ok(json!([3]))];
        assert_eq!(listed(pages).await.unwrap(), [1, 2, 3].map(Value::from));
    }

    #[tokio::test]
    async fn a_list_without_its_rest_is_unknown_and_not_short_or_absent() {
        for code in [410, 429, 500, 503, 504] {
            let listed = listed(vec![Ok(json!([1])), Err(code)]).await;
            assert!(listed.as_ref().unwrap_err().is_unknown(), "{code}: {listed:?}");
        }
        assert!(listed(vec![Ok(json!([])); 21]).await.unwrap_err().is_unknown());
    }

    #[test]
    fn what_is_no_list_is_not_an_empty_one() {
        let empty: [Value; 0] = [];
        assert_eq!(items(&json!({"kind": "PodList", "items": null})).unwrap(), empty);
        for answer in [
            json!({}),
            json!({"items": null}),
            json!({"kind": "Pod", "items": "x"}),
        ] {
            assert!(items(&answer).unwrap_err().is_unknown(), "{answer}");
        }
    }
}
