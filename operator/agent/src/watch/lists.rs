//! Lists of a kind, told as a whole or not at all.

use crate::world::Event;

/// Holds back what a list of a kind shows until the list is complete. Of one that breaks off nothing is told: what it showed
/// would count as seen, and where no list comes to its end nothing would ever say that it is gone.
///
/// It is bounded by what is watched: what waits here is what would wait in the outbox, and its messages are as short.
#[derive(Debug, Default)]
pub(super) struct WholeLists {
    held: Vec<Event>,
    is_listing: bool,
}

impl WholeLists {
    /// What is to be told now that this was seen.
    pub(super) fn pass(&mut self, event: Event) -> Vec<Event> {
        match event {
            Event::Listing(_) => {
                self.held.clear();
                self.is_listing = true;
            }
            Event::Listed(_) => self.is_listing = false,
            _ => {}
        }
        self.held.push(event);
        if self.is_listing {
            Vec::new()
        } else {
            std::mem::take(&mut self.held)
        }
    }
}
