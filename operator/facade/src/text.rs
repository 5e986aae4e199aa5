//! Texts for people, within the limits of Kubernetes.

use threeport_model::explain;

/// The longest note of a Kubernetes Event is 1024 bytes.
pub(crate) const NOTE: usize = 1000;
/// The longest message of a condition is 32768 bytes; custom resources are to stay small, and REST has all of it.
pub(crate) const MESSAGE: usize = 1000;

/// At most `most` bytes of `text`, cut between characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most)
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or_default();
    format!("{}...", &text[..end])
}

/// What Kubernetes said, without the frame around it.
pub(crate) fn of_kubernetes(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => explain(other),
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("aää", 2), "a...");
    }
}
