//! A store of spans in this process, in place of an exporter to a tracing backend.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// All spans of the process, in order.
#[derive(Clone, Default)]
pub(crate) struct Traces(Arc<Mutex<Spans>>);

#[derive(Default)]
struct Spans {
    all: Vec<Span>,
    /// The place of each that is open.
    open: HashMap<u64, usize>,
}

struct Span {
    name: &'static str,
    fields: String,
    parent: Option<usize>,
    follows: Option<usize>,
    began: Instant,
    ended: Option<Instant>,
}

impl Traces {
    /// The request that caused it, the token request, and what is inside.
    pub(crate) fn of_the_first_token_request(&self) -> String {
        let spans = self.lock();
        let token_request = spans
            .all
            .iter()
            .position(|span| span.name == "token_request");
        let mut shown = String::new();
        if let Some(cause) = token_request.and_then(|at| spans.all[at].follows) {
            spans.show(cause, 0, &mut shown);
        }
        shown
    }

    fn lock(&self) -> MutexGuard<'_, Spans> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spans {
    fn show(&self, at: usize, depth: usize, shown: &mut String) {
        let span = &self.all[at];
        let took = span.ended.map(|ended| ended - span.began);
        let _ = writeln!(
            shown,
            "{:indent$}{}{} took {:.1?}",
            "",
            span.name,
            span.fields,
            took.unwrap_or_default(),
            indent = depth * 4
        );
        for (other, span) in self.all.iter().enumerate() {
            if span.parent == Some(at) || span.follows == Some(at) {
                self.show(other, depth + 1, shown);
            }
        }
    }

    fn get(&mut self, id: &Id) -> Option<&mut Span> {
        let at = *self.open.get(&id.into_u64())?;
        self.all.get_mut(at)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Traces {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent = context.span(id).and_then(|span| span.parent());
        let mut spans = self.lock();
        let parent = parent.and_then(|parent| spans.open.get(&parent.id().into_u64()).copied());
        let mut span = Span {
            name: attributes.metadata().name(),
            fields: String::new(),
            parent,
            follows: None,
            began: Instant::now(),
            ended: None,
        };
        attributes.record(&mut span);
        let at = spans.all.len();
        spans.all.push(span);
        spans.open.insert(id.into_u64(), at);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        if let Some(span) = self.lock().get(id) {
            values.record(span);
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        let mut spans = self.lock();
        let follows = spans.open.get(&follows.into_u64()).copied();
        if let Some(span) = spans.get(id) {
            span.follows = follows;
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let mut spans = self.lock();
        if let Some(span) = spans.get(&id) {
            span.ended = Some(Instant::now());
        }
        spans.open.remove(&id.into_u64());
    }
}

impl Visit for Span {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.fields, " {}={value:?}", field.name());
    }
}
