//! A request's path, taken apart.

use percent_encoding::percent_decode_str;

use crate::{PATH_BYTES_MAX, SEGMENTS_MAX};

/// The parts of a path, decoded, and the verb behind the last colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) verb: Option<String>,
}

impl Path {
    /// Takes `/a/b:verb` apart. None for what no template can match: empty parts, a slash or a control character in a part,
    /// bytes that are not text, too much of it. A colon that is written `%3A` belongs to its part.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > PATH_BYTES_MAX {
            return None;
        }
        let rest = text.strip_prefix('/')?;
        let last = rest.rfind('/').map_or(0, |at| at + 1);
        let (rest, verb) = match rest[last..].rsplit_once(':') {
            Some((before, verb)) => (&rest[..last + before.len()], Some(decoded(verb)?)),
            None => (rest, None),
        };
        let segments: Vec<String> =
            rest.split('/').take(SEGMENTS_MAX + 1).map(decoded).collect::<Option<_>>()?;
        (segments.len() <= SEGMENTS_MAX).then_some(Self { segments, verb })
    }
}

fn decoded(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    let usable = !text.is_empty() && text != "." && text != "..";
    (usable && !text.chars().any(|c| c == '/' || c.is_control())).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<(Vec<String>, Option<String>)> {
        Path::parse(text).map(|path| (path.segments, path.verb))
    }

    #[test]
    fn paths_come_apart() {
        let of = |segments: &[&str], verb: Option<&str>| {
            Some((segments.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(), verb.map(str::to_owned)))
        };
        assert_eq!(parts("/a/b"), of(&["a", "b"], None));
        assert_eq!(parts("/a/b:watch"), of(&["a", "b"], Some("watch")));
        assert_eq!(parts("/a/b%3Awatch"), of(&["a", "b:watch"], None));
        assert_eq!(parts("/a:b/c"), of(&["a:b", "c"], None), "a verb stands at the end only");
        assert_eq!(parts("/%C3%A9"), of(&["é"], None));
        for nothing in
            ["", "a", "/", "/a//b", "/a/", "/a%2Fb", "/a%00", "/%ff", "/..", "/a/%2e%2e/b", "/:watch", "/a:"]
        {
            assert_eq!(parts(nothing), None, "{nothing}");
        }
        assert_eq!(parts(&"/a".repeat(SEGMENTS_MAX + 1)), None);
    }
}
