//! Where the control plane is, and what its release is called there, for remedies.

use crate::{
    arguments::Connection,
    connect::{self, Installation},
};

/// Stands for the name of a release that nobody could tell.
const UNKNOWN: &str = "<release>";

pub(super) struct Place<'a> {
    pub(super) connection: &'a Connection,
    pub(super) namespace: &'a str,
    /// What a port-forward goes to.
    pub(super) installation: Option<&'a Installation>,
}

impl Place<'_> {
    /// The release's name, which those of its objects begin with. Where a server was named the kubeconfig's cluster is
    /// asked: call it when something is wrong.
    pub(super) async fn release(&self) -> String {
        if let Some(installation) = self.installation {
            return installation.prefix().to_owned();
        }
        let Ok(client) = connect::kubernetes_client(self.connection).await else {
            return UNKNOWN.to_owned();
        };
        match connect::installation(&client, self.namespace).await {
            Ok(installation) => installation.prefix().to_owned(),
            Err(_) => UNKNOWN.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_release_is_called_what_was_found_or_nothing() {
        let connection = Connection {
            kubeconfig: Some("/nowhere".into()),
            ..Connection::default()
        };
        let installation = Installation {
            namespace: "here".to_owned(),
            service: "trial-api".to_owned(),
        };
        for (installation, release) in [(Some(&installation), "trial"), (None, "<release>")] {
            let place = Place {
                connection: &connection,
                namespace: "here",
                installation,
            };
            assert_eq!(place.release().await, release);
        }
    }
}
