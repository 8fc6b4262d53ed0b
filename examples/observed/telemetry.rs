//! Logs, traces and metrics of the program. None of it is about this crate: whatever your program has will do.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tower::BoxError;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::traces::Traces;

pub(crate) struct Telemetry {
    pub(crate) metrics: PrometheusHandle,
    pub(crate) traces: Traces,
}

impl Telemetry {
    /// Before the first token request: units and descriptions are told with it.
    pub(crate) fn install() -> Result<Self, BoxError> {
        // With units in the names, and durations as histograms.
        let metrics = PrometheusBuilder::new()
            .with_recommended_naming(true)
            .set_buckets_for_metric(Matcher::Suffix("duration".to_owned()), &SECONDS)?
            .set_buckets_for_metric(Matcher::Suffix("age".to_owned()), &AGES)?
            .install_recorder()?;

        let traces = Traces::default();
        let logs = fmt::layer()
            .json()
            .flatten_event(true)
            .with_target(false)
            .with_current_span(false)
            // Those of transports are many.
            .with_filter(filter_fn(|metadata| {
                metadata.is_span() || metadata.target() == "tower_bearer"
            }));
        tracing_subscriber::registry()
            .with(LevelFilter::INFO)
            .with(logs)
            .with(traces.clone())
            .try_init()?;
        Ok(Self { metrics, traces })
    }
}

/// From a millisecond to the longest token request.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// From a second to a day.
const AGES: [f64; 6] = [1.0, 60.0, 300.0, 1800.0, 3600.0, 86400.0];
