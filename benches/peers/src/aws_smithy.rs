//! `aws-smithy-runtime`'s cache of identities: gives an identity, and the header is the caller's to write.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_smithy_async::{rt::sleep::TokioSleep, time::SystemTimeSource};
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime_api::client::{
    identity::{
        Identity, IdentityFuture, ResolveCachedIdentity, ResolveIdentity, SharedIdentityCache,
        SharedIdentityResolver, http::Token,
    },
    runtime_components::{RuntimeComponents, RuntimeComponentsBuilder},
};
use aws_smithy_types::config_bag::ConfigBag;
use http::{HeaderValue, Request, header::AUTHORIZATION};
use tower::{Service, ServiceExt};

use crate::support::{
    herd::{Peer, TokenEndpoint},
    warm::{Body, Drivers, TOKEN, api, request},
};

pub(crate) fn add(drivers: &mut Drivers) {
    drivers.add(NAME, "no", async || {
        let (cache, components, resolver) =
            (cache(), components(), SharedIdentityResolver::new(Fixed));
        let nothing = ConfigBag::base();
        let mut api = api();
        async move |mut request: Request<Body>| {
            let identity = cache.resolve_cached_identity(resolver.clone(), &components, &nothing);
            put(&mut request, &identity.await.unwrap());
            black_box(api.ready().await.unwrap().call(request).await.unwrap());
        }
    });
}

const NAME: &str = "aws-smithy cache, header by hand";

pub(crate) fn peer() -> Peer {
    Peer::new(NAME, false, |token_request, bearer_api| {
        let (cache, components) = (cache(), components());
        let resolver = SharedIdentityResolver::new(Asked(token_request));
        Box::new(move || {
            let (cache, components) = (cache.clone(), components.clone());
            let (resolver, api) = (resolver.clone(), Arc::clone(&bearer_api));
            Box::pin(async move {
                let nothing = ConfigBag::base();
                let identity = cache.resolve_cached_identity(resolver, &components, &nothing);
                let Ok(identity) = identity.await else {
                    return false;
                };
                let mut request = request();
                put(&mut request, &identity);
                api.answer(request).await.status() == 200
            })
        })
    })
}

fn put(request: &mut Request<Body>, identity: &Identity) {
    let token = identity.data::<Token>().unwrap().token();
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
}

fn cache() -> SharedIdentityCache {
    IdentityCache::lazy().build()
}

fn components() -> RuntimeComponents {
    RuntimeComponentsBuilder::for_tests()
        .with_time_source(Some(SystemTimeSource::new()))
        .with_sleep_impl(Some(TokioSleep::new()))
        .build()
        .unwrap()
}

#[derive(Debug)]
struct Fixed;

impl ResolveIdentity for Fixed {
    fn resolve_identity<'a>(
        &'a self,
        _: &'a RuntimeComponents,
        _: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        IdentityFuture::ready(Ok(good(TOKEN.to_owned())))
    }
}

#[derive(Debug)]
struct Asked(Arc<TokenEndpoint>);

impl ResolveIdentity for Asked {
    fn resolve_identity<'a>(
        &'a self,
        _: &'a RuntimeComponents,
        _: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        IdentityFuture::new(async { Ok(good(self.0.token().await?)) })
    }
}

fn good(token: String) -> Identity {
    let end = SystemTime::now() + Duration::from_secs(36_000);
    Identity::new(Token::new(token, Some(end)), Some(end))
}
