//! Which testbed a command is about, as this crate's programs take it from their command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::ClusterOptions;
use crate::network::Kind;
use crate::paths::{Site, cache, project};
use crate::process::Lifetime;

/// A testbed by its name, where its data lie, and the network that it lives in.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Selection {
    /// The testbed's name.
    #[arg(long, default_value = Self::MAIN)]
    pub name: String,
    /// The folder of its data [default: .testbed in the project for main, else in the cache]
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// The network that it lives in [default: machine for main, else own]
    #[arg(long, value_enum)]
    pub network: Option<Kind>,
}

impl Selection {
    /// The testbed of `make up`.
    pub const MAIN: &str = "main";

    /// How that testbed is made: it stays until it is taken down.
    pub fn options(&self) -> Result<ClusterOptions> {
        let is_main = self.name == Self::MAIN;
        let state = match &self.state {
            Some(state) => state.clone(),
            None if is_main => project().join(".testbed"),
            None => cache()?.join("clusters").join(&self.name),
        };
        let usual = if is_main { Kind::Machine } else { Kind::Own };
        Ok(ClusterOptions {
            name: self.name.clone(),
            state: Some(state),
            network: self.network.unwrap_or(usual),
            lifetime: Lifetime::Detached,
            controller_requests_per_second: 200,
        })
    }

    /// Its name and folders.
    pub fn site(&self) -> Result<Site> {
        self.options()?.site()
    }

    /// What to type for the same testbed.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.name != Self::MAIN {
            arguments.extend(["--name".to_owned(), self.name.clone()]);
        }
        if let Some(state) = &self.state {
            arguments.extend(["--state".to_owned(), state.display().to_string()]);
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(name: &str, network: Option<Kind>) -> Selection {
        Selection {
            name: name.to_owned(),
            state: None,
            network,
        }
    }

    #[test]
    fn only_main_shares_the_machines_network_unless_told_so() {
        let kind = |name, network| selection(name, network).options().unwrap().network;
        assert_eq!(kind("main", None), Kind::Machine);
        assert_eq!(kind("other", None), Kind::Own);
        assert_eq!(kind("other", Some(Kind::Machine)), Kind::Machine);
        assert_eq!(kind("main", Some(Kind::Own)), Kind::Own);
    }

    #[test]
    fn the_same_testbed_is_selected_by_what_is_said_to_type() {
        assert!(selection("main", None).arguments().is_empty());
        assert_eq!(selection("other", None).arguments(), ["--name", "other"]);
    }
}
