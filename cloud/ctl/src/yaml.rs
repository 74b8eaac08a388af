//! JSON documents as YAML.

use std::io::{self, Write};

use serde_json::Value;

/// Turns the JSON documents written to it into YAML documents, each when it is flushed.
pub(crate) struct Yaml<'a> {
    out: &'a mut dyn Write,
    held: Vec<u8>,
    documents: u64,
}

impl<'a> Yaml<'a> {
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, held: Vec::new(), documents: 0 }
    }
}

impl Write for Yaml<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut documents = serde_json::Deserializer::from_slice(&self.held).into_iter::<Value>();
        let mut whole = 0;
        // Half a document waits for its other half.
        while let Some(Ok(document)) = documents.next() {
            whole = documents.byte_offset();
            if self.documents > 0 {
                writeln!(self.out, "---")?;
            }
            self.documents += 1;
            let mut text = String::new();
            block(&document, 0, &mut text);
            self.out.write_all(text.trim_start_matches('\n').as_bytes())?;
            writeln!(self.out)?;
        }
        self.held.drain(..whole);
        self.out.flush()
    }
}

/// Writes a value that follows a key, a dash, or nothing.
fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                line(indent, out);
                out.push_str(&scalar(name));
                out.push(':');
                inner(member, indent, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                line(indent, out);
                out.push('-');
                inner(item, indent, out);
            }
        }
        Value::String(text) => out.push_str(&scalar(text)),
        // Empty ones, numbers, booleans and null are written alike.
        other => out.push_str(&other.to_string()),
    }
}

fn inner(value: &Value, indent: usize, out: &mut String) {
    let nested =
        value.as_object().is_some_and(|o| !o.is_empty()) || value.as_array().is_some_and(|a| !a.is_empty());
    if !nested {
        out.push(' ');
    }
    block(value, indent + 2, out);
}

fn line(indent: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A text: bare where nothing else could be read from it, else as in JSON, which YAML reads alike.
fn scalar(text: &str) -> String {
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
    let taken = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if bare && !taken.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    // JSON leaves DEL and the C1 controls as they are; YAML does not have all of them.
    let quoted = Value::from(text).to_string();
    quoted
        .chars()
        .map(|c| if c.is_control() { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_become_blocks() {
        let mut out = Vec::new();
        let mut yaml = Yaml::new(&mut out);
        let document = json!({ "vehicles": [{ "id": "V1", "on": true, "tags": [] }, [1, "no"]], "time": "2023-11-14T22:13:20Z" });
        write!(yaml, "{document:#}\n{{\"half\":").unwrap();
        yaml.flush().unwrap();
        writeln!(yaml, "1}}").unwrap();
        yaml.flush().unwrap();
        let expected = "\
time: \"2023-11-14T22:13:20Z\"
vehicles:
  -
    id: V1
    \"on\": true
    tags: []
  -
    - 1
    - \"no\"
---
half: 1
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
