//! What `make test STORY=n` runs, and what it says of tests that are ignored: its own scripts, in a tree whose programs
//! only note what they are called for. And that what CI runs is `make test`.

use std::{env, fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::sources::{read, root, sources};

/// Knows the tests of the files `tests` and `ignored`, a line each, and notes in `ran` those that it runs.
const CARGO: &str = r#"
[ "$1" = nextest ] || exit 0
names=tests
for word in "$@"; do
    case $word in
        --no-run) exit 0 ;;
        ignored-only) names=ignored ;;
    esac
done
filter=${!#}
name=$(sed -nE 's,.*test\(/(.*)/\).*,\1,p' <<<"$filter")
case $filter in
    *"- binary(stories)") stories=0 ;;
    *"& binary(stories)") stories=1 ;;
    *) stories=any ;;
esac
selected() {
    awk -v name="$name" -v stories="$stories" \
        '(stories == "any" || ($1 ~ /::stories$/) == stories) && $2 ~ name' "$1"
}
if [ "$2" = list ]; then
    selected "$names"
else
    selected tests >>ran
    mkdir -p target/nextest/default
    selected tests | sed 's,.*,<testcase />,' >target/nextest/default/junit.xml
fi
"#;

/// Runs what stands behind `--`.
const TESTBED: &str = r#"
echo "testbed $1" >>called
while [ $# -gt 0 ]; do
    [ "$1" != -- ] || { shift; exec "$@"; }
    shift
done
"#;

const TESTS: &str = "
threeport-e2e::stories story_4_healing::story_4_is_healed
threeport-e2e::stories story_5_deletion::story_5_is_gone
threeport-e2e::processes integrity::story_5_is_whole
threeport-e2e::stories story_50_later::story_50_is_another
threeport-e2e::stories scene::tells_story_5_again
threeport-e2e::processes story_7_concurrency::story_7_one_wins
threeport-e2e::stories fire_2_stillness::fire_2_is_still
threeport-e2e::fire killed::fire_1_goes_on
";

const PREPARED: [&str; 2] = ["testbed install", "testbed build"];
const WITHOUT_CLUSTER: [&str; 2] = ["testbed postgres", "testbed control-plane"];
const ON_A_CLUSTER: [&str; 4] = ["testbed down", "threeport-up up", "testbed exec", "testbed down"];

/// A source tree with the scripts of this one.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().expect("a folder"));
        for folder in ["api", "bin", "crds", "e2e/testbed", "helm", "operator"] {
            fs::create_dir_all(tree.path(folder)).expect("a folder");
        }
        for script in ["test.sh", "steps.sh", "skipped.sh"] {
            let script = format!("e2e/{script}");
            fs::copy(root().join(&script), tree.path(&script)).expect("a script");
        }
        for (program, text) in [
            ("bin/cargo", CARGO),
            ("bin/testbed", TESTBED),
            ("bin/threeport-up", "echo \"threeport-up $1\" >>called"),
            ("e2e/tools.sh", ""),
            ("e2e/checkout.sh", ""),
            ("e2e/testbed/prepare.sh", ""),
        ] {
            tree.write(program, &format!("#!/usr/bin/env bash\n{text}\n"));
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(tree.path(program), mode).expect("a program");
        }
        tree.write("tests", TESTS.trim_start());
        tree.write("ignored", "");
        tree
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    fn write(&self, relative: &str, text: &str) {
        fs::write(self.path(relative), text).expect("a file");
    }

    /// The lines of a file, if it was made.
    fn lines(&self, relative: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(relative)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Runs `make test STORY=...` as make does: whether it succeeded, and what it said.
    fn make_test(&self, story: &str) -> (bool, String) {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [self.path("bin")].into_iter().chain(env::split_paths(&path));
        let output = Command::new("bash")
            .arg(self.path("e2e/test.sh"))
            .env("STORY", story)
            .env("PATH", env::join_paths(folders).expect("a PATH"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("CARGO_TARGET_DIR", self.path("target"))
            .env("THREEPORT_TEST_STATE", self.path("state"))
            .env("NEXTEST_PROFILE", "default")
            .output()
            .expect("bash runs");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }
}

#[test]
fn a_number_runs_its_own_tests_each_where_it_belongs() {
    for (story, ran, called) in [
        (
            "4",
            &["threeport-e2e::stories story_4_healing::story_4_is_healed"][..],
            [&PREPARED[..], &ON_A_CLUSTER].concat(),
        ),
        (
            "5",
            &[
                "threeport-e2e::processes integrity::story_5_is_whole",
                "threeport-e2e::stories story_5_deletion::story_5_is_gone",
            ][..],
            [&PREPARED[..], &WITHOUT_CLUSTER, &ON_A_CLUSTER].concat(),
        ),
        (
            "7",
            &["threeport-e2e::processes story_7_concurrency::story_7_one_wins"][..],
            [&PREPARED[..], &WITHOUT_CLUSTER].concat(),
        ),
        (
            "fire_1",
            &["threeport-e2e::fire killed::fire_1_goes_on"][..],
            [&PREPARED[..], &WITHOUT_CLUSTER].concat(),
        ),
        (
            "fire_2",
            &["threeport-e2e::stories fire_2_stillness::fire_2_is_still"][..],
            [&PREPARED[..], &ON_A_CLUSTER].concat(),
        ),
    ] {
        let tree = Tree::new();
        let (succeeded, said) = tree.make_test(story);
        assert!(
            succeeded && said.contains(" passed, 0 failed, 0 skipped"),
            "{said}"
        );
        assert_eq!(tree.lines("ran"), ran, "STORY={story}: {said}");
        assert_eq!(tree.lines("called"), called, "STORY={story}: {said}");
    }
}

#[test]
fn a_number_without_tests_fails_and_says_so() {
    for (story, name) in [("99", "story_99"), ("fire_9", "fire_9")] {
        let tree = Tree::new();
        let (succeeded, said) = tree.make_test(story);
        assert!(!succeeded, "{said}");
        let failed = format!("failed: there are tests called {name}_...");
        let told: Vec<_> = said.lines().filter(|line| line.starts_with("failed: ")).collect();
        assert_eq!(told, [failed], "{said}");
        assert!(said.contains(" passed, 1 failed, 0 skipped"), "{said}");
        assert_eq!(tree.lines("ran"), [""; 0], "{said}");
        assert_eq!(tree.lines("called"), PREPARED, "{said}");
    }
}

#[test]
fn what_is_ignored_is_told_with_its_reason_and_fails_without_one() {
    let tree = Tree::new();
    // In pieces: this file is searched for ignored tests too.
    let word = "ignore";
    tree.write(
        "e2e/story_4.rs",
        &format!(
            "#[test]\n#[{word} = \"needs a second machine\"]\nfn story_4_waits() {{}}\n\n\
             #[test]\n#[{word}]\nfn story_4_says_nothing() {{}}\n"
        ),
    );
    let waits = "threeport-e2e::stories story_4::story_4_waits";
    tree.write("ignored", &format!("{waits}\n"));
    let (succeeded, said) = tree.make_test("4");
    let told = format!("skipped: {waits}: needs a second machine");
    assert!(said.lines().any(|line| line == told), "{said}");
    assert!(
        succeeded && said.contains(" passed, 0 failed, 1 skipped"),
        "{said}"
    );

    let silent = "threeport-e2e::stories story_4::story_4_says_nothing";
    tree.write("ignored", &format!("{waits}\n{silent}\n"));
    let (succeeded, said) = tree.make_test("4");
    for told in [
        "failed: story_4_..., on a cluster: what it leaves out",
        &told,
        &format!("skipped: {silent}: no reason is given"),
    ] {
        assert!(
            said.lines().any(|line| line == told),
            "{told:?} is not in:\n{said}"
        );
    }
    assert!(
        !succeeded && said.contains(" passed, 1 failed, 2 skipped"),
        "{said}"
    );
}

#[test]
fn ci_runs_make_test_and_hosted_ci_the_same_with_a_cockroachdb() {
    let run = read(&root().join(".ci/run"));
    assert_eq!(run.lines().last(), Some("exec make test"), "{run}");
    let hosted = read(&root().join(".github/workflows/ci.yml"));
    let lines: Vec<&str> = hosted.lines().map(str::trim).collect();
    assert!(lines.contains(&"run: .ci/run"), "{hosted}");
    let databases = lines
        .iter()
        .find_map(|line| line.strip_prefix("THREEPORT_TEST_DATABASES: "));
    assert!(
        databases.is_some_and(|named| named.starts_with("cockroachdb=postgresql://")),
        "{databases:?}"
    );
}

#[test]
fn each_number_has_tests() {
    let own = root().join("e2e/tests/tests");
    let binaries = ["fire", "processes", "stories"].map(|binary| sources(&own.join(binary)));
    let texts: Vec<String> = binaries.iter().flatten().map(|path| read(path)).collect();
    let has = |name: &str| texts.iter().any(|text| text.contains(&format!("fn {name}_")));
    let stories = (1..=9).map(|number| format!("story_{number}"));
    let fires = [1, 2, 3, 5, 6].map(|number| format!("fire_{number}"));
    let without: Vec<String> = stories.chain(fires).filter(|name| !has(name)).collect();
    assert!(without.is_empty(), "no test is called {without:?}");
    assert!(!has("story_10"), "the control");
}
