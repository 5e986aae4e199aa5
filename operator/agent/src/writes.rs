//! Every await of the agent that writes, by name.

threeport_failpoint::writes! {
    "agent";
    /// An epoch begins.
    REGISTER = "register";
    /// The agent says that it is there.
    HEARTBEAT = "heartbeat";
    /// What was seen is reported.
    REPORT = "report";
}
