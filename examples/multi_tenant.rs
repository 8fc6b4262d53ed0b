//! IPXO's API for three companies behind one layer: each call carries its own company's token, and a company whose credentials
//! fail does not affect the others.
//!
//! ```sh
//! cargo run --example multi_tenant
//! cargo test --example multi_tenant
//! ```
//! [`companies`] is all that a program needs. `main` calls servers of the test kit, in memory. The tests at the end are those
//! that a program of yours would have.

use std::{collections::HashMap, sync::Arc};

use http::{Request, Response, StatusCode};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_bearer::{
    ClientAuth, ClientCredentials, Error, TokenCache,
    cache::Keyed,
    client_credentials::ClientCredentialsBuilder,
    ipxo,
    test_util::{AuthorizationServer, Body, Grant, ProtectedApi},
    token::Lookup,
};

/// In place of a vault: each company's id and secret.
type Vault = HashMap<String, (String, String)>;

/// The token cache of each company. `build` finishes the credentials: `ClientCredentialsBuilder::build` for the real server.
fn companies<F>(vault: Vault, build: F) -> Keyed<String>
where
    F: Fn(ClientCredentialsBuilder) -> Result<ClientCredentials, Error> + Send + Sync + 'static,
{
    let shared = Arc::new((vault, build));
    Keyed::new(move |tenant: &String| {
        let (tenant, shared) = (tenant.clone(), Arc::clone(&shared));
        TokenCache::new(Lookup::new(move || {
            let (tenant, shared) = (tenant.clone(), Arc::clone(&shared));
            // A real vault is called over the network here.
            async move {
                let (vault, build) = &*shared;
                let (id, secret) = vault
                    .get(&tenant)
                    .ok_or("the vault knows no such company")?;
                let credentials = ipxo::credentials(id, secret, [ipxo::scope::ECOMMERCE]);
                Ok(build(credentials)?)
            }
        }))
    })
}

/// Lists the carts of a company.
async fn carts<S, B>(api: S, tenant: &str) -> Result<StatusCode, BoxError>
where
    S: Service<Request<String>, Response = Response<B>, Error = BoxError>,
{
    // The company in the path selects the token.
    let url = format!("{}/ecommerce/public/{tenant}/cart", ipxo::API);
    let response = api.oneshot(Request::get(url).body(String::new())?).await?;
    Ok(response.status())
}

/// One line for each company: whether its calls have a token, and if not, why.
fn report(companies: &Keyed<String>) -> String {
    let mut lines: Vec<_> = companies
        .iter()
        .map(|(tenant, cache)| match cache.state().error() {
            Some(error) => format!("  {tenant}: {error}\n"),
            None => format!("  {tenant}: {:?}\n", cache.state().token()),
        })
        .collect();
    lines.sort();
    lines.concat()
}

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

/// An authorization server that knows the three companies, and a vault with their credentials.
fn world() -> (AuthorizationServer, ProtectedApi, Vault) {
    let server = AuthorizationServer::new();
    let mut vault = Vault::new();
    for tenant in TENANTS {
        let (id, secret) = (format!("id-of-{tenant}"), format!("secret-of-{tenant}"));
        server.register(&id, ClientAuth::post(&secret));
        vault.insert(tenant.to_owned(), (id, secret));
    }
    let api = ProtectedApi::with_handler(&server, service_fn(answer));
    (server, api, vault)
}

/// 403 for a token of another company than that in the path.
async fn answer(request: Request<Body>) -> Result<Response<String>, BoxError> {
    let grant: Option<&Grant> = request.extensions().get();
    let tenant = request.uri().path().split('/').nth(3);
    let is_own = grant
        .zip(tenant)
        .is_some_and(|(grant, tenant)| grant.client_id == format!("id-of-{tenant}"));
    let mut response = Response::new(r#"{"carts": []}"#.to_owned());
    if !is_own {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    Ok(response)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (server, api, mut vault) = world();
    vault.insert(
        "initech".into(),
        ("id-of-initech".into(), "yesterday's".into()),
    );
    let transport = server.clone();
    let companies = companies(vault, move |credentials| {
        credentials.build_with(transport.clone())
    });
    // It also sends tokens to IPXO's API only.
    let client = ipxo::tenants(companies.clone()).layer(api.clone());

    for _ in 0..10 {
        for tenant in TENANTS {
            // The one with the wrong secret has no answer, and the others do not notice.
            let _ = carts(client.clone(), tenant).await;
        }
    }
    println!("ten calls for each of three companies, one of which has an old secret:");
    print!("{}", report(&companies));
    server.assert_token_requests(3);
    api.assert_calls(20);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_call_carries_its_own_companys_token() -> Result<(), BoxError> {
        let (server, api, vault) = world();
        let transport = server.clone();
        let companies = companies(vault, move |it| it.build_with(transport.clone()));
        let client = ipxo::tenants(companies).layer(api.clone());
        for _ in 0..2 {
            for tenant in TENANTS {
                assert_eq!(carts(client.clone(), tenant).await?, StatusCode::OK);
            }
        }
        server.assert_token_requests(3);
        api.assert_calls(6);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_revoked_token_costs_its_own_company_one_token_request() -> Result<(), BoxError> {
        let (server, api, vault) = world();
        let transport = server.clone();
        let companies = companies(vault, move |it| it.build_with(transport.clone()));
        let client = ipxo::tenants(companies).layer(api.clone());
        for tenant in TENANTS {
            carts(client.clone(), tenant).await?;
        }
        server.revoke("id-of-globex");
        for tenant in TENANTS {
            assert_eq!(carts(client.clone(), tenant).await?, StatusCode::OK);
        }
        server.assert_token_requests(4);
        api.assert_calls(7);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_tells_which_company_fails_and_why() -> Result<(), BoxError> {
        let (server, api, vault) = world();
        server.unregister("id-of-acme");
        let transport = server.clone();
        let companies = companies(vault, move |it| it.build_with(transport.clone()));
        let client = ipxo::tenants(companies.clone()).layer(api);
        for tenant in TENANTS {
            let result = carts(client.clone(), tenant).await;
            assert_eq!(result.is_ok(), tenant != "acme");
        }
        let report = report(&companies);
        assert!(
            report.contains("acme: ") && report.contains("invalid_client"),
            "{report}"
        );
        assert!(report.contains("globex: Fresh"), "{report}");
        Ok(())
    }
}
