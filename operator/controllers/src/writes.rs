//! Every await of the controllers that writes, by name.

threeport_failpoint::writes! {
    "controllers";
    /// Inventory rows with intent.
    INTEND = "intend";
    /// An object that should not be there is made.
    CREATE = "create";
    /// What was there already is ours, or may be adopted.
    TAKE = "take";
    /// An object of ours is changed or healed.
    UPDATE = "update";
    /// An object of ours goes, to be made anew.
    RECREATE = "recreate";
    /// An object of ours goes.
    REMOVE = "remove";
    /// Our identity goes off a namespace or CRD that others use.
    LEAVE = "leave";
    /// A namespace goes that another instance of ours had made and left.
    REMOVE_LEFT = "remove-left";
    /// Our identity goes off an object that stays.
    RELEASE = "release";
}
