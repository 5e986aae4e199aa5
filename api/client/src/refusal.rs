//! Reads why the API refused. A later API may know codes that this program does not: then the status says what sort of
//! refusal it is, and the rest is as it was said.

use serde_json::{Value, json};
use threeport_model::{Code, Problem};

/// The problem in the body of an answer with this status; nothing where that is not the API's.
pub(crate) fn read(status: u16, body: &[u8]) -> Option<Problem> {
    let known = serde_json::from_slice(body).ok();
    known.or_else(|| {
        let mut problem: Value = serde_json::from_slice(body).ok()?;
        let code = problem.get_mut("code").filter(|code| code.is_string())?;
        *code = json!(nearest(status));
        serde_json::from_value(problem).ok()
    })
}

/// The code that programs take a status for which comes with one that they don't know.
fn nearest(status: u16) -> Code {
    match status {
        401 => Code::Unauthenticated,
        403 => Code::Forbidden,
        404 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        409 => Code::Conflict,
        410 => Code::Gone,
        412 => Code::PreconditionFailed,
        413 => Code::TooLarge,
        415 => Code::UnsupportedMediaType,
        429 => Code::TooManyRequests,
        400..=499 => Code::Invalid,
        503 => Code::Unavailable,
        _ => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_a_later_api_is_a_refusal_of_the_sort_that_its_status_says() {
        for (status, code, read_as) in [
            (409, "OwnedBy", Some(Code::OwnedBy)),
            (409, "Novel", Some(Code::Conflict)),
            (422, "Novel", Some(Code::Invalid)),
            (503, "Novel", Some(Code::Unavailable)),
            (507, "Novel", Some(Code::Internal)),
        ] {
            let body = json!({"type": "", "title": "", "status": status, "detail": "why", "code": code});
            let problem = read(status, body.to_string().as_bytes());
            assert_eq!(problem.as_ref().map(|problem| problem.code), read_as, "{code}");
            assert_eq!(problem.map(|problem| problem.detail).as_deref(), Some("why"));
        }
        for foreign in ["<html>", "{}", r#"{"code": 7}"#, r#"{"code": "Novel"}"#] {
            assert!(read(502, foreign.as_bytes()).is_none(), "{foreign}");
        }
    }
}
