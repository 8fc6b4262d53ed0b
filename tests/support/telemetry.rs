//! What a subscriber hears of this crate, and what the guide says of it.

#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses a part of this"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, LazyLock, Mutex},
};

use tracing::{
    Dispatch, Event, Metadata, Subscriber, field,
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

use crate::support::lock;

/// The text of the guide.
pub(crate) const GUIDE: &str = include_str!("../../src/docs/telemetry.rs");

/// What is heard on this thread.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    events: Vec<Heading>,
    /// By the id that each had.
    spans: Vec<(u64, Heading)>,
}

/// An event of this crate, or a span of anybody's.
#[derive(Clone, Debug)]
pub(crate) struct Heading {
    /// The event's message, or the span's name.
    pub(crate) text: String,
    pub(crate) level: String,
    /// Of all fields that it may have.
    pub(crate) fields: BTreeSet<String>,
    /// Of those that it has.
    pub(crate) values: BTreeMap<String, String>,
    /// The name of the span that it is in.
    pub(crate) parent: Option<String>,
    /// The names of the spans that it follows from.
    pub(crate) follows: Vec<String>,
}

/// Hears what this thread tells.
///
/// A call site asks once whether it is of interest, when it is first reached. In a process with a single subscriber it asks the
/// thread that reaches it, and stays silent for all of them if that is a thread of another test, which has none. With a second
/// one it asks all that there are.
pub(crate) fn hear() -> (Heard, DefaultGuard) {
    static SECOND: LazyLock<Dispatch> =
        LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&SECOND);
    let heard = Heard::default();
    let subscriber = tracing_subscriber::registry().with(heard.clone());
    (heard, tracing::subscriber::set_default(subscriber))
}

impl Heard {
    pub(crate) fn events(&self) -> Vec<Heading> {
        lock(&self.0).events.clone()
    }

    /// The one event with this message.
    #[track_caller]
    pub(crate) fn one(&self, text: &str) -> Heading {
        let mut events = self.events();
        let told = format!("{events:#?}");
        events.retain(|event| event.text == text);
        match (events.pop(), events.pop()) {
            (Some(event), None) => event,
            _ => panic!("there is not one event {text:?} in {told}"),
        }
    }

    pub(crate) fn count(&self, text: &str) -> usize {
        let events = self.events();
        events.iter().filter(|event| event.text == text).count()
    }

    /// What operators see by default.
    pub(crate) fn above_debug(&self) -> Vec<Heading> {
        let mut events = self.events();
        events.retain(|event| !matches!(&*event.level, "DEBUG" | "TRACE"));
        events
    }

    /// The spans of this name, in order.
    pub(crate) fn spans(&self, name: &str) -> Vec<Heading> {
        let all = lock(&self.0);
        let spans = all.spans.iter().map(|(_, span)| span);
        spans.filter(|span| span.text == name).cloned().collect()
    }
}

impl Heading {
    /// A field's value; empty if it has none.
    pub(crate) fn value(&self, field: &str) -> &str {
        self.values.get(field).map_or("", |value| value)
    }

    fn new(metadata: &Metadata<'_>, parent: Option<&str>) -> Self {
        let fields = metadata.fields().iter().map(|field| field.name());
        Self {
            text: metadata.name().to_owned(),
            level: metadata.level().to_string(),
            fields: fields
                .filter(|name| *name != "message")
                .map(str::to_owned)
                .collect(),
            values: BTreeMap::new(),
            parent: parent.map(str::to_owned),
            follows: Vec::new(),
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Heard {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent = context.span(id).and_then(|span| span.parent());
        let parent = parent.map(|parent| parent.name());
        let mut span = Heading::new(attributes.metadata(), parent);
        attributes.record(&mut span);
        lock(&self.0).spans.push((id.into_u64(), span));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut all = lock(&self.0);
        let mut spans = all.spans.iter_mut().rev();
        // Ids are used again.
        let (_, span) = spans.find(|(known, _)| *known == id.into_u64()).unwrap();
        values.record(span);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let follows = context.span(follows).unwrap().name().to_owned();
        let mut all = lock(&self.0);
        let mut spans = all.spans.iter_mut().rev();
        let (_, span) = spans.find(|(known, _)| *known == id.into_u64()).unwrap();
        span.follows.push(follows);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != "tower_bearer" {
            return;
        }
        let parent = context.event_span(event).map(|span| span.name());
        let mut heading = Heading::new(event.metadata(), parent);
        event.record(&mut heading);
        heading.text = heading.values.remove("message").unwrap();
        lock(&self.0).events.push(heading);
    }
}

impl field::Visit for Heading {
    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        self.values.insert(field.name().to_owned(), value);
    }

    fn record_str(&mut self, field: &field::Field, value: &str) {
        let value = value.to_owned();
        self.values.insert(field.name().to_owned(), value);
    }

    fn record_error(&mut self, field: &field::Field, error: &(dyn std::error::Error + 'static)) {
        self.values
            .insert(field.name().to_owned(), error.to_string());
    }
}

/// The rows of the table in this section of the guide, by cells.
pub(crate) fn table(section: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = GUIDE
        .split_once(&format!("//! # {section}\n"))
        .expect("the guide has the section");
    let section = section.split("//! # ").next().unwrap_or_default();
    let rows = section
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"));
    rows.map(|row| {
        let row = row.trim_end_matches('|').trim();
        row.split(" | ").collect()
    })
    .collect()
}

/// What is in backquotes in a cell. The first one of a row is not there, for it begins the row.
pub(crate) fn quoted(cell: &str) -> BTreeSet<String> {
    let cell = match cell.matches('`').count() % 2 {
        0 => cell.to_owned(),
        _ => format!("`{cell}"),
    };
    let parts = cell.split('`').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}
