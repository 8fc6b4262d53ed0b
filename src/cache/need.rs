//! A token that a cache holds, and what a caller needs of it.

use std::time::Duration;

use super::rejection_guard::Route;
use crate::{
    token::{Reason, Token, TokenRequest, challenge::Challenges},
    util::clock::Moment,
};

/// A token that a cache holds, and how long it is good for.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) token: Token,
    /// The token request it came by. The token's generation is older where the server gave the same token again.
    pub(super) landing: u64,
    /// While more milliseconds than these are left of it, it is as new as one can reasonably be had.
    pub(super) young_above_ms: u32,
    pub(super) refresh_at: Moment,
    /// From here on requests wait for the next one, while it can be had.
    pub(super) unusable_at: Moment,
    /// From here on it is not sent any more.
    pub(super) ends_at: Moment,
    /// Whether its end is known by the server's word.
    pub(super) is_dated: bool,
}

/// What a caller comes for, and so which token would save the token request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need<'a> {
    /// Any token that may be sent.
    Usable {
        /// Whether it is for a request that is sent again if the API rejects the token.
        is_retried: bool,
    },
    /// A token that may be sent that long, or as new as one can reasonably be had.
    Lasting(Duration),
    /// A token that is not yet due for refresh.
    Fresh,
    /// A token that may be sent and is not this one, which the API rejected on this route.
    Other {
        than: u64,
        route: Route,
        /// Whether a retry will tell if that healed the route. If none does, the next first try has to.
        is_retried: bool,
        /// What the API said of it.
        challenges: &'a Challenges,
    },
    /// The outcome of a token request, whatever token is there.
    New,
}

impl Held {
    pub(super) fn meets(&self, need: Need<'_>, now: Moment) -> bool {
        let usable = !self.unusable_at.is_over(now);
        match need {
            Need::Usable { .. } => usable,
            // Not in its first half, or tokens that are too short for it would be requested per request.
            Need::Lasting(least) => {
                usable
                    && (self.unusable_at.left(now) >= least
                        || self.unusable_at.left(now)
                            > Duration::from_millis(self.young_above_ms.into()))
            }
            Need::Fresh => usable && !self.refresh_at.is_over(now),
            Need::Other { than, .. } => {
                !self.ends_at.is_over(now) && self.token.generation() != than
            }
            Need::New => false,
        }
    }
}

impl Need<'_> {
    /// Whether the caller waits on, if its token was rejected while it waited and the request for another is under way.
    ///
    /// Not for a request that is sent again: its retry has the new token. Were it held back, it would send the new token at its
    /// first try. If that is rejected as well, it is news of one more route, and costs one more token request: a hundred requests
    /// that an API rejects whatever they carry would cost seven, and not two.
    pub(super) fn waits_for_replacement(self) -> bool {
        !matches!(self, Self::Usable { is_retried: true } | Self::Lasting(_))
    }

    /// What the source is asked.
    pub(super) fn request(self, current: Option<&Held>) -> TokenRequest {
        let refresh =
            |held: &Held| TokenRequest::new(Reason::Refresh).with_current_token(held.token.clone());
        match (self, current) {
            (
                Self::Other {
                    than, challenges, ..
                },
                Some(held),
            ) if held.token.generation() == than => TokenRequest::new(Reason::Rejected)
                .with_current_token(held.token.clone())
                .challenged_by(challenges.clone()),
            // In its last stretch there is one that can be sent, should no other come.
            (Self::Usable { .. }, Some(held)) if !held.ends_at.is_over(Moment::now()) => {
                refresh(held)
            }
            (_, None) | (Self::Usable { .. } | Self::Other { .. }, _) => {
                TokenRequest::new(Reason::Cold)
            }
            (Self::Lasting(_) | Self::Fresh | Self::New, Some(held)) => refresh(held),
        }
    }
}
