//! What a request asks of the Kubernetes API, by its method and path.

use http::{Method, Uri};
use percent_encoding::percent_decode_str;

/// As faults tell requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A read of one thing, discovery included.
    Get,
    /// A read of a collection.
    List,
    /// A read that stays open.
    Watch,
    /// Anything that may change something.
    Write,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Get, Self::List, Self::Watch, Self::Write];
    /// Those that change nothing.
    pub const READS: [Self; 3] = [Self::Get, Self::List, Self::Watch];
}

/// The kind of a request.
pub(super) fn kind(method: &Method, uri: &Uri) -> Kind {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Kind::Write;
    }
    match parameter(uri, "watch").as_deref() {
        Some("true" | "1") => Kind::Watch,
        _ if is_collection(uri.path()) => Kind::List,
        _ => Kind::Get,
    }
}

/// Whether the path is that of a collection, of one namespace or of all.
fn is_collection(path: &str) -> bool {
    let segments: Vec<_> = path.trim_matches('/').split('/').collect();
    let below = match segments.as_slice() {
        ["api", _version, below @ ..] | ["apis", _, _version, below @ ..] => below,
        _ => return false,
    };
    matches!(below, [_plural] | ["namespaces", _, _plural] if !is_namespace_part(below))
}

/// `namespaces/x/status` and `namespaces/x/finalize` look like collections of a namespace.
fn is_namespace_part(below: &[&str]) -> bool {
    matches!(below, ["namespaces", _, "status" | "finalize"])
}

/// A parameter of the query, decoded.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
    })
}

/// The path and query of a list as one that asks for a page of `limit` objects, as they are now: a page out of the
/// watch cache would be whole.
pub(super) fn paged(uri: &Uri, limit: u32) -> String {
    const REPLACED: [&str; 3] = ["limit", "resourceVersion", "resourceVersionMatch"];
    let pairs = uri.query().unwrap_or_default().split('&');
    let mut query: Vec<_> = pairs
        .filter(|pair| {
            let key = pair.split_once('=').map_or(*pair, |(key, _)| key);
            !key.is_empty() && !REPLACED.contains(&key)
        })
        .map(str::to_owned)
        .collect();
    query.push(format!("limit={limit}"));
    format!("{}?{}", uri.path(), query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_told_apart() {
        let get = |uri: &str| kind(&Method::GET, &uri.parse().unwrap());
        for uri in [
            "/api",
            "/apis",
            "/api/v1",
            "/apis/apps/v1",
            "/version",
            "/api/v1/namespaces/x",
            "/api/v1/namespaces/x/status",
            "/api/v1/namespaces/x/configmaps/y",
            "/apis/apps/v1/namespaces/x/deployments/y/scale",
        ] {
            assert_eq!(get(uri), Kind::Get, "{uri}");
        }
        for uri in [
            "/api/v1/namespaces",
            "/api/v1/namespaces/x/configmaps?limit=500",
            "/apis/apps/v1/deployments",
            "/apis/apps/v1/namespaces/x/deployments?watch=false",
        ] {
            assert_eq!(get(uri), Kind::List, "{uri}");
        }
        assert_eq!(get("/api/v1/pods?watch=true&x=1"), Kind::Watch);
        let delete = kind(&Method::DELETE, &"/api/v1/pods".parse().unwrap());
        assert_eq!(delete, Kind::Write);
    }

    #[test]
    fn a_page_is_asked_for_as_things_are_now() {
        let uri = "/api/v1/pods?limit=500&resourceVersion=0&labelSelector=a%3Db"
            .parse()
            .unwrap();
        assert_eq!(paged(&uri, 1), "/api/v1/pods?labelSelector=a%3Db&limit=1");
        assert_eq!(paged(&"/api/v1/pods".parse().unwrap(), 2), "/api/v1/pods?limit=2");
        assert_eq!(parameter(&uri, "labelSelector").as_deref(), Some("a=b"));
    }
}
