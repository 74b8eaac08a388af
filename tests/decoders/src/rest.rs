//! What the console reads of REST requests, and the tokens that callers give back.

use std::sync::LazyLock;

use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use remuda_api::DESCRIPTORS;
use remuda_console::{Mark, PageToken};
use remuda_transcoder::{Found, Path, Table, Template, Verb, json, parameters};

/// The API's own routes.
static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("our descriptors");
    Table::new(pool, |service| service.starts_with("remuda.")).expect("our routes")
});

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A template in the first line, a path in the second.
pub(crate) fn template(bytes: &[u8]) {
    let text = text(bytes);
    let (template, path) = text.split_once('\n').unwrap_or((&text, ""));
    let (Ok(template), Some(path)) = (Template::parse(template), Path::parse(path)) else { return };
    for (_, value) in template.fits(&path).into_iter().flatten() {
        assert!(!value.is_empty() && !value.contains("//"), "a name with a hole in it: {value}");
    }
}

/// `GET /path?query` in the first line, a body behind it.
pub(crate) fn request(bytes: &[u8]) {
    let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    let (line, body) = (text(&bytes[..end]), bytes.get(end + 1..).unwrap_or_default());
    let Some((verb, target)) = line.split_once(' ') else { return };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Found::Route(route, fields) = TABLE.find(Verb::named(verb), path) else { return };
    let Ok(query) = parameters(query) else { return };
    let Ok(message) = route.message(&fields, &query, body) else { return };
    for (field, value) in &fields {
        let now = message.get_field_by_name(field);
        assert_eq!(
            now.as_deref().and_then(|now| now.as_str()),
            Some(value.as_str()),
            "the path has the last word"
        );
    }
    let encoded = message.encode_to_vec();
    let again = DynamicMessage::decode(message_descriptor(&message), encoded.as_slice())
        .expect("what was made decodes");
    assert_eq!(again.encode_to_vec(), encoded);
    // What JSON said, JSON can say.
    assert!(json(&message).is_ok());
}

fn message_descriptor(message: &DynamicMessage) -> prost_reflect::MessageDescriptor {
    use prost_reflect::ReflectMessage;
    message.descriptor()
}

/// A page token in the first line, the filter in the second.
pub(crate) fn page_token(bytes: &[u8]) {
    let text = text(bytes);
    let (token, filter) = text.split_once('\n').unwrap_or((&text, ""));
    if let Ok(Some(last)) = PageToken::read(token, filter) {
        assert_eq!(PageToken::read(&PageToken::write(&last, filter), filter), Ok(Some(last)));
    }
}

pub(crate) fn resume_token(bytes: &[u8]) {
    if let Some(mark) = Mark::from_token(&text(bytes)) {
        assert_eq!(Mark::from_token(&mark.to_token()), Some(mark));
    }
}
