//! What `completion` prints is a script of the shell that was asked for.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    io::{ErrorKind, Write},
    process::{Command, Output, Stdio},
};

/// What a program did with `input`; nothing where there is no such program.
fn run(program: &str, arguments: &[&str], input: &str) -> Option<Output> {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        spawned => spawned.unwrap(),
    };
    // Who does not read to the end says why.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Some(child.wait_with_output().unwrap())
}

fn script(program: &str, shell: &str) -> String {
    let printed = run(program, &["completion", shell], "").unwrap();
    assert!(printed.status.success(), "{printed:?}");
    String::from_utf8(printed.stdout).unwrap()
}

#[test]
fn each_shell_takes_its_script() {
    for (shell, check, parts) in [
        ("bash", "-n", ["complete -F _tptctl", "take-over"]),
        ("zsh", "-n", ["#compdef tptctl\n", "'take-over:Make the API"]),
        (
            "fish",
            "--no-execute",
            ["complete -c tptctl ", "-a \"take-over\""],
        ),
    ] {
        let script = script(env!("CARGO_BIN_EXE_tptctl"), shell);
        for part in parts {
            assert!(script.contains(part), "{shell}: no {part:?} in {script}");
        }
        let Some(checked) = run(shell, &[check], &script) else {
            assert_ne!(shell, "bash", "bash is needed");
            eprintln!("there is no {shell} here: its script was not tried");
            continue;
        };
        assert!(
            checked.status.success() && checked.stderr.is_empty(),
            "{checked:?}"
        );
    }
    // The control: what is no script is not taken.
    let broken = run("bash", &["-n"], "f() {\n").unwrap();
    assert!(!broken.status.success(), "{broken:?}");
}

/// What bash offers for the last of `words` after the program's name.
fn offered(program: &str, name: &str, words: &str) -> String {
    let function = name.replace('-', "__");
    let ask = format!(
        "complete -p {name} >&2
         COMP_WORDS=({name} {words})
         COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
         _{function} {name} \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\" || true
         echo \"${{COMPREPLY[*]}}\"\n"
    );
    let ran = run("bash", &["-e"], &(script(program, "bash") + &ask)).unwrap();
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn bash_completes_commands_and_their_flags() {
    let program = env!("CARGO_BIN_EXE_tptctl");
    assert_eq!(offered(program, "tptctl", "take"), "take-over\n");
    assert_eq!(offered(program, "tptctl", "apply --dry"), "--dry-run\n");
    assert_eq!(offered(program, "tptctl", "nonsense"), "\n");
    // kubectl has its plugins complete themselves: the script is for the file's name.
    let plugin = env!("CARGO_BIN_EXE_kubectl-threeport");
    assert_eq!(offered(plugin, "kubectl-threeport", "take"), "take-over\n");
}
