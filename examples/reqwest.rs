//! A client of an API, over reqwest: a token on each request, and reqwest as the transport of the token request.
//!
//! ```sh
//! cargo run --example reqwest
//! cargo test --example reqwest
//! ```
//! [`Billing`] is all that a program needs. `main` calls servers of the test kit, which run in this process and count what
//! reaches them. The tests at the end are those that a program of yours would have.

use std::time::Duration;

use http::{Request, header::CONTENT_TYPE};
use reqwest::{Body, Client, Response};
use tokio::task::JoinSet;
use tower::{BoxError, ServiceBuilder, ServiceExt, timeout::Timeout};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, ClientCredentials, Error,
    adapter::reqwest::{ReqwestService, ReusableBody},
    select::Origins,
    test_util::{AuthorizationServer, ProtectedApi},
    unauthorized::BearerChallenge,
};

/// Cheap to clone: the clones share connections and token.
#[derive(Clone)]
struct Billing {
    service: Timeout<BearerAuth<ReqwestService, Origins, BearerChallenge, ReusableBody>>,
    origin: String,
}

impl Billing {
    fn new(token_url: &str, secret: &str, origin: &str) -> Result<Self, Error> {
        let source = ClientCredentials::builder(token_url, "client", secret)
            .scopes(["billing"])
            // This client has the proxies, TLS roots and timeouts for token requests.
            .build_with_reqwest(Client::builder().connect_timeout(Duration::from_secs(5)))?;
        let bearer = BearerAuthLayer::new(source)
            // The token goes to this origin only.
            .origins([origin])?
            // Bodies of bytes or text are replayed after a 401; streams are not.
            .replay(ReusableBody);
        let service = ServiceBuilder::new()
            // Above the layer, so that it times the whole call: the wait for a token and the retry included.
            .timeout(Duration::from_secs(30))
            .layer(bearer)
            .service(ReqwestService::new(Client::new()));
        let origin = origin.to_owned();
        Ok(Self { service, origin })
    }

    async fn invoice(&self, number: u32) -> Result<String, BoxError> {
        let url = format!("{}/invoices/{number}", self.origin);
        self.send(Request::get(url).body(Body::default())?).await
    }

    async fn credit(&self, number: u32, amount: u32) -> Result<String, BoxError> {
        let request = Request::post(format!("{}/invoices/{number}/credits", self.origin))
            .header(CONTENT_TYPE, "application/json")
            .body(format!(r#"{{"amount": {amount}}}"#).into())?;
        self.send(request).await
    }

    async fn send(&self, request: Request<Body>) -> Result<String, BoxError> {
        let response = self.service.clone().oneshot(request).await?;
        Ok(Response::from(response).error_for_status()?.text().await?)
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = AuthorizationServer::new();
    let api = ProtectedApi::new(&server);
    let (auth, served) = (server.serve().await?, api.serve().await?);
    let billing = Billing::new(auth.url(), "secret", served.url())?;

    let mut calls = JoinSet::new();
    for number in 0..20 {
        let billing = billing.clone();
        calls.spawn(async move { billing.invoice(number).await });
    }
    let ok = calls.join_all().await.iter().flatten().count();
    println!("20 calls at once, without a token yet: {ok} ok");
    server.assert_token_requests(1);

    server.revoke_all();
    billing.credit(7, 63).await?;
    println!("another one, with a revoked token, is rejected, and retried with a new token:");
    for call in api.calls().iter().skip(20) {
        println!("  {call}");
    }
    api.assert_calls(22);
    Ok(())
}

#[cfg(test)]
mod tests {
    use tower_bearer::test_util::{Answer, Served};

    use super::*;

    async fn serve(
        server: &AuthorizationServer,
        api: &ProtectedApi,
    ) -> Result<(Billing, [Served; 2]), BoxError> {
        let (auth, served) = (server.serve().await?, api.serve().await?);
        let billing = Billing::new(auth.url(), "secret", served.url())?;
        Ok((billing, [auth, served]))
    }

    #[tokio::test]
    async fn many_calls_share_one_token() -> Result<(), BoxError> {
        let server = AuthorizationServer::new();
        let api = ProtectedApi::new(&server);
        let (billing, _served) = serve(&server, &api).await?;
        tokio::try_join!(billing.invoice(1), billing.invoice(2), billing.invoice(3))?;
        server.assert_token_requests(1);
        api.assert_calls(3);
        Ok(())
    }

    #[tokio::test]
    async fn a_credit_is_sent_again_when_the_token_was_revoked() -> Result<(), BoxError> {
        let server = AuthorizationServer::new();
        let api = ProtectedApi::new(&server);
        let (billing, _served) = serve(&server, &api).await?;
        billing.invoice(1).await?;
        server.revoke_all();
        billing.credit(1, 63).await?;

        let calls = api.calls();
        let bodies: Vec<_> = calls.iter().map(|call| call.body.clone()).collect();
        assert_eq!(bodies, ["", r#"{"amount": 63}"#, r#"{"amount": 63}"#]);
        server.assert_token_requests(2);
        Ok(())
    }

    #[tokio::test]
    async fn without_a_token_nothing_is_sent_and_the_error_says_why() -> Result<(), BoxError> {
        let server = AuthorizationServer::new();
        let api = ProtectedApi::new(&server);
        let (billing, _served) = serve(&server, &api).await?;
        server.script([Answer::Denied("invalid_client")]);
        let error = billing.invoice(1).await.expect_err("no token");
        let error = Error::find_in(&*error).expect("an error of this crate");
        assert_eq!(error.oauth_code(), Some("invalid_client"));
        api.assert_calls(0);
        Ok(())
    }
}
