//! An error is logged with its causes: by `explain`, or of an `anyhow::Error` by `{error:#}`. By the text of the sources,
//! in which an error is called `error`.

use super::sources::{is_test, read, root, sources};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The arguments of a call, of the text behind its opening parenthesis.
fn arguments(text: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (index, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..index];
        }
    }
    text
}

/// The arguments of each call that logs.
fn logged(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for level in LEVELS {
        let call = format!("tracing::{level}!(");
        found.extend(text.split(&call).skip(1).map(arguments));
    }
    found
}

/// Whether only what an error itself says is logged.
fn is_bare(arguments: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    arguments.contains("{error}") || arguments.split("%error").skip(1).any(ends)
}

#[test]
fn an_error_is_logged_with_its_causes() {
    let (mut seen, mut bare) = (0, Vec::new());
    for folder in ["api", "crds", "operator"] {
        for path in sources(&root().join(folder)) {
            if is_test(&path) {
                continue;
            }
            let text = read(&path);
            let calls = logged(&text);
            seen += calls.len();
            let wrong = calls.into_iter().filter(|arguments| is_bare(arguments));
            bare.extend(wrong.map(|arguments| format!("{}: {arguments}", path.display())));
        }
    }
    assert!(seen >= 50, "only {seen} calls that log were found");
    assert!(bare.is_empty(), "log explain(&error):\n{}", bare.join("\n"));
}

#[test]
fn a_bare_error_is_found() {
    let text = r#"
        tracing::warn!("failed (\"x): {error}"); tracing::debug!(kind, %error, "x"); let s = "{error}";
        tracing::warn!(error = %explain(&error), "x"); tracing::error!(%errors, "{error:#} {}", explain(&error));
    "#;
    let bare: Vec<_> = logged(text).into_iter().filter(|call| is_bare(call)).collect();
    assert_eq!(bare, [r#""failed (\"x): {error}""#, r#"kind, %error, "x""#]);
}
