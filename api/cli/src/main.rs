//! tptctl.

use std::process::ExitCode;

fn main() -> ExitCode {
    tptctl::run("tptctl")
}
