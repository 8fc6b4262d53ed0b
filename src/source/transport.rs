//! How an exchange's request reaches the token endpoint.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};
use tower_service::Service;

#[cfg(feature = "rustls")]
use super::handshake;
use crate::error::Error;

/// Any HTTP client, without its type: it is called once per expiry, where a box costs nothing that counts.
pub(super) type Transport = BoxCloneSyncService<Request<Bytes>, Response<Bytes>, Error>;

/// An answer larger than this is an error, before it is in memory. Token answers are below 10 KiB.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Erases a client's type and reads its answers, up to a limit.
pub(super) fn erase<T, Q, A>(client: T) -> Transport
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
            let body = match Limited::new(body, LARGEST_ANSWER).collect().await {
                Ok(body) => body.to_bytes(),
                // Its status and its headers say enough.
                Err(_) if !head.status.is_success() => Bytes::new(),
                Err(error) if error.is::<LengthLimitError>() => {
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

fn unanswered(error: BoxError) -> Error {
    #[cfg(feature = "rustls")]
    if let Some(problem) = handshake::problem(&*error) {
        let error = Error::transport(error);
        let message = format!("{error}: {problem}");
        return error.retold(message);
    }
    Error::transport(error)
}
