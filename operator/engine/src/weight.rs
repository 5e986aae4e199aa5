//! How large the objects of claims are: what a run makes of a large one (read, taken apart, rendered) is some times as much
//! as its text, in a dozen runs at once more than a process has.

use serde_json::Value;
use threeport_model::protocol::claim::Claim;

/// A claim that has no more bytes weighs nothing: as many as may be held are no matter.
const LIGHT: usize = 256 << 10;
/// How many bytes of others are held at once; one, however large it is.
pub(crate) const MOST: usize = 16 << 20;

/// What a claim weighs, in bytes.
pub(crate) fn of(claim: &Claim) -> usize {
    let objects = std::iter::once(&claim.object).chain(&claim.references);
    let objects: usize = objects
        .map(|object| of_value(&object.spec) + of_value(&object.status))
        .sum();
    let secrets = claim.secrets.iter();
    let secrets: usize = secrets.map(|(key, value)| key.len() + value.len()).sum();
    let weight = objects + secrets;
    if weight > LIGHT { weight } else { 0 }
}

/// As many bytes as its text has, about.
fn of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| of_value(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(key, value)| key.len() + 4 + of_value(value))
                .sum::<usize>()
                + 2
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::Object;

    use super::*;

    #[test]
    fn a_claim_weighs_about_as_much_as_the_text_of_what_it_carries() {
        let field = json!({"name": "a field", "values": [1234, "two", null, true, {"three": "3"}]});
        let spec = json!({"fields": vec![field; 10_000]});
        let text = spec.to_string().len();
        let object = |spec: &Value| Object::new("Thing", "thing", spec.clone());
        let of_object = of(&Claim::of(object(&spec)));
        assert!(
            (text * 9 / 10..text * 11 / 10).contains(&of_object),
            "{of_object} of {text}"
        );
        let mut claim = Claim::of(object(&json!({})));
        assert_eq!(of(&claim), 0);
        claim.references = vec![object(&spec)];
        let of_reference = of(&claim);
        assert!(of_reference.abs_diff(of_object) < 100, "{of_reference}");
        claim.secrets.insert("key".to_owned(), "s".repeat(LIGHT));
        assert_eq!(of(&claim), of_reference + LIGHT + "key".len());
    }
}
