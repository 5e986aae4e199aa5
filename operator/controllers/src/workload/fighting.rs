//! A field that we heal and somebody else changes back: after five heals in ten minutes it is said aloud, and healed
//! no more until the ten minutes are over. Pure.

use threeport_model::protocol::inventory::InventoryRow;

const WINDOW_MILLISECONDS: i64 = 600_000;
const HEALS: usize = 5;

/// Whether the object was healed too often lately.
pub(super) fn is_fighting(row: &InventoryRow, now: jiff::Timestamp) -> bool {
    let since = now.as_millisecond() - WINDOW_MILLISECONDS;
    row.healed_at.iter().filter(|healed| **healed > since).count() >= HEALS
}

/// Whether the row holds as many heals as are remembered.
pub(super) fn is_exhausted(row: &InventoryRow) -> bool {
    row.healed_at.len() >= HEALS
}

/// Takes note of a heal.
pub(super) fn note_heal(row: &mut InventoryRow, now: jiff::Timestamp) {
    row.healed_at.push(now.as_millisecond());
    let excess = row.healed_at.len().saturating_sub(HEALS);
    row.healed_at.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::observed::tests::row;

    #[test]
    fn five_heals_in_ten_minutes_are_a_fight() {
        let mut row = row();
        let at = |minute: i64| jiff::Timestamp::from_second(minute * 60).unwrap();
        for minute in 0..5 {
            assert!(!is_fighting(&row, at(minute)));
            note_heal(&mut row, at(minute));
        }
        assert!(is_fighting(&row, at(5)));
        assert!(!is_fighting(&row, at(10)), "the first heal is ten minutes old");
        note_heal(&mut row, at(30));
        assert_eq!(row.healed_at.len(), 5);
    }
}
