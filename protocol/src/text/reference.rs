//! `$(socket.NAME.port)` and `$(socket.NAME.fileno)` in a process's arguments.

use super::TextError;
use crate::message::{SocketAddress, SocketInfo};

const BEGIN: &str = "$(socket.";

/// Replaces every reference in `argument`; sockets referred to by file number are added to `inherited`.
pub fn replace(
    process: &str,
    argument: &str,
    sockets: &[SocketInfo],
    inherited: &mut Vec<String>,
) -> Result<String, TextError> {
    let mut text = String::new();
    let mut rest = argument;
    while let Some((before, reference)) = rest.split_once(BEGIN) {
        let Some((reference, behind)) = reference.split_once(')') else {
            return Err(TextError::ReferenceOpen(process.into()));
        };
        text.push_str(before);
        text.push_str(&look_up(reference, sockets, inherited)?);
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

/// The name is everything up to the last dot.
fn look_up(reference: &str, sockets: &[SocketInfo], inherited: &mut Vec<String>) -> Result<String, TextError> {
    let (name, field) = reference.rsplit_once('.').ok_or(TextError::ReferenceField)?;
    if !matches!(field, "port" | "fileno") {
        return Err(TextError::ReferenceField);
    }
    let socket = sockets.iter().find(|socket| socket.name == name);
    let socket = socket.ok_or_else(|| TextError::ReferenceSocket(name.into()))?;
    if field == "fileno" {
        if !inherited.iter().any(|known| known == name) {
            inherited.push(name.into());
        }
        return Ok(socket.number.to_string());
    }
    Ok(match &socket.address {
        SocketAddress::Inet(address) => address.port().to_string(),
        SocketAddress::Unix(_) => String::from("None"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SocketType;
    use proptest::prelude::*;

    fn replaced(argument: &str) -> Result<(String, Vec<String>), TextError> {
        let socket = |name: &str, port, number| SocketInfo {
            name: name.into(),
            address: SocketAddress::Inet(([127, 0, 0, 1], port).into()),
            kind: SocketType::Stream,
            backlog: 5,
            reuse_port: false,
            persistent: true,
            number,
        };
        let mut inherited = Vec::new();
        let text = replace("p", argument, &[socket("a", 80, 3), socket("b.c", 81, 4)], &mut inherited)?;
        Ok((text, inherited))
    }

    #[test]
    fn every_reference_of_an_argument_is_replaced() {
        let (text, inherited) = replaced("x$(socket.a.fileno),$(socket.b.c.fileno):$(socket.a.port)").unwrap();
        assert_eq!((text.as_str(), inherited), ("x3,4:80", vec!["a".into(), "b.c".into()]));
    }

    #[test]
    fn what_is_wrong_with_a_reference_is_said() {
        assert_eq!(replaced("$(socket.a").unwrap_err(), TextError::ReferenceOpen("p".into()));
        assert_eq!(replaced("$(socket.a)").unwrap_err(), TextError::ReferenceField);
        assert_eq!(replaced("$(socket.zz.port)").unwrap_err(), TextError::ReferenceSocket("zz".into()));
    }

    proptest! {
        #[test]
        fn any_argument_is_read(argument in "(\\$|\\(|\\)|socket|\\.|port|a|\\$\\(socket\\.){0,9}") {
            let _ = replaced(&argument);
        }
    }
}
