//! Operations as scripts, and what scripts answer.

use std::time::Duration;

use redis::{Cmd, Value};

use super::super::{
    shelf::{Answer, Put, in_millis},
    store::{Operation, Reply},
};

/// A token's generation, and the sealed token.
pub(super) type Seen = (u64, Vec<u8>);

/// Looks at the token under a name by an older key.
pub(super) fn look(name: &str) -> Cmd {
    let mut command = redis::cmd("HMGET");
    command
        .arg(key(name, "token"))
        .arg("generation")
        .arg("sealed");
    command
}

pub(super) fn seen(answer: Value) -> Option<Seen> {
    redis::from_redis_value(answer).ok()
}

fn key(name: &str, what: &str) -> String {
    format!("tower-bearer:{{{name}}}:{what}")
}

/// The script that does an operation on what is stored under a name. All its keys have one hash slot. `known` is the newest token
/// under the names by older keys.
pub(super) fn command(name: &str, operation: &Operation, known: Option<Seen>) -> Cmd {
    let script = match operation {
        Operation::Ask(_) => include_str!("scripts/ask.lua"),
        Operation::Renew { .. } => include_str!("scripts/renew.lua"),
        Operation::Put { .. } => include_str!("scripts/put.lua"),
    };
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(3);
    for what in ["token", "lease", "failure"] {
        command.arg(key(name, what));
    }
    match operation {
        Operation::Ask(ask) => {
            command
                .arg(ask.above)
                .arg(&ask.owner)
                .arg(in_millis(ask.lease));
            match known {
                Some((generation, sealed)) => command.arg(generation).arg(sealed),
                None => &mut command,
            }
        }
        Operation::Renew { owner, lease } => command.arg(owner).arg(in_millis(*lease)),
        Operation::Put { owner, put } => {
            command.arg(owner);
            match put {
                Put::Value {
                    generation,
                    sealed,
                    ends_at,
                } => command
                    .arg("value")
                    .arg(*generation)
                    .arg(&sealed[..])
                    .arg(*ends_at),
                Put::Failure {
                    sealed,
                    told_from,
                    lasts,
                } => command
                    .arg("failure")
                    .arg(*told_from)
                    .arg(&sealed[..])
                    .arg(in_millis(*lasts).max(1)),
                Put::Nothing => command.arg("nothing"),
            }
        }
    };
    command
}

/// `None` if it is no answer of a script.
pub(super) fn reply(answer: &Value) -> Option<Reply> {
    use Value::{Array, BulkString, Int};

    let Array(parts) = answer else { return None };
    let [BulkString(what), parts @ ..] = &parts[..] else {
        return None;
    };
    let number = |number: &i64| u64::try_from(*number).ok();
    Some(match (&what[..], parts) {
        (b"value", [Int(generation), BulkString(sealed), Int(now)]) => {
            Reply::Answer(Answer::Value {
                generation: number(generation)?,
                sealed: sealed.clone(),
                now: number(now)?,
            })
        }
        (b"held", []) => Reply::Answer(Answer::Held),
        (b"failed", [BulkString(sealed), Int(left)]) => Reply::Answer(Answer::Failed {
            sealed: sealed.clone(),
            left: Duration::from_millis(number(left)?),
        }),
        (b"taken", [Int(generation), Int(now)]) => Reply::Answer(Answer::Taken {
            generation: number(generation)?,
            now: number(now)?,
        }),
        (b"renewed", []) => Reply::Renewed(true),
        (b"lost", []) => Reply::Renewed(false),
        (b"done", []) => Reply::Done,
        _ => return None,
    })
}
