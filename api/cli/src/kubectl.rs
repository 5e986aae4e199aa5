//! kubectl-threeport: kubectl finds it by this name and runs it as `kubectl threeport`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tptctl::run("kubectl threeport")
}
