//! How a token request's request reaches the token endpoint.

#[cfg(feature = "rustls-no-provider")]
pub(crate) mod client_certificate;
#[cfg(feature = "rustls-no-provider")]
pub(crate) mod connect;
#[cfg(feature = "rustls-no-provider")]
mod handshake;
#[cfg(feature = "rustls-no-provider")]
pub(crate) mod provider;
#[cfg(feature = "proxy")]
pub(crate) mod proxy;
#[cfg(feature = "rustls-no-provider")]
pub(crate) mod roots;
#[cfg(feature = "rustls-no-provider")]
pub(crate) mod rustls;

use std::pin::pin;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};
use tower_service::Service;

use crate::error::Error;

/// Any HTTP client, without its type: it is called once per expiry, where a box costs nothing that counts.
pub(crate) type Transport = BoxCloneSyncService<Request<Bytes>, Response<Bytes>, Error>;

/// An answer larger than this is an error, before it is in memory. Token answers are below 10 KiB.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Erases a client's type and reads its answers, up to a limit.
pub(crate) fn erase<T, Q, A>(client: T) -> Transport
where
    T: Service<Request<Q>, Response = Response<A>> + Clone + Send + Sync + 'static,
    T::Error: Into<BoxError>,
    T::Future: Send + 'static,
    Q: From<Bytes> + Send + 'static,
    A: Body + Send + 'static,
    A::Data: Send,
    A::Error: Into<BoxError>,
{
    BoxCloneSyncService::new(tower::service_fn(move |request: Request<Bytes>| {
        let client = client.clone();
        async move {
            let answer = client
                .oneshot(request.map(Q::from))
                .await
                .map_err(|error| unanswered(error.into()))?;
            let (head, body) = answer.into_parts();
            let body = match read(body).await {
                Ok(Some(body)) => body,
                // Its status and its headers say enough.
                _ if !head.status.is_success() => Bytes::new(),
                Ok(None) => {
                    return Err(Error::invalid_answer(
                        "the token endpoint's answer is larger than 64 KiB",
                    ));
                }
                Err(error) => return Err(unanswered(error)),
            };
            Ok(Response::from_parts(head, body))
        }
    }))
}

/// Reads a body to its end, or nothing if it is too large. Its parts are not kept: one of a byte takes far more than that.
async fn read<A>(body: A) -> Result<Option<Bytes>, BoxError>
where
    A: Body<Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    let mut left = LARGEST_ANSWER;
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(Into::into)?.into_data().ok();
        // A part without any data counts too: there may be no end of them.
        let length = data.as_ref().map_or(0, Buf::remaining);
        match left.checked_sub(length.max(1)) {
            Some(rest) => left = rest,
            None => return Ok(None),
        }
        if let Some(data) = data {
            whole.put(data);
        }
    }
    Ok(Some(whole.freeze()))
}

fn unanswered(error: BoxError) -> Error {
    #[cfg(feature = "proxy")]
    if let Some(problem) = proxy::problem(&*error) {
        let error = Error::transport(error);
        let message = format!("{error}: {problem}");
        return error.retold(message);
    }
    #[cfg(feature = "rustls-no-provider")]
    if let Some(problem) = handshake::problem(&*error) {
        let error = Error::transport(error);
        let message = format!("{error}: {problem}");
        return error.retold(message);
    }
    Error::transport(error)
}
