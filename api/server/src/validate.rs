//! From what somebody submitted to what the store takes: the kind's own rules, and what this version does not serve.

use threeport_model::{
    FieldError, KindDescriptor, Object, document,
    kind::Kind,
    kinds::{ControlPlaneInstance, WorkloadDefinition},
    problem::Code,
};

use crate::{body::object::Submitted, problem::ApiError};

/// The object with its specification in normal form.
pub fn object(submitted: Submitted, control_plane: &str) -> Result<Object, ApiError> {
    checked(submitted, control_plane).map_err(|(code, errors)| refused(code, errors))
}

/// Several objects; every error is named, by the object's place.
pub fn objects(submitted: Vec<Submitted>, control_plane: &str) -> Result<Vec<Object>, ApiError> {
    let mut objects = Vec::with_capacity(submitted.len());
    let mut errors = Vec::new();
    let mut worst = Code::NotSupported;
    for (index, submitted) in submitted.into_iter().enumerate() {
        let (line, document) = (submitted.line, submitted.document);
        match checked(submitted, control_plane) {
            Ok(object) => objects.push(object),
            Err((code, found)) => {
                worst = if code == Code::Invalid { code } else { worst };
                errors.extend(found.into_iter().map(|error| {
                    // A line within a yamlDocument counts from the document's own start.
                    let (line, document) = (error.line.or(line), error.document.or(document));
                    FieldError {
                        line,
                        document,
                        ..error.within(&format!("objects[{index}]"))
                    }
                }));
            }
        }
    }
    if errors.is_empty() {
        Ok(objects)
    } else {
        Err(refused(worst, errors))
    }
}

/// The body's kind is the path's.
pub fn is_of_kind(submitted: &Submitted, kind: &KindDescriptor) -> Result<(), ApiError> {
    if submitted.kind.kind == kind.kind {
        return Ok(());
    }
    Err(ApiError::field(
        "kind",
        format!("must be {:?}, as in the path", kind.kind),
    ))
}

/// The body's kind and name are the path's.
pub fn is_named(submitted: &Submitted, kind: &KindDescriptor, name: &str) -> Result<(), ApiError> {
    is_of_kind(submitted, kind)?;
    if submitted.name == name {
        return Ok(());
    }
    Err(ApiError::field(
        "metadata.name",
        format!("must be {name:?}, as in the path; names don't change"),
    ))
}

type Refusal = (Code, Vec<FieldError>);

fn checked(submitted: Submitted, control_plane: &str) -> Result<Object, Refusal> {
    let kind = submitted.kind;
    let spec = if kind.kind == WorkloadDefinition::KIND && document::shows_digest(&submitted.spec) {
        // What a mirror shows of a large document. The store knows whether it is the one that is stored.
        submitted.spec
    } else {
        (kind.normalize)(&submitted.spec).map_err(|errors| (Code::Invalid, errors))?
    };
    let mut unsupported = (kind.not_supported)(&spec);
    if kind.kind == ControlPlaneInstance::KIND && submitted.name != control_plane {
        let message = format!("this version serves only the control plane's own record, {control_plane:?}");
        unsupported.push(FieldError::new("metadata.name", message));
    }
    if !unsupported.is_empty() {
        return Err((Code::NotSupported, unsupported));
    }
    let mut object = Object::new(kind.kind, &submitted.name, spec);
    object.metadata.labels = submitted.labels;
    object.metadata.annotations = submitted.annotations;
    Ok(object)
}

fn refused(code: Code, errors: Vec<FieldError>) -> ApiError {
    let refused = ApiError::invalid(errors);
    if code == Code::Invalid {
        return refused;
    }
    ApiError {
        errors: refused.errors,
        ..ApiError::new(code, refused.detail)
    }
}
