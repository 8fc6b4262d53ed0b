//! The head of a request, kept in case it has to be sent again.
//!
//! `Parts::clone` would be most of what a request costs here: a header's value that comes from a caller makes an allocation
//! of its own when it is first cloned. So the text of a head is copied, all of it into one buffer, and read again by the one
//! request in thousands that is rejected.

use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    request::Parts,
    uri::{self, Authority, PathAndQuery, Scheme},
};

/// What an equal head is made of.
pub(crate) struct Snapshot {
    method: Method,
    version: Version,
    /// The URI's three parts, then each header's name and value in their order: [`put`] writes them, and [`Text`] reads them.
    text: Vec<u8>,
    extensions: Extensions,
}

impl Snapshot {
    pub(crate) fn of(head: &Parts) -> Self {
        Self {
            method: head.method.clone(),
            version: head.version,
            text: text_of(&head.uri, &head.headers),
            extensions: head.extensions.clone(),
        }
    }

    pub(crate) fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The head, read again. It is `None` only for one that holds what no parser of `http` lets through.
    pub(crate) fn restore(self) -> Option<Parts> {
        let mut text = Text(&self.text);
        let (mut head, ()) = Request::new(()).into_parts();
        head.uri = text.uri()?;
        head.headers = text.headers()?;
        head.method = self.method;
        head.version = self.version;
        head.extensions = self.extensions;
        Some(head)
    }
}

fn text_of(uri: &Uri, headers: &HeaderMap) -> Vec<u8> {
    let uri = parts_of(uri);
    let size_of_uri: usize = uri.iter().map(|part| size(part)).sum();
    let size_of_headers: usize = headers
        .iter()
        .map(|(name, value)| size(name.as_str().as_bytes()) + size(value.as_bytes()))
        .sum();
    let mut text = Vec::with_capacity(size_of_uri + size_of_headers);
    for part in uri {
        put(&mut text, part, false);
    }
    for (name, value) in headers {
        put(&mut text, name.as_str().as_bytes(), false);
        put(&mut text, value.as_bytes(), value.is_sensitive());
    }
    text
}

/// Scheme, authority, and path and query. One that is not there is empty, and one that is there never is.
fn parts_of(uri: &Uri) -> [&[u8]; 3] {
    // A URI of nothing at all has a path and query that reads as `/`.
    let path_and_query = uri.path_and_query().filter(|_| !uri.path().is_empty());
    [
        uri.scheme_str(),
        uri.authority().map(Authority::as_str),
        path_and_query.map(PathAndQuery::as_str),
    ]
    .map(|part| part.unwrap_or_default().as_bytes())
}

/// Writes a part after its length, which has a mark in its lowest bit.
fn put(text: &mut Vec<u8>, part: &[u8], mark: bool) {
    // No slice is so long that the shift loses anything.
    let length = part.len() << 1 | usize::from(mark);
    text.extend_from_slice(&length.to_ne_bytes());
    text.extend_from_slice(part);
}

/// What `put` writes.
fn size(part: &[u8]) -> usize {
    LENGTH + part.len()
}

const LENGTH: usize = size_of::<usize>();

/// Reads what [`put`] wrote.
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    fn next(&mut self) -> Option<(&'a [u8], bool)> {
        let (length, rest) = self.0.split_first_chunk::<LENGTH>()?;
        let length = usize::from_ne_bytes(*length);
        let (part, rest) = rest.split_at_checked(length >> 1)?;
        self.0 = rest;
        Some((part, length & 1 == 1))
    }

    fn uri(&mut self) -> Option<Uri> {
        let mut part = || self.next().map(|(part, _)| part);
        let mut parts = uri::Parts::default();
        parts.scheme = read(part()?, |scheme| Scheme::try_from(scheme).ok())?;
        parts.authority = read(part()?, |authority| Authority::try_from(authority).ok())?;
        parts.path_and_query = read(part()?, |path| PathAndQuery::try_from(path).ok())?;
        Uri::from_parts(parts).ok()
    }

    fn headers(&mut self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        while !self.0.is_empty() {
            let (name, _) = self.next()?;
            let (value, sensitive) = self.next()?;
            let mut value = HeaderValue::from_bytes(value).ok()?;
            value.set_sensitive(sensitive);
            let name = HeaderName::from_bytes(name).ok()?;
            headers.try_append(name, value).ok()?;
        }
        Some(headers)
    }
}

