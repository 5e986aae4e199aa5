//! Every await that writes is made within `around`: whoever adds one without a failpoint is told here.
//!
//! By the text of the sources: the calls that write are known by their names ([`PARTS`]), and each must be an argument of
//! `around`, or be bound by a `let` to a name that is. What only looks like one, or is wrapped by whoever calls the function
//! that it stands in, is named too, so that a new one is never taken for it.

use super::sources::{is_test, read, root, sources};

struct Part {
    folder: &'static str,
    /// How calls that write end.
    calls: &'static [&'static [&'static str]],
    /// File, and how the text before the arguments ends.
    elsewhere: &'static [(&'static str, &'static str)],
}

/// What changes something in Kubernetes.
const KUBERNETES: &[&str] = &[
    ".create(",
    ".patch(",
    ".replace(",
    ".delete(",
    ".patch_metadata(",
    ".patch_status(",
    ".replace_status(",
    ".patch_scale(",
    ".replace_scale(",
    ".delete_collection(",
    ".evict(",
    ".create_subresource(",
    ".patch_subresource(",
    ".replace_subresource(",
    ".patch_ephemeral_containers(",
    ".replace_ephemeral_containers(",
    ".patch_resize(",
    ".replace_resize(",
    ".patch_approval(",
    ".create_token_request(",
    ".restart(",
    ".cordon(",
    ".uncordon(",
    ".exec(",
    ".attach(",
    // Whatever is in the request.
    ".request_text(",
    ".request_status(",
    ".request_stream(",
    ".request_events(",
];
/// The same, where nothing else is called so.
const REQUEST: &[&str] = &[".request("];
/// What changes something in the API, by its client.
const API: &[&str] = &[
    ".object_create(",
    ".object_replace(",
    ".object_patch(",
    ".object_delete(",
    ".object_take_over(",
    ".source_put(",
    ".source_delete(",
    ".claim(",
    ".claim_renew(",
    ".claim_complete(",
    ".inventory_intend(",
    ".events_report(",
    ".agent_register(",
    ".agent_heartbeat(",
    ".agent_observe(",
];
const JETSTREAM: &[&str] = &[
    ".send_publish(",
    ".create_stream(",
    ".get_or_create_stream(",
    ".create_or_update_stream(",
    ".update_stream(",
    ".delete_stream(",
    ".create_consumer(",
    ".get_or_create_consumer(",
    ".update_consumer(",
    ".delete_consumer(",
    ".ack(",
    ".ack_with(",
    ".double_ack(",
];

const PARTS: [Part; 6] = [
    Part {
        // What runs in a transaction is committed at one place, which asks for its name.
        folder: "api/store",
        calls: &[&[
            "inner.commit(",
            "writer.run(",
            "writer.execute_raw(",
            "connection.run(",
            ".execute_unprepared(",
            "ddl(connection,",
            "repeat(connection,",
        ]],
        elsewhere: &[
            ("once.rs", "before_commit(SNAPSHOT)?;transaction.inner.commit("),
            ("migration.rs", "matchconnection.execute_unprepared("),
            ("migration.rs", "bytes);repeat(connection,"),
        ],
    },
    Part {
        folder: "api/server",
        calls: &[
            KUBERNETES,
            JETSTREAM,
            &["jetstream.publish(", "vault.write(", ".publish_authority("],
            &["client.request(", "client().request(", "kube.request("],
        ],
        elsewhere: &[
            ("token_review.rs", "self.reviews.create("),
            ("directory.rs", "OpenOptions::new().write(true).create("),
            ("kubernetes.rs", "self.secrets.replace("),
            ("kubernetes.rs", "self.secrets.create("),
            ("kubernetes.rs", "self.maps.replace("),
            ("kubernetes.rs", "self.maps.create("),
            ("jetstream.rs", "self.context.send_publish("),
        ],
    },
    Part {
        folder: "operator/engine",
        calls: &[JETSTREAM, &[".claim(", ".renew(", ".complete("]],
        elsewhere: &[("engine.rs", "self.claim("), ("engine.rs", "self.renew(")],
    },
    Part {
        folder: "operator/controllers",
        calls: &[
            KUBERNETES,
            REQUEST,
            API,
            &[".apply(", ".update(", ".merge(", ".intend("],
        ],
        elsewhere: &[
            ("call.rs", "json!(CREATE_ONLY);self.apply("),
            ("call.rs", "json!(version);}self.apply("),
            ("call.rs", "=request.patch("),
            ("call.rs", "resource.path(&id.namespace)).patch("),
            ("call.rs", "resource.path(&id.namespace)).delete("),
            ("call.rs", "timeout(TIMEOUT,self.client.request_text("),
            ("api.rs", "self.0.inventory_intend("),
            ("api.rs", "self.0.claim("),
            ("api.rs", "self.0.claim_renew("),
            ("api.rs", "self.0.claim_complete("),
            ("one_control_plane.rs", "self.source.claim("),
        ],
    },
    Part {
        folder: "operator/facade",
        calls: &[KUBERNETES, REQUEST, API, &[".apply(", ".publish(", "write(api,"]],
        elsewhere: &[
            ("namespace.rs", "letreview=api.create("),
            ("finalizer.rs", "};api.patch("),
            ("resource.rs", "?;kube.request("),
            ("resource.rs", "api.clone().into_client().request("),
            ("sending.rs", "regressed,..request("),
        ],
    },
    Part {
        folder: "operator/agent",
        calls: &[
            KUBERNETES,
            REQUEST,
            API,
            &[".apply(", "api.register(", "api.heartbeat(", "api.observe("],
        ],
        elsewhere: &[
            ("control_plane.rs", "self.agent_register("),
            ("control_plane.rs", "self.agent_heartbeat("),
            ("control_plane.rs", "self.agent_observe("),
        ],
    },
];

#[test]
fn every_await_that_writes_has_a_failpoint() {
    for part in PARTS {
        let mut elsewhere = vec![0; part.elsewhere.len()];
        let mut bare = Vec::new();
        let mut wrapped = 0;
        for path in sources(&root().join(part.folder).join("src")) {
            if is_test(&path) {
                continue;
            }
            let text = squeezed(&read(&path));
            for call in part.calls.iter().copied().flatten() {
                for (index, _) in text.match_indices(call) {
                    let end = index + call.len();
                    if text[end..].starts_with(['"', '\'']) && *call == ".replace(" {
                        continue;
                    }
                    if is_wrapped(&text, index) {
                        wrapped += 1;
                        continue;
                    }
                    let known = part.elsewhere.iter().position(|(file, before)| {
                        path.file_name().is_some_and(|name| name == *file) && text[..end].ends_with(before)
                    });
                    match known {
                        Some(known) => elsewhere[known] += 1,
                        None => bare.push(format!("{}: ...{}", path.display(), tail(&text[..end]))),
                    }
                }
            }
        }
        assert!(bare.is_empty(), "without a failpoint: {bare:#?}");
        assert!(wrapped >= 3, "{}: only {wrapped} with one", part.folder);
        let stale: Vec<_> = part
            .elsewhere
            .iter()
            .zip(&elsewhere)
            .filter(|(_, count)| **count != 1)
            .collect();
        assert!(stale.is_empty(), "{}: there not once: {stale:?}", part.folder);
    }
}

#[test]
fn a_write_without_a_failpoint_is_found() {
    let wrapped = |text: &str| {
        let text = squeezed(text);
        let index = text.find(".create(").expect("the call");
        is_wrapped(&text, index)
    };
    assert!(wrapped("match around(writes::MADE, api.create(&made)).await {}"));
    assert!(wrapped(
        "let call = context\n.target\n.create(&made); guard(around(write, call)).await?;"
    ));
    assert!(!wrapped("api.create(&made).await?;"));
    assert!(!wrapped(
        "let call = api.create(&made); around(writes::OTHER, other).await?; call.await?;"
    ));
    assert!(!wrapped(
        "around(writes::OTHER, other).await.map(|other| api.create(&made));"
    ));
}

/// Without comments, white space and the tests at the end.
fn squeezed(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text
        .lines()
        .map(|line| line.split("// ").next().unwrap_or_default());
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines
        .flat_map(str::chars)
        .filter(|character| !character.is_whitespace())
        .collect()
}

/// Whether the call whose name begins at `index` is an argument of `around`, itself or by name.
fn is_wrapped(text: &str, index: usize) -> bool {
    let start = text[..index].rfind([';', '{', '}']).map_or(0, |end| end + 1);
    let statement = &text[start..index];
    let is_name = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || "_:.&".contains(c))
    };
    let arguments = statement.rsplit_once("around(").map(|(_, arguments)| arguments);
    if let Some((write, receiver)) = arguments.and_then(|arguments| arguments.split_once(',')) {
        return is_name(write) && is_name(receiver);
    }
    let bound = statement
        .strip_prefix("let")
        .and_then(|rest| rest.split_once('='));
    let Some((name, _)) = bound.filter(|(name, _)| is_name(name)) else {
        return false;
    };
    // The function that it is in ends somewhere; nobody binds a call and makes it far from there.
    let after: String = text[index..].chars().take(400).collect();
    let uses = after.split("around(").skip(1);
    uses.filter_map(|used| used.split_once(')'))
        .filter_map(|(arguments, _)| arguments.split_once(','))
        .any(|(write, argument)| is_name(write) && argument == name)
}

/// Enough to find it.
fn tail(text: &str) -> &str {
    let start = text.char_indices().rev().nth(60).map_or(0, |(index, _)| index);
    &text[start..]
}
