//! How long the disk takes for a write that is to last: the database, NATS and etcd wait for it again and again, so that
//! figures of two machines differ by it as much as by their processors.

use std::{
    fs::{self, File},
    io::Write,
    time::Instant,
};

use anyhow::{Context, Result};
use threeport_testbed::paths::Site;
use tokio::task::block_in_place;

/// How many writes a look takes.
const WRITES: usize = 100;
/// As much as a page of a database.
const BYTES: usize = 8 << 10;

/// Milliseconds of single writes, one after the other, where the testbed has its data.
pub(crate) fn syncs(site: &Site) -> Result<Vec<f64>> {
    let path = site.path("sync");
    let measured = block_in_place(|| {
        let mut file = File::create(&path)?;
        let mut milliseconds = Vec::with_capacity(WRITES);
        for _ in 0..WRITES {
            file.write_all(&[0; BYTES])?;
            let begun = Instant::now();
            file.sync_data()?;
            milliseconds.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        fs::remove_file(&path)?;
        Ok::<_, std::io::Error>(milliseconds)
    });
    measured.with_context(|| format!("failed to write {}", path.display()))
}
