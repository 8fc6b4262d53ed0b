//! What the scripts do, on a real Redis.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::timeout;

use super::{
    super::{
        redis_server::RedisServer,
        shelf::{Answer, Ask, Lease, Put, Shelf, in_millis},
        store::{Backend, Operation, Reply},
    },
    Redis,
    server::Server,
};

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    in_millis(now)
}

/// Without what hangs on the millisecond.
fn kind(reply: &Reply) -> String {
    match reply {
        Reply::Answer(Answer::Value { sealed, .. }) => format!("value {sealed:?}"),
        Reply::Answer(Answer::Failed { sealed, .. }) => format!("failed {sealed:?}"),
        Reply::Answer(Answer::Taken { .. }) => "taken".to_owned(),
        reply => format!("{reply:?}"),
    }
}

/// What the scripts do is what `Shelf` does, for random histories of three processes. What ends by time alone is taken away by
/// hand, in both.
#[tokio::test]
#[ignore = "needs redis-server: tests/servers/run"]
async fn the_scripts_do_what_the_shelf_does() {
    let server = RedisServer::start(&[]).unwrap().unwrap();
    let redis = Redis(Server::new(server.url()).unwrap());
    let mut random = fastrand::Rng::with_seed(7);
    for history in 0..200 {
        let names = [format!("new-{history}"), format!("old-{history}")];
        let (mut shelf, mut older) = (Shelf::default(), Shelf::default());
        let (mut taken, mut last_value) = ([0; 3], 0);
        for step in 0..40_u8 {
            let who = random.usize(..3);
            let owner = format!("{history}-{who}");
            // Now and then by the old key alone.
            let by_old_key = random.u8(..8) == 0;
            let names = if by_old_key { &names[1..] } else { &names[..] };
            let operation = match random.u8(..10) {
                0..4 => Operation::Ask(Ask {
                    above: random.choice([0, last_value, u64::MAX >> 12]).unwrap(),
                    owner: owner.clone(),
                    lease: HOUR,
                }),
                4 => Operation::Renew {
                    owner: owner.clone(),
                    lease: HOUR,
                },
                5..8 => {
                    let generation = taken[who].max(1_u64);
                    Operation::Put {
                        owner: owner.clone(),
                        put: Put::Value {
                            generation,
                            sealed: vec![step, 0, 255],
                            ends_at: random.choice([now() + 3_600_000, now() - 1]).unwrap(),
                        },
                    }
                }
                8 => Operation::Put {
                    owner: owner.clone(),
                    put: Put::Failure {
                        sealed: vec![step],
                        told_from: random.u64(1..3),
                        lasts: HOUR,
                    },
                },
                _ => {
                    // A lease and a failure end.
                    let name = &names[0];
                    let gone = if by_old_key { &mut older } else { &mut shelf };
                    (gone.lease, gone.failure) = (None, None);
                    let mut delete = redis::cmd("DEL");
                    delete
                        .arg(format!("tower-bearer:{{{name}}}:lease"))
                        .arg(format!("tower-bearer:{{{name}}}:failure"));
                    redis.0.query(&delete).await.unwrap();
                    continue;
                }
            };
            let reply = timeout(HOUR, redis.perform(names, operation.clone()));
            let reply = reply.await.unwrap().unwrap();
            let expected = match by_old_key {
                true => older.perform(&operation, &[], now()),
                false => shelf.perform(&operation, std::slice::from_ref(&older), now()),
            };
            assert_eq!(
                kind(&reply),
                kind(&expected),
                "{history}.{step} {operation:?}"
            );
            match reply {
                Reply::Answer(Answer::Taken { generation, .. }) => {
                    taken[who] = generation;
                    // The one of the shelf may be a millisecond later.
                    let gone = if by_old_key { &mut older } else { &mut shelf };
                    assert!(
                        matches!(&gone.lease, Some(Lease { owner: held, .. }) if *held == owner)
                    );
                }
                Reply::Answer(Answer::Value { generation, .. }) => last_value = generation,
                _ => {}
            }
        }
    }
}
