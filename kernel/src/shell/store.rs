//! Small files that outlive the core: named values, and the requests of listening sockets.
//!
//! A value's file is named by its number and holds the length of the name, the name, and the value. Every file is
//! written beside its place and renamed into it.

use crate::instance::through;
use ringmaster_protocol::limits::MAX_NAME;
use ringmaster_protocol::message::{Listen, Request};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Suffix of a file that is being written.
const NEW: &str = ".new";

/// Whether a file says nothing, and never will. All other errors may pass.
pub fn is_damaged(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound)
}

/// A folder of numbered files.
#[derive(Debug)]
pub struct Store {
    folder: OwnedFd,
}

impl Store {
    /// In that folder.
    pub fn new(folder: OwnedFd) -> Self {
        Self { folder }
    }

    fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    fn write(&self, number: u64, bytes: &[u8]) -> io::Result<()> {
        let name = number.to_string();
        let new = through(self.folder(), &format!("{name}{NEW}"));
        std::fs::write(&new, bytes)?;
        std::fs::rename(new, through(self.folder(), &name))
    }

    fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        std::fs::read(through(self.folder(), &number.to_string()))
    }

    /// Removes a file; one that is not there is fine. One that cannot be removed is emptied, so that the next core does not take
    /// it for a value or a socket again, and removes it.
    pub fn remove(&self, number: u64) {
        let path = through(self.folder(), &number.to_string());
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            let _ = File::options().write(true).truncate(true).open(path);
        }
    }

    /// The numbers in use; what a killed core left half written is removed.
    pub fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(through(self.folder(), ""))? {
            let entry = entry?;
            match entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                Some(number) => numbers.push(number),
                None => {
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Keeps a value.
    pub fn store_value(&self, number: u64, name: &str, value: &[u8]) -> io::Result<()> {
        let length = u32::try_from(name.len()).unwrap_or(0);
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(value);
        self.write(number, &bytes)
    }

    /// A value.
    pub fn load_value(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.read(number)?;
        let (length, _) = bytes.split_first_chunk::<4>().ok_or(io::ErrorKind::InvalidData)?;
        let skip = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX).saturating_add(4);
        if skip > bytes.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(bytes.split_off(skip))
    }

    /// The name of a value, without reading the value.
    pub fn value_name(&self, number: u64) -> io::Result<String> {
        let mut file = File::open(through(self.folder(), &number.to_string()))?;
        let mut length = [0; 4];
        file.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_NAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut name = vec![0; length];
        file.read_exact(&mut name)?;
        String::from_utf8(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Keeps a socket's request, with the address as bound, and the socket's inode; 0: there is none.
    pub fn store_socket(&self, number: u32, listen: &Listen, inode: u64) -> io::Result<()> {
        let mut bytes = inode.to_le_bytes().to_vec();
        bytes.extend(Request::Listen(listen.clone()).body());
        self.write(u64::from(number), &bytes)
    }

    /// A socket's request and inode.
    pub fn load_socket(&self, number: u64) -> io::Result<(Listen, u64)> {
        /// The frozen number of `Listen`.
        const LISTEN: u16 = 11;
        let bytes = self.read(number)?;
        let (inode, body) = bytes.split_first_chunk::<8>().ok_or(io::ErrorKind::InvalidData)?;
        match Request::decode(LISTEN, body) {
            Ok(Request::Listen(listen)) => Ok((listen, u64::from_le_bytes(*inode))),
            Ok(_) | Err(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
