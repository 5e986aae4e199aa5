//! Every await of the facade that writes, by name.

threeport_failpoint::writes! {
    "facade";
    /// The namespace is marked as served.
    SERVED = "served";
    /// A definition or the admission policy is made.
    SHARED_CREATE = "shared-create";
    /// A definition or the admission policy is brought to our version.
    SHARED_REPLACE = "shared-replace";
    /// A desired state is brought to the API.
    SOURCE_PUT = "source-put";
    /// A deletion is brought to the API.
    SOURCE_DELETE = "source-delete";
    /// Our finalizer is put on.
    FINALIZER_ADD = "finalizer-add";
    /// Our finalizer is taken off.
    FINALIZER_REMOVE = "finalizer-remove";
    /// Our finalizer is taken off whatever the resource looks like.
    FINALIZER_RELEASE = "finalizer-release";
    /// A custom resource is made.
    RESOURCE_CREATE = "resource-create";
    /// A mirror is changed.
    RESOURCE_REPLACE = "resource-replace";
    /// A mirror is removed.
    RESOURCE_DELETE = "resource-delete";
    /// The status of a custom resource is written.
    RESOURCE_STATUS = "resource-status";
    /// A Kubernetes event tells what happened.
    EVENT_CREATE = "event-create";
    /// A Kubernetes event is counted again.
    EVENT_COUNT = "event-count";
    /// A Kubernetes event says what the API refused.
    EVENT_REFUSED = "event-refused";
    /// The facade's Deployment is scaled to nothing before finalizers are taken off.
    SCALE_DOWN = "scale-down";
    /// The namespace is marked as served no more.
    UNSERVED = "unserved";
}
