//! A file or folder below another one: opened part by part, so that nothing leads out.

use std::{fs::File, os::fd::OwnedFd, path::Path, sync::Arc};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

use super::ShelfError;

const NO_ARCHIVE: &str = "it is neither a file nor a folder";

/// Opens `path`, which is below `dir` and called `said`. No link is followed below `dir`; a pipe does not hold it up, and is no file.
pub(super) fn open(dir: &Path, path: &str, said: &str) -> Result<File, ShelfError> {
    let refused = |why| Err(ShelfError::Outside { path: said.to_owned(), why });
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !path.split('/').all(is_part) {
        return refused("it is a path below the folder, without . and .. as a part");
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let failed =
        |error: Errno| ShelfError::Open { path: said.to_owned(), source: Arc::new(error.into()) };
    // The admin's own folder may be behind a link.
    let mut at: OwnedFd =
        openat(CWD, dir, flags | OFlags::DIRECTORY, Mode::empty()).map_err(failed)?;
    for part in path.split('/') {
        at = match openat(&at, part, flags | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::LOOP | Errno::MLINK) => return refused("a link is on the way to it"),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                return Err(ShelfError::NotThere { path: said.to_owned() });
            }
            // So it is with sockets, and with devices that nothing drives.
            Err(Errno::NXIO | Errno::NODEV) => return refused(NO_ARCHIVE),
            Err(error) => return Err(failed(error)),
        };
    }
    let file = File::from(at);
    let about = file
        .metadata()
        .map_err(|error| ShelfError::Open { path: said.to_owned(), source: Arc::new(error) })?;
    if !about.is_file() && !about.is_dir() {
        return refused(NO_ARCHIVE);
    }
    Ok(file)
}
