//! Every await of the server that writes something else than the database, by name.

threeport_failpoint::writes! {
    "server";
    /// A commit is told.
    PUBLISH = "publish";
    /// What was not told, or not heard, is told by the relay.
    RELAY = "relay";
    /// The stream is ensured.
    STREAM = "stream";
    /// The bootstrap keeps a bundle.
    BUNDLE = "bundle";
    /// The bootstrap publishes the CA's certificate.
    AUTHORITY = "authority";
}
