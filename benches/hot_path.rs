//! What a warm request costs over the service below the layer, in memory.
//!
//! ```sh
//! cargo bench --bench hot_path                              # nanoseconds, all drivers in turn
//! cargo bench --bench hot_path -- --instructions            # instructions and allocations, under valgrind
//! cargo bench --bench hot_path -- --guard                   # has it grown over benches/baseline.csv?
//! cargo bench --bench hot_path -- --guard --update          # write its figures in benches/baseline.csv
//! ```

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

#[path = "support/client.rs"]
mod client;
mod support;

use std::convert::Infallible;

use http::{Request, Response, StatusCode};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_bearer::replay::NoReplay;

use self::{
    client::client,
    support::{
        baseline::{Guarded, guard},
        options::Options,
        table::NONE,
        valgrind::Count,
        warm::{BARE, Body, Drivers, RETRYING, Titles, answer, request, warm},
    },
};

fn main() {
    let options = Options::from_command_line();
    let mut drivers = Drivers::new(&options);
    drivers.add_yardsticks();
    drivers.add_tower_bearer();
    drivers.add_service(BESIDE_FAILING, "yes", beside_failing_routes);
    drivers.add_service_over(CLIENT, NONE, CLIENT, async || client());
    drivers.add_service_over(ONCE_OVER_CLIENT, "no", CLIENT, async || {
        warm().await.replay(NoReplay).layer(client())
    });
    drivers.add_service_over(OVER_CLIENT, "yes", CLIENT, async || {
        warm().await.layer(client())
    });
    let names: Vec<_> = drivers.names().collect();
    let titles = Titles {
        times: "A warm request: 6 headers, 256 bytes of body, in memory",
        times_file: "hot_path",
        counts_file: "hot_path_counts",
    };
    let counts = drivers.run(&options, titles);
    if options.guard {
        let counts = counts.expect("the guard needs valgrind");
        guard(&options, &guarded(&names, &counts));
    }
}

const BESIDE_FAILING: &str = "tower-bearer, beside failing routes";
const CLIENT: &str = "hyper's client";
const ONCE_OVER_CLIENT: &str = "tower-bearer, NoReplay, over hyper's client";
const OVER_CLIENT: &str = "tower-bearer, over hyper's client";

/// A service whose API rejects every token on four routes, and has done so before.
async fn beside_failing_routes()
-> impl Service<Request<Body>, Response = Response<Body>, Error = BoxError> {
    let api = tower::service_fn(async |request: Request<Body>| {
        if request.uri().path().starts_with("/reports") {
            let mut rejection = Response::new(Body::default());
            *rejection.status_mut() = StatusCode::UNAUTHORIZED;
            return Ok(rejection);
        }
        answer::<Infallible>(request).await
    });
    let mut service = warm().await.layer(api);
    for route in ["monthly", "yearly", "by-country", "by-customer"] {
        let mut failing = request();
        let uri = format!("https://apigw.ipxo.com/reports/{route}");
        *failing.uri_mut() = uri.parse().unwrap();
        let response = service.ready().await.unwrap().call(failing).await;
        assert_eq!(response.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    service
}

/// What tower-bearer adds to a request, in parts of what the request takes without it: a newer compiler, another processor's
/// `memcpy` or a newer `http` moves both, and the quotient little.
fn guarded(names: &[(&str, &str)], counts: &[Count]) -> Vec<Guarded> {
    let count_of = |wanted| {
        let place = names.iter().position(|(name, _)| *name == wanted);
        counts[place.expect("it is counted")]
    };
    let mut figures = Vec::new();
    for (name, bare) in names {
        if !name.starts_with("tower-bearer") {
            continue;
        }
        let figure = |what| format!("{}: {what}", name.replace(',', ""));
        let over = count_of(*name).over(&count_of(*bare));
        figures.push(Guarded {
            name: figure("instructions over the service alone in parts of it"),
            value: over.instructions / count_of(*bare).instructions,
        });
        if *bare == BARE {
            figures.push(Guarded {
                name: figure("allocations over the service alone"),
                value: over.allocations,
            });
        }
    }
    let beside_failing = count_of(BESIDE_FAILING).instructions / count_of(RETRYING).instructions;
    figures.push(Guarded {
        name: format!(
            "{}: in parts of no failing route",
            BESIDE_FAILING.replace(',', "")
        ),
        value: beside_failing,
    });
    figures
}
