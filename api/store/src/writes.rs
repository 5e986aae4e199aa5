//! Every transaction by name, and what the migration writes outside of one: what metrics and failpoints are called.

threeport_failpoint::writes! {
    "store";
    /// An agent registers.
    AGENT_REGISTER = "agent_register";
    /// An agent is there.
    AGENT_HEARTBEAT = "agent_heartbeat";
    /// What an agent saw.
    AGENT_OBSERVE = "agent_observe";
    /// Claims are taken.
    CLAIM = "claim";
    /// Claims are kept.
    CLAIM_RENEW = "claim_renew";
    /// Claims are given back whose objects can't be read, or don't fit into the answer.
    CLAIM_UNREADABLE = "claim_unreadable";
    /// A run ends.
    CLAIM_COMPLETE = "claim_complete";
    /// Inventory rows with intent.
    INVENTORY_INTENT = "inventory_intent";
    /// Events that are reported by themselves.
    EVENT_RECORD = "event_record";
    /// A status outside of a claim.
    STATUS_PUT = "status_put";
    /// Objects become pending that are to be looked at again.
    PENDING_VERIFY = "pending_verify";
    /// The control plane records itself.
    SYSTEM_ENSURE = "system_ensure";
    /// POST.
    OBJECT_CREATE = "object_create";
    /// PUT and PATCH.
    OBJECT_UPDATE = "object_update";
    /// DELETE.
    OBJECT_DELETE = "object_delete";
    /// Apply.
    OBJECT_APPLY = "object_apply";
    /// The API becomes the owner.
    OBJECT_TAKE_OVER = "object_take_over";
    /// The facade brings a desired state.
    SOURCE_PUT = "source_put";
    /// The facade brings a deletion.
    SOURCE_DELETE = "source_delete";
    /// Tombstones past their retention go.
    PURGE_TOMBSTONES = "purge_tombstones";
    /// Former desired states past their retention go.
    PURGE_REVISIONS = "purge_revisions";
    /// Operations past their retention go.
    PURGE_OPERATIONS = "purge_operations";
    /// Answers for idempotency keys past their retention go.
    PURGE_ANSWERS = "purge_answers";
    /// Events past their retention go.
    PURGE_EVENTS = "purge_events";
    /// Documents that nothing refers to go.
    PURGE_DOCUMENTS = "purge_documents";
    /// Kinds that nothing is of any more are watched no longer.
    PURGE_WATCHED_KINDS = "purge_watched_kinds";
    /// The migration's own table is made.
    SCHEMA_TABLE = "schema_table";
    /// The migration's one row is made.
    SCHEMA_ROW = "schema_row";
    /// One step of the schema.
    SCHEMA_STEP = "schema_step";
    /// The schema's version says that the step is done.
    SCHEMA_VERSION = "schema_version";
    /// A new database gets its identity.
    IDENTITY = "identity";
}
