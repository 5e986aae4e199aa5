//! Whether the database is the one that figures are told of: it waits for the disk, and the API speaks to it by TLS. By what
//! the server itself says, once the API is there.
//!
//! At which isolation a session writes nobody can ask but itself: that the API's are serializable is held by a test of the
//! store, `whoever_writes_is_serializable`.

use anyhow::{Result, ensure};
use threeport_testbed::{paths::Site, postgres};

/// Whether a commit waits for the disk, and whether each session of the API, of which there are some, is encrypted.
const ASKED: &str = "SELECT current_setting('fsync'), current_setting('synchronous_commit'), \
                     (SELECT COALESCE(BOOL_AND(ssl), FALSE) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
                     WHERE application_name = 'threeport-api')";
const WANTED: &str = "on|on|t";

/// Fails where a testbed's PostgreSQL is another one: what is measured of it would be told of something else.
pub(crate) fn is_as_told(site: &Site) -> Result<()> {
    judge(&postgres::ask(site, ASKED)?)
}

fn judge(answer: &str) -> Result<()> {
    ensure!(
        answer.trim() == WANTED,
        "PostgreSQL says of fsync, synchronous_commit and TLS of the API's sessions {:?} instead of {WANTED:?}",
        answer.trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn nothing_is_measured_without_fsync_nor_without_tls() {
        judge("on|on|t\n").unwrap();
        for other in ["off|on|t\n", "on|off|t\n", "on|on|f\n", ""] {
            let error = judge(other).unwrap_err().to_string();
            assert!(error.contains("instead of \"on|on|t\""), "{error}");
        }
    }
}
