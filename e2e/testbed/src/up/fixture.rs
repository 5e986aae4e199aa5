//! A machine whose programs are scripts, for tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::search_path::SearchPath;

/// A machine with kubectl, with helm, and with programs that note what they are called with.
pub(crate) struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    /// One whose current context and server are these, with these programs.
    pub(crate) fn new(context: &str, version: &str, programs: &[&str]) -> Self {
        let machine = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        machine.is_in(context, version);
        machine.has("helm", "exit 1");
        for name in programs {
            machine.has(name, "printf '%s\\n' \"$@\" >>\"$0.arguments\"");
        }
        machine
    }

    /// The current context and its server are these from now on.
    pub(crate) fn is_in(&self, context: &str, version: &str) {
        let kubectl = format!(
            "case \"$*\" in
                'config current-context') echo {context} ;;
                *'version --request-timeout=10s') ;;
                *'version --output=json') echo '{{\"serverVersion\": {{\"gitVersion\": \"{version}\"}}}}' ;;
                *) exit 1 ;;
            esac"
        );
        self.has("kubectl", &kubectl);
    }

    /// The program of this name is this script from now on.
    pub(crate) fn has(&self, name: &str, script: &str) {
        let program = self.folder.path().join(name);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Where its programs are.
    pub(crate) fn path(&self) -> SearchPath {
        SearchPath::new(self.folder.path())
    }

    /// What a program was called with, if it was.
    pub(crate) fn arguments(&self, name: &str) -> Option<Vec<String>> {
        let note = self.folder.path().join(format!("{name}.arguments"));
        let text = fs::read_to_string(note).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    }
}
