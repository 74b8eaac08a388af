//! Tokens of share links in addresses: a browser that follows a stream (`EventSource`) can send no header.

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Uri};
use remuda_contracts::business::sharing::SHARE_TOKEN_PREFIX;

/// The method that such tokens open.
pub(crate) const TRACK: &str = "/remuda.trips.v1.TripService/TrackTrip";
/// Where the token stands in a query.
const PARAMETER: &str = "share_token=";

/// The same request with the token as its bearer's, where its method is opened by one. A header that is there already stays. Any
/// other token in the address is taken out and opens nothing: those of accounts and of the node travel in headers only.
pub(crate) fn with_token(rpc: &str, mut request: Request) -> Request {
    let Some(query) = request.uri().query().filter(|_| rpc == TRACK) else { return request };
    let Some(token) = query.split('&').find_map(|pair| pair.strip_prefix(PARAMETER)) else { return request };
    let bearer =
        token.starts_with(SHARE_TOKEN_PREFIX).then(|| HeaderValue::from_str(&format!("Bearer {token}")));
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with(PARAMETER)).collect();
    let path = request.uri().path();
    let path = if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
    if let Ok(path) = PathAndQuery::try_from(path) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(path);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    if let Some(Ok(bearer)) = bearer {
        request.headers_mut().entry(AUTHORIZATION).or_insert(bearer);
    }
    request
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asked(rpc: &str, path: &str, header: Option<&'static str>) -> (String, Option<String>) {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().expect("a path");
        if let Some(header) = header {
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static(header));
        }
        let request = with_token(rpc, request);
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        (request.uri().to_string(), header.map(str::to_owned))
    }

    #[test]
    fn a_token_moves_from_the_address_into_the_header() {
        let bearer = |text: &str| Some(text.to_owned());
        let moved = asked(TRACK, "/tracking/t1?share_token=share-x", None);
        assert_eq!(moved, ("/tracking/t1".into(), bearer("Bearer share-x")));
        let between = asked(TRACK, "/tracking/t1?a=1&share_token=share-x&b=2", None);
        assert_eq!(between, ("/tracking/t1?a=1&b=2".into(), bearer("Bearer share-x")));
        let known = asked(TRACK, "/tracking/t1?share_token=share-x", Some("Bearer y"));
        assert_eq!(known, ("/tracking/t1".into(), bearer("Bearer y")), "a header goes first");
        for other in ["x", "", "SHARE-x", "%73hare-x"] {
            let path = format!("/tracking/t1?share_token={other}&share_token=share-x");
            assert_eq!(
                asked(TRACK, &path, None),
                ("/tracking/t1".into(), None),
                "{other} is of no share link"
            );
        }
        assert_eq!(asked(TRACK, "/tracking/t1", None), ("/tracking/t1".into(), None));
        let other = asked("/remuda.trips.v1.TripService/GetTrip", "/trips/t1?share_token=x", None);
        assert_eq!(other, ("/trips/t1?share_token=x".into(), None), "no other method takes one");
    }
}
