//! Bodies: bytes within a limit, read strictly, into JSON and from there into types.
//!
//! JSON is read by `serde_json` through [`json`], which refuses duplicate keys, and YAML by `model::yaml`, which does
//! so too. (One reader for both would be the YAML one, but it took fourteen times as long for a megabyte of JSON.)
//! A type is made from the value, so that an error names the field's path.

pub mod json;
pub mod labels;
pub mod object;

use axum::{
    extract::{FromRequest, Request},
    http::header,
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use threeport_model::{FieldError, problem::Code, typed, yaml};

use crate::problem::ApiError;

/// The most bytes of one body: a definition of 8 MiB and its envelope.
pub const MAX_BODY: usize = 9 << 20;
/// The most bytes of one `apply`: several definitions.
pub const MAX_APPLY: usize = 16 << 20;
/// The most bytes that are read to be thrown away.
const MAX_DISCARDED: usize = 64 << 20;
/// The most bytes of one `yamlDocument`.
pub const MAX_DOCUMENT: usize = 8 << 20;

/// The most wrong fields that are looked for in the metadata of one object: an answer names fewer.
const MAX_WRONG: usize = 100;

/// What a body says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/merge-patch+json`
    MergePatch,
}

/// A body of a protocol route: `application/json`, of type `T`; NULs in it are left out.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        media_type(&request, &[MediaType::Json])?;
        let bytes = read(request, MAX_BODY).await?;
        typed(&json::parse_protocol(&bytes)?).map(Self)
    }
}

/// The body as bytes, at most `limit` of them.
///
/// What is too large is read and thrown away before it is refused, up to [`MAX_DISCARDED`]: a client that is still
/// sending when the connection closes sees a broken pipe, and not the answer.
pub async fn read(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(
            Code::TooLarge,
            format!("the body is larger than {} MiB", limit >> 20),
        )
    };
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared: usize = declared
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or_default();
    if declared > MAX_DISCARDED {
        return Err(too_large());
    }
    let mut body = request.into_body();
    let mut bytes = BytesMut::with_capacity(declared.min(limit));
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| ApiError::new(Code::Malformed, "the body ended before it was complete"))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= limit {
            bytes.extend_from_slice(&data);
        } else if length > MAX_DISCARDED {
            break;
        }
    }
    if length > limit {
        Err(too_large())
    } else {
        Ok(bytes.freeze())
    }
}

/// The body's media type, which must be one of `served`.
pub fn media_type(request: &Request, served: &[MediaType]) -> Result<MediaType, ApiError> {
    let names = |types: &[MediaType]| {
        types
            .iter()
            .map(|media| media.name())
            .collect::<Vec<_>>()
            .join(" or ")
    };
    let text = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let refused = || {
        let shown = text.unwrap_or("none");
        let detail = format!("the content type is {shown}; {} is served here", names(served));
        ApiError::new(Code::UnsupportedMediaType, detail)
            .next(format!("set the header `content-type` to {}", names(served)))
    };
    let mut parts = text.ok_or_else(refused)?.split(';');
    let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        part.trim()
            .to_ascii_lowercase()
            .strip_prefix("charset=")
            .map(str::to_owned)
    });
    if charset.is_some_and(|charset| charset.trim_matches('"') != "utf-8") {
        return Err(refused());
    }
    let found = match essence.as_str() {
        "application/json" => MediaType::Json,
        "application/yaml" | "application/x-yaml" | "text/yaml" => MediaType::Yaml,
        "application/merge-patch+json" => MediaType::MergePatch,
        _ => return Err(refused()),
    };
    if served.contains(&found) {
        Ok(found)
    } else {
        Err(refused())
    }
}

impl MediaType {
    /// As in the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::MergePatch => "application/merge-patch+json",
        }
    }
}

/// The documents of a body: exactly one of JSON, any number of YAML.
pub fn documents(bytes: &[u8], media: MediaType) -> Result<Vec<yaml::Document>, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::new(Code::Malformed, "the body is empty"));
    }
    if media != MediaType::Yaml {
        return Ok(vec![yaml::Document {
            number: 0,
            line: 0,
            value: json::parse(bytes)?,
        }]);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(&error))?;
    let documents = yaml::documents(text).map_err(malformed)?;
    if documents.is_empty() {
        return Err(ApiError::new(Code::Malformed, "the body holds no document"));
    }
    Ok(documents)
}

/// `value` as a `T`; an error names the path.
pub fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, ApiError> {
    typed::from_json(value).map_err(|error| ApiError::invalid(vec![error]))
}

fn not_utf8(error: &std::str::Utf8Error) -> ApiError {
    let detail = format!("the body is not UTF-8 (at byte {})", error.valid_up_to());
    ApiError::new(Code::Malformed, detail).next("save it as UTF-8 and send it again")
}

fn malformed(error: FieldError) -> ApiError {
    let place = error
        .line
        .map(|line| format!("line {line}: "))
        .unwrap_or_default();
    ApiError::new(
        Code::Malformed,
        format!("the body can't be read: {place}{}", error.message),
    )
    .with(error)
}
