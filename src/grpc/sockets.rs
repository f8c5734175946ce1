//! Binds the sockets. Until TLS exists: loopback addresses, and Unix sockets in private directories, nothing else.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, UnixListener, UnixStream};

/// Who may connect to a Unix socket, beside its private directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The owner's user and group: for client systems.
    OwnerAndGroup,
    /// The owner alone: for the operator's commands.
    Owner,
}

/// Why a socket cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is not loopback.
    #[error(
        "{0} is not a loopback address: others would read tokens and passphrases, since TLS is not supported yet; use 127.0.0.1 or a Unix socket"
    )]
    NotLoopback(SocketAddr),
    /// Another process has the address.
    #[error("{0} is in use by another process; stop that one, or choose another in [listen]")]
    InUse(String),
    /// The socket's directory lets others in.
    #[error("{}: mode {mode:o} lets others in; make it 0750 or 0700 and owned by the user of the sidecar", .directory.display())]
    OpenDirectory {
        /// The directory.
        directory: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Something else is in the socket's place.
    #[error("{} exists and is no socket; remove it, or choose another listen.unix", .0.display())]
    NoSocket(PathBuf),
    /// The operating system refuses.
    #[error("{what}: {why}")]
    System {
        /// The address or path.
        what: String,
        /// What it says.
        why: io::Error,
    },
}

/// Binds a loopback address.
///
/// # Errors
/// [`BindError`].
pub async fn tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    if !address.ip().is_loopback() {
        return Err(BindError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|why| {
        if why.kind() == io::ErrorKind::AddrInUse {
            BindError::InUse(address.to_string())
        } else {
            BindError::System { what: address.to_string(), why }
        }
    })
}

/// Binds a Unix socket. Its directory must exist, be ours and be closed to others; a socket that nobody listens on any
/// more is replaced.
///
/// # Errors
/// [`BindError`].
pub async fn unix(path: &Path, mode: Mode) -> Result<UnixListener, BindError> {
    let system = |why| BindError::System { what: path.display().to_string(), why };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let facts = fs::metadata(directory).map_err(system)?;
    let ours = facts.uid() == rustix::process::geteuid().as_raw();
    if facts.mode() & 0o027 != 0 || !ours {
        return Err(BindError::OpenDirectory { directory: directory.to_owned(), mode: facts.mode() & 0o7777 });
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NoSocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).await.is_ok() => return Err(BindError::InUse(path.display().to_string())),
        Ok(_) => fs::remove_file(path).map_err(system)?,
    }
    let listener = UnixListener::bind(path).map_err(system)?;
    let bits = match mode {
        Mode::OwnerAndGroup => 0o660,
        Mode::Owner => 0o600,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).map_err(system)?;
    Ok(listener)
}
