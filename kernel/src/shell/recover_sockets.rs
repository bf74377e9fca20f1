//! Listening sockets of a former core: the very same ones where somebody still holds them, else bound anew.

use super::descriptors::Inheritable;
use super::inherited::Inherited;
use super::recover::without;
use super::{Shell, store, tree};
use crate::core::{Conduct, Input};
use ringmaster_protocol::message::{Listen, SocketAddress};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::io;
use std::os::fd::OwnedFd;

impl Shell {
    /// Takes over the sockets that were asked for.
    pub(super) fn recover_sockets(&mut self, left: &mut Inherited, conduct: Conduct) -> io::Result<()> {
        for number in self.socket_store.numbers().or_else(|error| without(conduct, error))? {
            let (listen, inode) = match self.socket_store.load_socket(number) {
                Ok(loaded) => loaded,
                Err(error) if store::is_damaged(&error) => {
                    self.socket_store.remove(number);
                    continue;
                }
                Err(error) => {
                    without::<()>(conduct, error)?;
                    continue;
                }
            };
            let child_number = u32::try_from(number).unwrap_or(0);
            let name = listen.name.clone();
            let known = left.socket(inode).filter(|socket| is_bound_to(socket, &listen.address));
            let outcome = match known.or_else(|| socket_of_holder(&listen, inode)) {
                Some(socket) => {
                    let known = Inheritable { listen: listen.clone(), number: child_number, socket: Some(socket) };
                    self.sockets.insert(name.clone(), known);
                    Ok(listen.address.clone())
                }
                None => {
                    // The file of our own former socket is in the way.
                    super::perform::remove_path(&listen.address);
                    self.bind_now(&listen, child_number)
                }
            };
            match outcome {
                Ok(address) => {
                    let (listen, outcome) = (Box::new(listen), Ok(address));
                    self.drive(Input::Bound { to: None, listen, number: child_number, outcome });
                }
                Err(refusal) => {
                    self.log(&format!("the socket {name} is lost: {refusal}"));
                    self.socket_store.remove(number);
                }
            }
        }
        Ok(())
    }
}

/// The very socket, with the connections that wait in it, from any process that holds it: a child that inherited it, or
/// a manager that was given it.
fn socket_of_holder(listen: &Listen, inode: u64) -> Option<OwnedFd> {
    let wanted = format!("socket:[{inode}]");
    for pid in tree::all_pids() {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for entry in descriptors {
            let is_wanted = std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str());
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(number) = number.filter(|_| is_wanted)
                && let Some(socket) = copy_descriptor(pid, number)
                && is_bound_to(&socket, &listen.address)
            {
                return Some(socket);
            }
        }
    }
    None
}

fn copy_descriptor(pid: i32, number: i32) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()).ok()
}

fn is_bound_to(socket: &OwnedFd, address: &SocketAddress) -> bool {
    let Ok(bound) = rustix::net::getsockname(socket) else {
        return false;
    };
    match address {
        SocketAddress::Inet(address) => std::net::SocketAddr::try_from(bound).is_ok_and(|bound| bound == *address),
        SocketAddress::Unix(path) => {
            rustix::net::SocketAddrUnix::try_from(bound).is_ok_and(|bound| bound.path_bytes() == Some(path.as_slice()))
        }
    }
}
