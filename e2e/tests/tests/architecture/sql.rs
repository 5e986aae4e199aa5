//! The store says only what SQLite, PostgreSQL and CockroachDB all take and mean alike, so that what its tests see on one
//! holds on the others: no words of one or two of them are in its texts. What columns and indexes are is held beside the
//! migration's steps.

use super::sources::{is_test, read, root, sources};

/// As they stand in a statement, whatever their case.
const PHRASES: &[&str] = &[
    // Locks that SQLite, or CockroachDB, has none of.
    "FOR UPDATE",
    "FOR SHARE",
    "SKIP LOCKED",
    "NOWAIT",
    "LOCK TABLE",
    // Messages, and what runs in the database.
    "LISTEN",
    "UNLISTEN",
    "NOTIFY",
    "TRIGGER",
    "FUNCTION",
    "PROCEDURE",
    // Numbers that the database counts up.
    "SEQUENCE",
    "NEXTVAL",
    "CURRVAL",
    "SETVAL",
    "SERIAL",
    "BIGSERIAL",
    "SMALLSERIAL",
    "AUTOINCREMENT",
    "GENERATED",
    // 32 bits in PostgreSQL, 64 in the others.
    "INTEGER",
    "INT",
    "INT2",
    "INT4",
    "SMALLINT",
    // What is in JSON, and indexes on it.
    "JSON",
    "JSONB",
    // PostgreSQL's own ways to say it.
    "ILIKE",
    "LATERAL",
    "DISTINCT ON",
];
/// Of functions that only one of them has.
const BEGINNINGS: &[&str] = &["PG_", "JSON_", "JSONB_"];
/// How fields of JSON are read, and PostgreSQL's casts.
const SIGNS: &[&str] = &["->", "::"];

/// Where such a word may stand all the same, and which.
const KNOWN: [(&str, &str, &str); 3] = [
    // SQLite's clock is read in SQLite alone, whose INTEGER has 64 bits.
    (
        "clock.rs",
        "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        "INTEGER",
    ),
    // PostgreSQL alone is told so: in the others nobody counts beside a transaction that he doesn't see.
    ("counting.rs", " FOR SHARE", "FOR SHARE"),
    // Servers alone are asked, and CockroachDB has it, too.
    ("session.rs", "SELECT pg_is_in_recovery()", "PG_IS_IN_RECOVERY"),
];

/// The texts in quotation marks of a source, its comments and the tests at its end left out.
fn literals(source: &str) -> Vec<&str> {
    let mut rest = source
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let mut found = Vec::new();
    while let Some(start) = rest.find(['"', '\'', '/']) {
        rest = &rest[start..];
        let end = if rest.starts_with("//") {
            rest.find('\n')
        } else if let Some(text) = rest.strip_prefix('"') {
            let mut is_escaped = false;
            let end = text.find(|letter: char| {
                let is_end = letter == '"' && !is_escaped;
                is_escaped = letter == '\\' && !is_escaped;
                is_end
            });
            found.extend(end.map(|end| &text[..end]));
            end.map(|end| end + 2)
        } else if rest.starts_with("'\\") {
            rest[3..].find('\'').map(|end| end + 4)
        } else {
            // One letter; else a lifetime, or a division.
            let letter = rest[1..].chars().next().map_or(1, |letter| 1 + letter.len_utf8());
            let is_letter = rest.starts_with('\'') && rest[letter..].starts_with('\'');
            Some(if is_letter { letter + 1 } else { 1 })
        };
        rest = end.map_or("", |end| &rest[end..]);
    }
    found
}

/// What not all of them take.
fn strange(text: &str) -> Vec<String> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words: Vec<String> = text
        .split(|letter: char| !is_word(letter))
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_uppercase)
        .collect();
    let phrases = PHRASES.iter().filter(|phrase| {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        words.windows(phrase.len()).any(|window| window == phrase)
    });
    let begun = words
        .iter()
        .filter(|word| BEGINNINGS.iter().any(|beginning| word.starts_with(beginning)));
    let signs = SIGNS.iter().filter(|sign| text.contains(**sign));
    let mut found: Vec<String> = phrases.chain(signs).map(ToString::to_string).collect();
    found.extend(begun.cloned());
    found
}

#[test]
fn the_store_says_only_what_all_databases_take() {
    let (mut statements, mut known, mut found) = (0, 0, Vec::new());
    for path in sources(&root().join("api/store/src")) {
        if is_test(&path) {
            continue;
        }
        for text in literals(&read(&path)) {
            let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "CREATE "];
            statements += usize::from(verbs.iter().any(|verb| text.starts_with(verb)));
            let words = strange(text);
            let is_known = |(file, known, _): &&(&str, &str, &str)| path.ends_with(file) && text == *known;
            if let Some((_, _, word)) = KNOWN.iter().find(is_known) {
                assert_eq!(words, [*word]);
                known += 1;
            } else if !words.is_empty() {
                found.push(format!("{}: {words:?} in {text:?}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(statements > 100, "only {statements} statements were found");
    assert_eq!(known, KNOWN.len(), "{KNOWN:?} are not there once each");
}

#[test]
fn what_only_some_databases_take_is_found() {
    for (text, expected) in [
        (
            "SELECT id FROM pending LIMIT 1 FOR UPDATE SKIP LOCKED",
            "SKIP LOCKED",
        ),
        (
            "SELECT id FROM pending LIMIT 1 FOR \\\n         UPDATE",
            "FOR UPDATE",
        ),
        ("listen changes", "LISTEN"),
        ("NOTIFY changes", "NOTIFY"),
        ("SELECT pg_advisory_xact_lock(1)", "PG_ADVISORY_XACT_LOCK"),
        ("CREATE TABLE x (id SERIAL PRIMARY KEY)", "SERIAL"),
        (
            "CREATE TABLE x (id BIGINT GENERATED ALWAYS AS IDENTITY)",
            "GENERATED",
        ),
        ("CREATE TABLE x (count INTEGER NOT NULL)", "INTEGER"),
        ("INSERT INTO x (id) VALUES (nextval('x'))", "NEXTVAL"),
        ("CREATE INDEX x ON object ((spec->>'name'))", "->"),
        ("SELECT json_extract(spec, '$.name') FROM object", "JSON_EXTRACT"),
        ("SELECT id::text FROM object", "::"),
        ("CREATE TRIGGER x", "TRIGGER"),
    ] {
        let found = strange(text);
        assert!(found.iter().any(|word| word == expected), "{text}: {found:?}");
    }
    let plain = "INSERT INTO inventory (observed_sequence, interval) VALUES ($1, 'SERIALIZABLE') \
                 ON CONFLICT (id) DO UPDATE SET jsonish = $2";
    assert_eq!(strange(plain), Vec::<String>::new());
}

#[test]
fn texts_are_told_from_what_is_around_them() {
    let source = "// \"comment\"\nlet a: &'static str = \"one \\\"1\\\"\"; let b = ['\"', '\\'', '\\\\']; // 'x\n\
                  call(4 / 2, \"two \\\\\", b\"three\");\n#[cfg(test)]\nmod tests {\n\"test\"\n}\n";
    assert_eq!(literals(source), ["one \\\"1\\\"", "two \\\\", "three"]);
}