/// Reads a part of a URI that may not be there. The outer `None` says that it cannot be read.
fn read<T>(part: &[u8], read: impl FnOnce(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if part.is_empty() {
        return Some(None);
    }
    read(part).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    /// What a request says of itself to a layer further down.
    #[derive(Clone, Debug, PartialEq)]
    struct Tenant(u32);

    /// The head as it comes back, or a sentence on what is not the same.
    fn compare(head: &Parts) -> Result<(), &'static str> {
        let again = Snapshot::of(head).restore().ok_or("it is lost")?;
        // `HeaderMap`'s own comparison knows neither order nor flags.
        let headers = |head: &Parts| -> Vec<_> {
            let entries = head.headers.iter();
            entries
                .map(|(name, value)| (name.clone(), value.clone(), value.is_sensitive()))
                .collect()
        };
        let checks = [
            (head.method == again.method, "another method"),
            (head.uri == again.uri, "another URI"),
            (
                head.uri.to_string() == again.uri.to_string(),
                "another URI's text",
            ),
            (head.version == again.version, "another version"),
            (headers(head) == headers(&again), "other headers"),
            (
                head.extensions.get::<Tenant>() == again.extensions.get(),
                "other extensions",
            ),
        ];
        let wrong = checks.into_iter().find(|(equal, _)| !equal);
        wrong.map_or(Ok(()), |(_, what)| Err(what))
    }

    fn head_of(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    fn method() -> impl Strategy<Value = Method> {
        let names = prop_oneof![
            "GET|POST|PUT|DELETE|HEAD|OPTIONS|CONNECT|PATCH|TRACE|QUERY|get",
            "[A-Za-z!#$%&'*+.^_`|~-]{1,40}",
        ];
        names.prop_map(|name| name.parse().unwrap())
    }

    fn uri() -> impl Strategy<Value = Uri> {
        let authority =
            "([a-z0-9._~-]{1,12}(:[a-z]{0,5})?@)?([A-Za-z0-9.-]{1,30}|\\[::1\\])(:[0-9]{1,5})?";
        let path = "(/[a-zA-Z0-9._~!$&'()*+,;=:@%-]{0,20}){1,4}(\\?[a-zA-Z0-9=&/?%-]{0,300})?";
        let texts = prop_oneof![
            path.boxed(),
            authority.boxed(),
            Just("*".to_owned()).boxed(),
            ("https?|HTTP|[a-z][a-z0-9+.-]{0,20}", authority, path)
                .prop_map(|(scheme, authority, path)| format!("{scheme}://{authority}{path}"))
                .boxed(),
            // A path that is not there, and a query with none before it.
            ("https?", authority, "(\\?[a-z=]{0,9})?")
                .prop_map(|(scheme, authority, query)| format!("{scheme}://{authority}{query}"))
                .boxed(),
        ];
        // Not every text that looks like a URI is one.
        texts.prop_filter_map("no URI", |text| text.parse().ok())
    }

    fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
        let names = prop_oneof![
            // Few enough that they come twice.
            "accept|cookie|authorization|content-type|x-a|x-b|x-c",
            "[a-z0-9!#$%&'*+.^_`|~-]{1,80}",
        ];
        let bytes = prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8];
        (names, vec(bytes, 0..60), any::<bool>()).prop_map(|(name, bytes, sensitive)| {
            let mut value = HeaderValue::from_bytes(&bytes).unwrap();
            value.set_sensitive(sensitive);
            (name.parse().unwrap(), value)
        })
    }

    fn version() -> impl Strategy<Value = Version> {
        prop_oneof![
            Just(Version::HTTP_09),
            Just(Version::HTTP_10),
            Just(Version::HTTP_11),
            Just(Version::HTTP_2),
            Just(Version::HTTP_3),
        ]
    }

    proptest! {
        /// Promise: R14
        #[test]
        fn every_head_comes_back_equal(
            method in method(),
            uri in uri(),
            version in version(),
            headers in vec(header(), 0..40),
            removed in option::of(0..40_usize),
            tenant in option::of(any::<u32>()),
        ) {
            let mut head = head_of(Request::builder().method(method).uri(uri).version(version));
            for (name, value) in headers {
                head.headers.append(name, value);
            }
            // The last one takes the place of one that is taken out.
            let removed = removed.and_then(|at| head.headers.keys().nth(at).cloned());
            removed.map(|name| head.headers.remove(name));
            tenant.map(|tenant| head.extensions.insert(Tenant(tenant)));
            prop_assert_eq!(compare(&head), Ok(()));
        }
    }

    /// Promise: R14
    #[test]
    fn so_do_the_ones_that_are_hard_to_say() {
        let long = format!("https://api.test/{}", "a".repeat(60_000));
        let targets = [
            "*",
            "/",
            "api.test:443",
            "[::1]:8443",
            "user:pw@host",
            "https://api.test?q=1",
            &long,
        ];
        for target in targets {
            let connect = Request::builder().method("CONNECT").uri(target);
            assert_eq!(compare(&head_of(connect)), Ok(()), "{target}");
        }

        let mut nothing = head_of(Request::builder());
        nothing.uri = Uri::from_parts(uri::Parts::default()).unwrap();
        assert_eq!(compare(&nothing), Ok(()));

        let mut asterisk = uri::Parts::default();
        asterisk.scheme = Some(Scheme::HTTPS);
        asterisk.authority = Some(Authority::from_static("api.test"));
        asterisk.path_and_query = Some(PathAndQuery::from_static("*"));
        nothing.uri = Uri::from_parts(asterisk).unwrap();
        assert_eq!(compare(&nothing), Ok(()));
    }

    /// Promise: R14
    #[test]
    fn so_does_one_of_very_many_and_very_long_headers() {
        let mut head = head_of(Request::get("/"));
        for at in 0..20_000 {
            let name: HeaderName = format!("x-{}", at % 15_000).parse().unwrap();
            head.headers.append(name, at.into());
        }
        let long = HeaderValue::from_bytes(&vec![b'v'; 1 << 20]).unwrap();
        head.headers.append("cookie", long);
        assert_eq!(compare(&head), Ok(()));
    }
}
