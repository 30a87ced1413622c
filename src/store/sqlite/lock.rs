//! One server per database: an operating system's lock on a file beside it, gone with the process however that ends.
//! Never on the database itself: closing a second handle to it would drop SQLite's own locks.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process,
};

use crate::store::StoreError;

/// The lock, held until dropped.
#[derive(Debug)]
pub(super) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock of the database at `database`, or says who has it.
    pub(super) fn take(database: &Path) -> Result<Self, StoreError> {
        let path = beside(database);
        let failed = |error: std::io::Error| {
            StoreError::Unavailable(format!("the lock file {} cannot be used: {error}", path.display()))
        };
        let options = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only to help: without it the refusal stands all the same.
                file.read_to_string(&mut holder).ok();
                return Err(StoreError::Unavailable(format!(
                    "{} is already served by process {}: stop that server first, or give this one another database",
                    database.display(),
                    holder.trim(),
                )));
            }
        }
        // The number is for people and for the message above; the lock holds without it.
        file.set_len(0).and_then(|()| writeln!(file, "{}", process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The lock file's path: that of the database with ".lock" after it.
fn beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}
