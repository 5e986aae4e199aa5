//! Names: RFC 1123 labels, as Kubernetes takes them for namespaces and Services.

/// The longest name.
pub const MAX_LENGTH: usize = 63;

/// Why `name` is not an RFC 1123 label, or nothing if it is one.
pub fn problem(name: &str) -> Option<String> {
    let allowed = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    if name.is_empty() {
        return Some("must not be empty".to_owned());
    }
    if name.len() > MAX_LENGTH {
        return Some(format!(
            "must be at most {MAX_LENGTH} characters, has {}",
            name.len()
        ));
    }
    if !name
        .chars()
        .all(|character| allowed(character) || character == '-')
    {
        return Some("must consist of lower case letters, digits and '-'".to_owned());
    }
    if !name.starts_with(allowed) || !name.ends_with(allowed) {
        return Some("must start and end with a lower case letter or a digit".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn names_are_rfc_1123_labels() {
        for good in ["a", "web", "web-1", "1web", &"a".repeat(63)] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", &"a".repeat(64)] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
