//! Every await of the engine that writes, by name.

threeport_failpoint::writes! {
    "engine";
    /// Claims are taken.
    CLAIM = "claim";
    /// Claims are kept.
    RENEW = "renew";
    /// A run ends: status, inventory, events and its pending row.
    COMPLETE = "complete";
    /// The durable consumer is ensured.
    CONSUMER = "consumer";
    /// A message is acknowledged, or terminated.
    ACKNOWLEDGE = "acknowledge";
}
