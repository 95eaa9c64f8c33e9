//! Label selectors, as in URLs.

use serde_json::Value;

/// A selector: all of its requirements must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selector {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    ///
    /// # Errors
    /// If it is not a selector.
    pub fn read(text: &str) -> Result<Self, String> {
        let parts = split(text).into_iter().filter(|part| !part.is_empty());
        parts
            .map(|part| requirement(&part))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// True if an object has matching labels.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.0.iter().all(|Requirement { key, rule }| {
            let value = labels.and_then(|l| l.get(key)).and_then(Value::as_str);
            match rule {
                Rule::In(values) => value.is_some_and(|v| values.iter().any(|w| w == v)),
                Rule::NotIn(values) => value.is_none_or(|v| values.iter().all(|w| w != v)),
                Rule::Exists => value.is_some(),
                Rule::Absent => value.is_none(),
            }
        })
    }
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_i32);
    for c in text.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let of = |key: &str, rule| {
        let key = key.trim().to_owned();
        let sound = !key.is_empty() && !key.contains([' ', '(', ')', '=', '!']);
        sound
            .then_some(Requirement { key, rule })
            .ok_or_else(|| format!("unable to parse requirement: {text}"))
    };
    let list = |text: &str| {
        let inner = text
            .trim()
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'));
        let inner = inner.ok_or_else(|| format!("unable to parse requirement: {text}"))?;
        Ok::<_, String>(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    if let Some((key, values)) = text.split_once(" notin ") {
        return of(key, Rule::NotIn(list(values)?));
    }
    if let Some((key, values)) = text.split_once(" in ") {
        return of(key, Rule::In(list(values)?));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return of(key, Rule::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = text.split_once('=') {
        let value = value.trim_start_matches('=').trim();
        return of(key, Rule::In(vec![value.to_owned()]));
    }
    match text.strip_prefix('!') {
        Some(key) => of(key, Rule::Absent),
        None => of(text, Rule::Exists),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requirements_are_those_of_the_api() {
        let object = json!({"metadata": {"labels": {"a": "b", "x/y": "z"}}});
        for (text, matches) in [
            ("", true),
            ("a=b", true),
            ("a==b,x/y", true),
            ("a!=b", false),
            ("a in (b,c),x/y in (z)", true),
            ("a in (c)", false),
            ("a notin (c),nope notin (q)", true),
            ("!a", false),
            ("!nope", true),
            ("nope", false),
        ] {
            assert_eq!(Selector::read(text).unwrap().matches(&object), matches, "{text}");
        }
        assert!(Selector::read("a in b c d=(").is_err());
        assert!(Selector::read("=b").is_err());
    }
}
