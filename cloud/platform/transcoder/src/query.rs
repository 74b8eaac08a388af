//! A query as pairs.

use percent_encoding::percent_decode_str;

use crate::PARAMETERS_MAX;
use crate::request::Problem;

/// `a=1&b=x+y` as pairs of name and value.
///
/// # Errors
/// When there are too many, or bytes that are not text.
pub fn parameters(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let mut pairs = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        if pairs.len() == PARAMETERS_MAX {
            return Err(Problem::new(
                "query",
                format!("it has more than {PARAMETERS_MAX} parameters; use a body"),
            ));
        }
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let text = |text: &str| {
            let spaced = text.replace('+', " ");
            let decoded = percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned);
            decoded.map_err(|_| Problem::new("query", format!("`{part}` is not UTF-8")))
        };
        pairs.push((text(name)?, text(value)?));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_pairs() {
        let pairs = parameters("a=1&a=2&&b=x+y%2B%26&c&d=e=f").expect("a query");
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("a", "2"), ("b", "x y+&"), ("c", ""), ("d", "e=f")]);
        assert!(parameters("a=%ff").is_err());
        assert!(parameters(&"a=1&".repeat(PARAMETERS_MAX + 1)).is_err());
    }
}
