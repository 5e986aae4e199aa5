//! A kind as a target serves it.

use threeport_cluster::discovery::Served;
use threeport_model::kinds::workload_definition::ResourceIdentity;

/// A kind as a target serves it: what paths are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// Empty for the core group.
    pub group: String,
    /// As in `apiVersion`.
    pub version: String,
    /// As in `kind:`.
    pub kind: String,
    /// As in paths.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The collection's path; of one namespace unless that is empty.
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() {
            "api".to_owned()
        } else {
            format!("apis/{}", self.group)
        };
        match namespace {
            "" => format!("/{root}/{}/{}", self.version, self.plural),
            _ if !self.namespaced => format!("/{root}/{}/{}", self.version, self.plural),
            _ => format!("/{root}/{}/namespaces/{namespace}/{}", self.version, self.plural),
        }
    }

    /// Core namespaces: the one kind that the controller itself must know.
    pub fn namespace() -> Self {
        Self {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            plural: "namespaces".to_owned(),
            namespaced: false,
        }
    }

    /// CustomResourceDefinitions.
    pub fn custom_resource_definition() -> Self {
        Self {
            group: "apiextensions.k8s.io".to_owned(),
            version: "v1".to_owned(),
            kind: "CustomResourceDefinition".to_owned(),
            plural: "customresourcedefinitions".to_owned(),
            namespaced: false,
        }
    }
}

impl From<Served> for Resource {
    fn from(served: Served) -> Self {
        Self {
            group: served.group,
            version: served.version,
            kind: served.kind,
            plural: served.plural,
            namespaced: served.namespaced,
        }
    }
}

/// `Deployment web/api`, as messages name objects.
pub fn display(identity: &ResourceIdentity) -> String {
    match identity.namespace.as_str() {
        "" => format!("{} {}", identity.kind, identity.name),
        namespace => format!("{} {namespace}/{}", identity.kind, identity.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_kubernetes_api() {
        let deployment = Resource {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            kind: "Deployment".to_owned(),
            plural: "deployments".to_owned(),
            namespaced: true,
        };
        assert_eq!(deployment.path("web"), "/apis/apps/v1/namespaces/web/deployments");
        assert_eq!(deployment.path(""), "/apis/apps/v1/deployments");
        assert_eq!(Resource::namespace().path("ignored"), "/api/v1/namespaces");
        assert_eq!(deployment.api_version(), "apps/v1");
    }
}
