//! Long tests have two forms: a short one in `make test`, and the long one in `make soak`, which sets THREEPORT_SOAK=1.

use std::env;

/// Whether the long form is asked for.
#[must_use]
pub fn is_long() -> bool {
    env::var("THREEPORT_SOAK").is_ok_and(|value| value == "1")
}

/// The size of this run, of those of the short form and of the long one.
#[must_use]
pub fn choose<T: Copy>([short, long]: [T; 2]) -> T {
    if is_long() { long } else { short }
}

/// The seed of this run: that of THREEPORT_TEST_SEED, or a new one. Printed, so that a run can be told again.
#[must_use]
pub fn seed() -> u64 {
    let given = env::var("THREEPORT_TEST_SEED").ok();
    let seed = given
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random);
    println!("THREEPORT_TEST_SEED={seed}");
    seed
}
