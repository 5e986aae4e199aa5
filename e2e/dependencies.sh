#!/usr/bin/env bash
# Whether what we depend on is allowed, licensed and from where it should be (deny.toml).
set -euo pipefail
cd "$(dirname "$0")/.."
e2e/tools.sh cargo-deny
cargo deny --locked check bans licenses sources
