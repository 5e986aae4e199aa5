//! The commands that documents tell somebody to type. A story runs those of `sh` blocks, once each: here is what that can't
//! show.

use super::sources::{files, read, root};

/// How a credential gets into the arguments of a program, which everybody on the machine may read.
const TOLD_TO_ALL: [&str; 3] = ["Bearer $", "--from-literal", "$DATABASE_URL"];

/// The lines of all documents, each behind the name of its own.
fn lines() -> Vec<String> {
    let mut documents = files(&root().join("docs"), "md");
    documents.extend(["README.md", "SECURITY.md"].map(|name| root().join(name)));
    let mut found = Vec::new();
    for file in documents {
        let text = read(&file);
        found.extend(text.lines().map(|line| format!("{}: {line}", file.display())));
    }
    found
}

#[test]
fn no_command_has_a_credential_in_an_argument() {
    let lines = lines();
    let has = |part: &str| lines.iter().any(|line| line.contains(part));
    assert!(
        has("Authorization: Bearer ") && has("postgresql://"),
        "none was found"
    );
    for way in TOLD_TO_ALL {
        let told: Vec<_> = lines.iter().filter(|line| line.contains(way)).collect();
        assert!(told.is_empty(), "{told:#?}");
    }
}

#[test]
fn a_job_that_somebody_makes_has_another_name_each_time() {
    let lines = lines();
    let jobs: Vec<_> = lines.iter().filter(|line| line.contains("create job")).collect();
    assert!(!jobs.is_empty(), "no job was found");
    for job in jobs {
        assert!(job.contains("$(date +%s)"), "{job}");
    }
}
