//! `[listen]`: where clients reach the sidecar.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    anchored,
    document::{Field, Table},
    error::ConfigError,
    place,
};

/// Where clients reach the sidecar: at least one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// A loopback address; port 0 lets the system choose.
    pub tcp: Option<SocketAddr>,
    /// A Unix socket. It gets mode 0660, in a directory that strangers cannot enter.
    pub unix: Option<PathBuf>,
}

pub(super) fn read(section: &mut Table, base: &Path) -> Result<Listen, ConfigError> {
    let tcp = section.text("tcp")?.map(|field| loopback(&field)).transpose()?;
    let unix = section.text("unix")?.map(|field| private_socket(&field, base)).transpose()?;
    if tcp.is_none() && unix.is_none() {
        return Err(section.missing("tcp", "clients reach the sidecar by tcp, by unix, or by both"));
    }
    Ok(Listen { tcp, unix })
}

fn loopback(field: &Field<String>) -> Result<SocketAddr, ConfigError> {
    let address: SocketAddr =
        field.value.parse().map_err(|_| field.invalid("must be an address and a port, such as 127.0.0.1:7443"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(field.invalid("only loopback addresses are served until TLS exists: tokens would travel in the clear"))
    }
}

fn private_socket(field: &Field<String>, base: &Path) -> Result<PathBuf, ConfigError> {
    let path = anchored(base, &field.value);
    if path.as_os_str().len() > LONGEST_SOCKET_PATH {
        return Err(field.invalid(format!("is longer than the system allows ({LONGEST_SOCKET_PATH} bytes)")));
    }
    let Some(directory) = path.parent().filter(|_| path.file_name().is_some()) else {
        return Err(field.invalid("must be the path of a socket in a directory"));
    };
    match place::privacy(directory, place::GROUP_MAY_ENTER) {
        Ok(place::Privacy::Private) => Ok(path),
        Ok(place::Privacy::Absent) => Err(field.invalid(format!(
            "its directory {} does not exist; make it with mode 0750, owned by the sidecar's user",
            directory.display()
        ))),
        Err(why) => Err(field.invalid(format!("its directory {why}"))),
    }
}

/// `sun_path` holds 108 bytes on Linux with the final zero, 104 on macOS (unix(7), unix(4)).
const LONGEST_SOCKET_PATH: usize = 103;
