//! Uploads with reqwest-middleware: a multipart form is kept while it is sent, and sent again if its token was rejected.
//!
//! ```sh
//! cargo run --example reqwest_middleware
//! cargo test --example reqwest_middleware
//! ```
//! [`Uploads`] is all that a program needs. `main` calls servers of the test kit, which run in this process and count what
//! reaches them. The tests at the end are those that a program of yours would have.

use reqwest::{
    Client,
    multipart::{Form, Part},
};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest_tracing::TracingMiddleware;
use tower::BoxError;
use tower_bearer::{
    BearerAuthLayer, ClientCredentials, Error,
    replay::Buffered,
    test_util::{AuthorizationServer, ProtectedApi},
};

/// Cheap to clone: the clones share connections and token.
#[derive(Clone)]
struct Uploads {
    client: ClientWithMiddleware,
    url: String,
}

impl Uploads {
    fn new(token_url: &str, secret: &str, origin: &str) -> Result<Self, Error> {
        let source = ClientCredentials::builder(token_url, "client", secret)
            .scopes(["uploads"])
            .build_with_reqwest(Client::builder())?;
        let bearer = BearerAuthLayer::new(source)
            // The token goes to this origin only.
            .origins([origin])?
            // A form is a stream. Without this it is sent once; past this limit it is as well.
            .replay(Buffered::up_to(1024 * 1024));
        let client = ClientBuilder::new(Client::new())
            // Retries of reqwest-retry go here, before the layer, if bodies are bytes or text: it cannot retry a form.
            .with(bearer)
            // After the layer, so that each attempt has a span of its own.
            .with(TracingMiddleware::default())
            .build();
        let url = format!("{origin}/uploads");
        Ok(Self { client, url })
    }

    async fn send(&self, name: &'static str, contents: &'static str) -> Result<(), BoxError> {
        let file = Part::text(contents).file_name(name);
        let request = self
            .client
            .post(&self.url)
            .multipart(Form::new().part("file", file));
        request.send().await?.error_for_status()?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = AuthorizationServer::new();
    let api = ProtectedApi::new(&server);
    let (auth, served) = (server.serve().await?, api.serve().await?);
    let uploads = Uploads::new(auth.url(), "secret", served.url())?;

    uploads.send("november.csv", "day;amount\n1;63\n").await?;
    server.revoke_all();
    uploads.send("december.csv", "day;amount\n1;64\n").await?;
    println!("two uploads, the token revoked between them:");
    for call in api.calls() {
        println!("  {call}, {} bytes", call.body.len());
    }
    server.assert_token_requests(2);
    api.assert_calls(3);
    Ok(())
}

#[cfg(test)]
mod tests {
    use tower_bearer::test_util::Served;

    use super::*;

    async fn serve(
        server: &AuthorizationServer,
        api: &ProtectedApi,
    ) -> Result<(Uploads, [Served; 2]), BoxError> {
        let (auth, served) = (server.serve().await?, api.serve().await?);
        let uploads = Uploads::new(auth.url(), "secret", served.url())?;
        Ok((uploads, [auth, served]))
    }

    #[tokio::test]
    async fn a_form_is_sent_again_byte_for_byte_with_the_new_token() -> Result<(), BoxError> {
        let server = AuthorizationServer::new();
        let api = ProtectedApi::new(&server);
        let (uploads, _served) = serve(&server, &api).await?;
        uploads.send("1.csv", "first").await?;
        server.revoke_all();
        uploads.send("2.csv", "second").await?;

        let calls = api.calls();
        let [_, rejected, retried] = &calls[..] else {
            panic!("{} calls", calls.len());
        };
        assert_eq!(rejected.body, retried.body);
        assert_eq!(
            rejected.headers["content-type"],
            retried.headers["content-type"]
        );
        assert_eq!(retried.token(), Some("client.2"));
        let body = String::from_utf8_lossy(&retried.body);
        assert!(body.contains("filename=\"2.csv\"") && body.contains("second"));
        Ok(())
    }

    #[tokio::test]
    async fn an_upload_without_a_token_is_not_sent() -> Result<(), BoxError> {
        let server = AuthorizationServer::new();
        server.deny("unauthorized_client");
        let api = ProtectedApi::new(&server);
        let (uploads, _served) = serve(&server, &api).await?;
        let error = uploads.send("1.csv", "first").await.expect_err("no token");
        assert!(Error::find_in(&*error).is_some_and(Error::is_denied));
        api.assert_calls(0);
        Ok(())
    }
}
