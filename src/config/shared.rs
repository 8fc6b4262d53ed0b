//! The store that a fleet shares, in a configuration.

use std::time::Duration;

use serde::Deserialize;

use super::value::{Field, Given, secret, wrong};
#[cfg(feature = "redis")]
use crate::client_credentials::Secret;
use crate::{
    error::Error,
    shared::{SHARE_OF_TIME, SealingKeys, SharedStore},
};

/// `[shared]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename = "shared")]
pub(super) struct Fields {
    redis_url: Option<Given>,
    redis_url_file: Option<Given>,
    redis_url_env: Option<Given>,
    redis_sentinels: Option<Given>,
    redis_sentinels_file: Option<Given>,
    redis_sentinels_env: Option<Given>,
    redis_cluster: Option<Given>,
    folder: Option<Given>,
    sealing_key: Option<Given>,
    sealing_key_file: Option<Given>,
    sealing_key_env: Option<Given>,
    old_sealing_key: Option<Given>,
    old_sealing_key_file: Option<Given>,
    old_sealing_key_env: Option<Given>,
    timeout: Option<Given>,
}

/// What is needed to open the store.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    place: Place,
    keys: SealingKeys,
    timeout: Option<Duration>,
}

#[derive(Clone, Debug)]
enum Place {
    #[cfg(feature = "redis")]
    Redis(Secret),
    #[cfg(feature = "redis")]
    Sentinel {
        master: Secret,
        sentinels: Secret,
    },
    #[cfg(feature = "redis")]
    Cluster(Secret),
    Folder(String),
}

impl Fields {
    pub(super) fn read(self) -> Result<Shared, Error> {
        let redis = secret([
            Field("shared.redis_url", self.redis_url),
            Field("shared.redis_url_file", self.redis_url_file),
            Field("shared.redis_url_env", self.redis_url_env),
        ])?;
        let sentinels = secret([
            Field("shared.redis_sentinels", self.redis_sentinels),
            Field("shared.redis_sentinels_file", self.redis_sentinels_file),
            Field("shared.redis_sentinels_env", self.redis_sentinels_env),
        ])?;
        let is_cluster = Field("shared.redis_cluster", self.redis_cluster)
            .parsed("true or false")?
            .unwrap_or(false);
        if redis.is_none() && (sentinels.is_some() || is_cluster) {
            return Err(wrong(
                "shared.redis_url",
                "is missing; give the master's login for `redis_sentinels`, or the nodes of a `redis_cluster`",
            ));
        }
        let place = match (redis, Field("shared.folder", self.folder).text()?) {
            #[cfg(feature = "redis")]
            (Some(url), None) => match (sentinels, is_cluster) {
                (None, false) => Place::Redis(url),
                (None, true) => Place::Cluster(url),
                (Some(sentinels), false) => Place::Sentinel {
                    master: url,
                    sentinels,
                },
                (Some(_), true) => {
                    return Err(wrong(
                        "shared.redis_cluster",
                        "cannot be used with `redis_sentinels`; remove one of them",
                    ));
                }
            },
            #[cfg(not(feature = "redis"))]
            (Some(_), None) => {
                return Err(wrong(
                    "shared.redis_url",
                    "needs the crate feature `redis`; enable it",
                ));
            }
            (None, Some(folder)) => Place::Folder(folder),
            (Some(_), Some(_)) => {
                return Err(wrong(
                    "shared.folder",
                    "cannot be used with a `redis_url`; remove one of them",
                ));
            }
            (None, None) => {
                return Err(wrong(
                    "shared.redis_url",
                    "is missing, and so is `folder`; give one of them",
                ));
            }
        };
        let key = secret([
            Field("shared.sealing_key", self.sealing_key),
            Field("shared.sealing_key_file", self.sealing_key_file),
            Field("shared.sealing_key_env", self.sealing_key_env),
        ])?;
        let key = key.ok_or_else(|| {
            wrong(
                "shared.sealing_key_file",
                "is missing, and so are `sealing_key_env` and `sealing_key`; nothing is shared without a key",
            )
        })?;
        let keys = SealingKeys::new(key);
        let old = secret([
            Field("shared.old_sealing_key", self.old_sealing_key),
            Field("shared.old_sealing_key_file", self.old_sealing_key_file),
            Field("shared.old_sealing_key_env", self.old_sealing_key_env),
        ])?;
        Ok(Shared {
            place,
            keys: match old {
                Some(old) => keys.and_open_with(old),
                None => keys,
            },
            timeout: Field("shared.timeout", self.timeout).duration()?,
        })
    }
}

impl Shared {
    pub(super) fn store(&self, token_request_timeout: Duration) -> Result<SharedStore, Error> {
        let keys = self.keys.clone();
        let store = match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(url) => SharedStore::redis(url.clone(), keys)?,
            #[cfg(feature = "redis")]
            Place::Sentinel { master, sentinels } => {
                SharedStore::redis_sentinel(master.clone(), sentinels.clone(), keys)?
            }
            #[cfg(feature = "redis")]
            Place::Cluster(url) => SharedStore::redis_cluster(url.clone(), keys)?,
            Place::Folder(folder) => SharedStore::folder(folder, keys)?,
        };
        match self.timeout {
            None => Ok(store),
            Some(timeout)
                if !timeout.is_zero() && timeout <= token_request_timeout / SHARE_OF_TIME =>
            {
                Ok(store.timeout(timeout))
            }
            Some(_) => Err(wrong(
                "shared.timeout",
                "must be more than nothing, and at most a twentieth of `cache.token_request_timeout`: a process waits ten times \
                 this for others, and then needs time for a token request of its own",
            )),
        }
    }
}
