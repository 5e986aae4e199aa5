//! Why something failed, for logs and for the reasons that conditions give. Answers of the API tell less: what the
//! database said is not for their readers.

use std::error::Error;

/// An error and what is behind it, in one line. Many errors tell their cause themselves: what was told is not repeated.
pub fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if text.is_empty() {
            text = said;
        } else if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Failed {
        text: &'static str,
        source: io::Error,
    }

    fn failed(text: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Failed {
        Failed {
            text,
            source: io::Error::other(source),
        }
    }

    #[test]
    fn an_error_is_told_with_all_its_causes_each_once() {
        let connection = || failed("no connection", "connection refused");
        let told = explain(&failed("the database failed", connection()));
        assert_eq!(told, "the database failed: no connection: connection refused");
        let tells_its_cause = failed("the database failed: no connection", connection());
        assert_eq!(
            explain(&tells_its_cause),
            "the database failed: no connection: connection refused"
        );
        assert_eq!(explain(&io::Error::other("gone")), "gone");
        assert_eq!(
            explain(&failed("", connection())),
            "no connection: connection refused"
        );
    }
}
