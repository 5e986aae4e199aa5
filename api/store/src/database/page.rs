//! How much one answer has: what a process holds of it is bounded by bytes, not by a count alone.

use crate::error::Result;

/// The most bytes of specifications and annotations in an answer that has more than one object.
const BYTES: i64 = 8 << 20;

/// How many of the first fit into an answer, by the bytes that each has: one, however large it is.
pub(crate) fn fitting(sizes: impl IntoIterator<Item = Result<i64>>) -> Result<usize> {
    let (mut bytes, mut count) = (0, 0);
    for size in sizes {
        bytes += size?;
        if bytes > BYTES && count > 0 {
            break;
        }
        count += 1;
    }
    Ok(count)
}
