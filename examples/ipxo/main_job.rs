//! The whole job, timed at the client and counted at the servers.

use std::{fmt, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{task::JoinSet, time::Instant};
use tower::BoxError;

use crate::{
    Api,
    command::Account,
    connect,
    embedded::{Gateway, Hydra, Registration, TENANT},
    explain, plain_client, send,
};

/// Prints a timeline, then what went wrong, then a summary.
pub(crate) async fn run() -> Result<ExitCode, BoxError> {
    let hydra = Hydra::start(Registration {
        token_request_delay: Duration::from_millis(50),
        ..Registration::default()
    })
    .await?;
    let gateway = Gateway::start(&hydra).await?;
    let account = Account::embedded(&hydra, &gateway);
    let api = connect(&account, plain_client())?;
    let mut job = Job::new(hydra, gateway);
    job.tell(&format!(
        "Hydra is at {}, the API at {}",
        account.token_url, account.api
    ));

    let cold = crowd(&api, &account, 200);
    job.phase(
        "200 requests at once, and no token yet",
        cold,
        "requests=200 ok=200 token_requests=1 retries=0",
    )
    .await?;

    let warm = crowd(&api, &account, 1_000);
    job.phase(
        "1,000 more, over carts, credits and checkout",
        warm,
        "requests=1000 ok=1000 token_requests=0 retries=0",
    )
    .await?;

    let (hydra, gateway) = (job.hydra.clone(), job.gateway.clone());
    let revoked = async {
        let gate = gateway.hold();
        let revoke = async {
            gate.arrived(200).await?;
            hydra.revoke_all();
            gate.open();
            Ok(())
        };
        Ok(tokio::try_join!(crowd(&api, &account, 200), revoke)?.0)
    };
    job.phase(
        "the token revoked, with 200 requests in flight",
        revoked,
        "requests=200 ok=200 token_requests=1 retries=200",
    )
    .await?;

    job.wrong_secret(account).await?;
    job.tell(&format!(
        "the API saw {} TCP connections",
        job.gateway.connections()
    ));
    Ok(job.summary())
}

/// The servers, and what they counted so far.
struct Job {
    hydra: Hydra,
    gateway: Gateway,
    started: Instant,
    total: Figures,
    mistakes: Vec<String>,
}

/// The result of a phase.
#[derive(Clone, Copy, Default)]
struct Figures {
    /// Calls that the client was asked to make.
    requests: u64,
    /// Those of them that were answered 200.
    ok: u64,
    /// Calls that the token endpoint saw.
    token_requests: u64,
    /// Calls that the API saw beyond the requests.
    retries: u64,
}

impl Job {
    fn new(hydra: Hydra, gateway: Gateway) -> Self {
        Self {
            hydra,
            gateway,
            started: Instant::now(),
            total: Figures::default(),
            mistakes: Vec::new(),
        }
    }

    /// Runs a phase, and compares what the servers counted with what they should count.
    async fn phase(
        &mut self,
        what: &str,
        work: impl Future<Output = Result<Answers, BoxError>>,
        expected: &str,
    ) -> Result<(), BoxError> {
        let before = (self.hydra.token_requests(), self.gateway.answered());
        let answers = work.await?;
        let calls = self.gateway.answered() - before.1;
        let figures = Figures {
            requests: answers.requests,
            ok: answers.ok,
            token_requests: self.hydra.token_requests() - before.0,
            retries: calls.saturating_sub(answers.requests),
        };
        self.total.add(figures);
        let seen = figures.to_string();
        self.tell(&format!("{what}: {seen}"));
        if seen != expected {
            self.mistakes
                .push(format!("{what}: should be {expected}, is {seen}"));
        }
        if let Some(failure) = answers.first_failure {
            self.mistakes.push(format!("{what}: {failure}"));
        }
        Ok(())
    }

    /// Shows the errors of a wrong secret. It is another client, so it is not in the summary.
    async fn wrong_secret(&mut self, account: Account) -> Result<(), BoxError> {
        let before = (self.hydra.token_requests(), self.gateway.answered());
        let account = Account {
            client_secret: "yesterday's secret".into(),
            ..account
        };
        let api = connect(&account, plain_client())?;
        for what in ["a wrong secret", "and again, immediately"] {
            match send(api.clone(), request(&account.api, 0)?).await {
                Ok((status, _)) => self
                    .mistakes
                    .push(format!("{what}: should be an error, is {status}")),
                Err(error) => self.tell(&format!("{what}: {}", explain(&*error))),
            }
        }
        let token_requests = self.hydra.token_requests() - before.0;
        let calls = self.gateway.answered() - before.1;
        self.tell(&format!(
            "of these, the token endpoint saw {token_requests} and the API {calls}"
        ));
        if (token_requests, calls) != (1, 0) {
            self.mistakes.push(format!(
                "a wrong secret: should be 1 token request and 0 calls, is {token_requests} and {calls}"
            ));
        }
        Ok(())
    }

    fn tell(&self, what: &str) {
        let elapsed = self.started.elapsed().as_secs_f64() * 1e3;
        println!(
            "{elapsed:8.1} ms  {}",
            what.replace('\n', "\n             ")
        );
    }

    fn summary(self) -> ExitCode {
        for mistake in &self.mistakes {
            eprintln!("WRONG  {mistake}");
        }
        println!("summary: {}", self.total);
        if self.mistakes.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.ok += other.ok;
        self.token_requests += other.token_requests;
        self.retries += other.retries;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requests,
            ok,
            token_requests,
            retries,
        } = self;
        write!(
            f,
            "requests={requests} ok={ok} token_requests={token_requests} retries={retries}"
        )
    }
}

/// The answers to a crowd of requests.
#[derive(Default)]
struct Answers {
    requests: u64,
    ok: u64,
    first_failure: Option<String>,
}

/// Makes `requests` calls, all at once.
async fn crowd(
    api: &Api<HttpConnector>,
    account: &Account,
    requests: u64,
) -> Result<Answers, BoxError> {
    let mut calls = JoinSet::new();
    for number in 0..requests {
        calls.spawn(send(api.clone(), request(&account.api, number)?));
    }
    let mut answers = Answers {
        requests,
        ..Answers::default()
    };
    while let Some(call) = calls.join_next().await {
        let failure = match call? {
            Ok((StatusCode::OK, _)) => {
                answers.ok += 1;
                continue;
            }
            Ok((status, _)) => format!("a request was answered {status}"),
            Err(error) => explain(&*error),
        };
        answers.first_failure.get_or_insert(failure);
    }
    Ok(answers)
}

/// One of the guide's four calls, by turns.
fn request(api: &str, number: u64) -> http::Result<Request<Full<Bytes>>> {
    let tenant = format!("{api}/ecommerce/public/{TENANT}");
    match number % 4 {
        0 => Request::get(format!("{tenant}/cart")).body(Full::default()),
        1 => Request::get(format!("{tenant}/cart/{number}")).body(Full::default()),
        2 => Request::post(format!("{tenant}/orders/{number}/credits/apply"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(r#"{"amount": 63}"#)),
        _ => Request::post(format!("{tenant}/orders/{number}/checkout")).body(Full::default()),
    }
}
