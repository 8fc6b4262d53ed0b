//! A store in a folder of one machine: a file for each name, replaced as a whole.

use std::{
    fmt, fs,
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::task::spawn_blocking;
use tower::BoxError;

use super::{
    keys::SealingKeys,
    shelf::{Shelf, in_millis},
    store::{Backend, Operation, Performed, Reply, SharedStore},
};
use crate::{error::Error, util::clock};

impl SharedStore {
    /// A folder, for the processes of one machine: command-line tools, functions that start often, workers of one host.
    ///
    /// It is made if it is not there, for its user alone (on Unix: mode 0700, its files 0600). Files are sealed, locked while they
    /// are changed, and replaced as a whole. One that cannot be read counts as missing.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if a key is not valid or the folder cannot be made.
    ///
    /// # Deployment caveat
    /// Use a local disk. The processes must have one clock, so do not use a folder that machines share over a network.
    pub fn folder(path: impl Into<PathBuf>, keys: SealingKeys) -> Result<Self, Error> {
        let path = path.into();
        make_folder(&path).map_err(|error| {
            Error::configuration(format!(
                "the folder {} of the shared token cannot be made: {error}; choose another, or its permissions",
                path.display()
            ))
        })?;
        Self::new(Folder { path }, keys)
    }
}

#[derive(Clone)]
struct Folder {
    path: PathBuf,
}

impl Backend for Folder {
    fn perform<'a>(&'a self, names: &'a [String], operation: Operation) -> Performed<'a> {
        let (folder, names) = (self.clone(), names.to_vec());
        Box::pin(
            async move { spawn_blocking(move || folder.perform_now(&names, &operation)).await? },
        )
    }
}

impl Folder {
    fn perform_now(&self, names: &[String], operation: &Operation) -> Result<Reply, BoxError> {
        let [name, older @ ..] = names else {
            return Err("there is no sealing key".into());
        };
        let _lock = Lock::take(self.path.join(format!("{name}.lock")))?;
        let file = self.path.join(name);
        let before = read(&file);
        let older: Vec<Shelf> = older
            .iter()
            .map(|name| read(&self.path.join(name)))
            .collect();
        let now = clock::wall()
            .duration_since(UNIX_EPOCH)
            .map_or(0, in_millis);
        let mut after = before.clone();
        let reply = after.perform(operation, &older, now);
        if after != before {
            write(&file, &after)?;
        }
        Ok(reply)
    }
}

/// What is not there, is too large, or cannot be read, is empty. No more is read than a file of ours can have, however it grows.
fn read(file: &Path) -> Shelf {
    let mut bytes = Vec::new();
    let read =
        fs::File::open(file).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut bytes));
    match read {
        Ok(_) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(_) => Shelf::default(),
    }
}

/// A reader finds the old file or the new one.
fn write(file: &Path, shelf: &Shelf) -> io::Result<()> {
    let new = file.with_extension(format!("{:016x}.new", fastrand::u64(..)));
    let written = make_file(&new)
        .and_then(|mut opened| opened.write_all(&serde_json::to_vec(shelf)?))
        .and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// The lock of a file: another file, which is there for as long as it is held.
struct Lock(PathBuf);

impl Lock {
    fn take(path: PathBuf) -> io::Result<Self> {
        let mut looks = 0;
        loop {
            match make_file(&path) {
                Ok(_) => return Ok(Self(path)),
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                Err(error) if looks == MOST_LOOKS => return Err(error),
                Err(_) if is_abandoned(&path) => break_open(&path),
                // On a thread for blocking work: files have no wake-up.
                Err(_) => thread::sleep(PAUSE),
            }
            looks += 1;
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Its process was killed: what is done under the lock takes milliseconds.
fn is_abandoned(lock: &Path) -> bool {
    let modified = fs::metadata(lock).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|at| {
        SystemTime::now()
            .duration_since(at)
            .is_ok_and(|age| age > ABANDONED)
    })
}

/// Takes an abandoned lock away. Of two who find it abandoned one succeeds: the other may get hold of the next one's lock, sees that
/// it is a new one, and puts it back.
fn break_open(lock: &Path) {
    let aside = lock.with_extension(format!("{:016x}.old", fastrand::u64(..)));
    if fs::rename(lock, &aside).is_ok() {
        if !is_abandoned(&aside) {
            let _ = fs::hard_link(&aside, lock);
        }
        let _ = fs::remove_file(&aside);
    }
}

fn make_file(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Folder").field(&self.path).finish()
    }
}

/// A token, a lease and a failure are a few KiB.
const LARGEST_FILE: u64 = 1 << 20;

const ABANDONED: Duration = Duration::from_secs(2);

/// In all a little less than an operation may take: one that is given up must not hold the lock later.
const MOST_LOOKS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(2);
