//! What the chart renders is kept in `snapshots/`, so that a change is seen in review. `make generate` writes it anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::fs;

use threeport_chart::{CASES, case, chart, helm, template};
use threeport_testbed::paths::project;

fn rendered(name: &str) -> String {
    template(
        "threeport",
        "threeport-system",
        &["--values", case(name).to_str().unwrap()],
    )
    .unwrap()
}

#[test]
fn the_snapshots_are_what_the_chart_renders() {
    for name in CASES {
        let path = project()
            .join("helm/tests/snapshots")
            .join(format!("{name}.yaml"));
        let rendered = rendered(name);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &rendered).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let line = kept
            .lines()
            .zip(rendered.lines())
            .position(|(kept, now)| kept != now);
        assert!(
            kept == rendered,
            "{} is not what the chart renders (first difference: line {:?}); `make generate` writes it anew",
            path.display(),
            line.map(|line| line + 1)
        );
    }
}

#[test]
fn rendering_twice_gives_equal_bytes() {
    for name in CASES {
        assert_eq!(rendered(name), rendered(name), "{name}");
    }
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    for name in CASES {
        let chart = chart();
        helm(&[
            "lint",
            chart.to_str().unwrap(),
            "--strict",
            "--values",
            case(name).to_str().unwrap(),
        ])
        .unwrap();
    }
}
