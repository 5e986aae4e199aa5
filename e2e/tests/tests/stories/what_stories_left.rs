//! The last one, by its name: what stories began to delete and didn't wait for is gone.

use anyhow::Result;
use threeport_e2e::World;

use crate::scene::nothing_is_on_its_way_out;

#[tokio::test(flavor = "multi_thread")]
async fn what_stories_deleted_is_gone() -> Result<()> {
    nothing_is_on_its_way_out(&World::connect().await?).await
}
