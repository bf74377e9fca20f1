//! The 64-byte greeting that opens every connection (RFC 37, "Version negotiation").
//!
//! It is judged byte by byte as it arrives, so that a browser or a port scanner is turned away at its first byte and
//! not when it happens to have sent sixty-four.

/// Length of a greeting in bytes.
pub const GREETING_LEN: usize = 64;

const SIGNATURE_FIRST: u8 = 0xFF;
const SIGNATURE_LAST_AT: usize = 9;
const SIGNATURE_LAST: u8 = 0x7F;
const MAJOR_AT: usize = 10;
const MINOR_AT: usize = 11;
const MECHANISM_AT: usize = 12;
const MECHANISM_LEN: usize = 20;
const MAJOR: u8 = 3;
const MINOR: u8 = 1;

/// How the two ends prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// No authentication, no encryption; all that Circus has.
    Null,
}

impl Mechanism {
    /// The name in the greeting, before its zero padding.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
        }
    }
}

/// Which revision of ZMTP 3 a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// Subscriptions travel as messages (`0x01` or `0x00`, then the topic).
    V3_0,
    /// Subscriptions travel as SUBSCRIBE and CANCEL commands. Later versions are asked to speak this one.
    V3_1,
}

/// Why a greeting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {
    /// The first byte is not the signature: HTTP, TLS, a shell, or ZMTP 1.
    #[error("not a ZMTP peer: its first byte is {0:#04x}, expected 0xff")]
    NotZmtp(u8),
    /// The tenth byte is not the end of a signature (a ZMTP 1 long frame looks like this).
    #[error("not a ZMTP 3 peer: byte 10 of its greeting is {0:#04x}, expected 0x7f")]
    Signature(u8),
    /// ZMTP 1 or 2.
    #[error("the peer speaks ZMTP revision {0}, expected 3 or later")]
    TooOld(u8),
    /// CURVE, PLAIN, GSSAPI or anything else that is not spoken here.
    #[error("the peer wants security mechanism {0:?}, expected \"NULL\"")]
    Mechanism(String),
}

/// The greeting this side sends.
#[must_use]
pub fn encode(mechanism: Mechanism) -> [u8; GREETING_LEN] {
    let mut name = mechanism.name().bytes();
    let mut greeting = [0; GREETING_LEN];
    for (at, byte) in greeting.iter_mut().enumerate() {
        *byte = match at {
            0 => SIGNATURE_FIRST,
            SIGNATURE_LAST_AT => SIGNATURE_LAST,
            MAJOR_AT => MAJOR,
            MINOR_AT => MINOR,
            _ if (MECHANISM_AT..MECHANISM_AT + MECHANISM_LEN).contains(&at) => name.next().unwrap_or(0),
            _ => 0,
        };
    }
    greeting
}

/// Judges the bytes received so far; `None` while more are needed.
///
/// # Errors
/// The first rule that the bytes break. More bytes never change an error into another one.
pub fn inspect(received: &[u8]) -> Result<Option<Revision>, GreetingError> {
    let byte = |at: usize| received.get(at).copied();
    match byte(0) {
        None => return Ok(None),
        Some(SIGNATURE_FIRST) => {}
        Some(other) => return Err(GreetingError::NotZmtp(other)),
    }
    // libzmq looks at the lowest bit only, so that is what peers may rely on.
    match byte(SIGNATURE_LAST_AT) {
        None => return Ok(None),
        Some(last) if last & 1 == 1 => {}
        Some(other) => return Err(GreetingError::Signature(other)),
    }
    match byte(MAJOR_AT) {
        None => return Ok(None),
        Some(major) if major >= MAJOR => {}
        Some(major) => return Err(GreetingError::TooOld(major)),
    }
    let Some(greeting) = received.first_chunk::<GREETING_LEN>() else {
        return Ok(None);
    };
    let named = greeting.iter().skip(MECHANISM_AT).take(MECHANISM_LEN).copied();
    let wanted = Mechanism::Null.name().bytes().chain(std::iter::repeat(0)).take(MECHANISM_LEN);
    if !named.clone().eq(wanted) {
        let name: Vec<u8> = named.take_while(|byte| *byte != 0).collect();
        return Err(GreetingError::Mechanism(String::from_utf8_lossy(&name).into_owned()));
    }
    let later = byte(MAJOR_AT) > Some(MAJOR);
    let revision = if later || byte(MINOR_AT) >= Some(MINOR) { Revision::V3_1 } else { Revision::V3_0 };
    Ok(Some(revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_the_greeting_of_the_rfc() {
        let ours = encode(Mechanism::Null);
        assert_eq!(ours[..10], [0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x7F]);
        assert_eq!(ours[10..16], *b"\x03\x01NULL");
        assert!(ours[16..].iter().all(|byte| *byte == 0));
        assert_eq!(inspect(&ours), Ok(Some(Revision::V3_1)));
    }

    #[test]
    fn every_prefix_of_a_good_greeting_waits_for_more() {
        let ours = encode(Mechanism::Null);
        for length in 0..GREETING_LEN {
            assert_eq!(inspect(&ours[..length]), Ok(None), "{length} bytes");
        }
    }

    #[test]
    fn revisions() {
        let mut greeting = encode(Mechanism::Null);
        greeting[11] = 0;
        assert_eq!(inspect(&greeting), Ok(Some(Revision::V3_0)));
        greeting[10] = 4;
        assert_eq!(inspect(&greeting), Ok(Some(Revision::V3_1)));
        greeting[10] = 1;
        assert_eq!(inspect(&greeting[..11]), Err(GreetingError::TooOld(1)));
    }

    #[test]
    fn strangers_are_refused_as_early_as_possible() {
        assert_eq!(inspect(b"G"), Err(GreetingError::NotZmtp(b'G')));
        let mut greeting = encode(Mechanism::Null);
        greeting[12..17].copy_from_slice(b"CURVE");
        assert_eq!(inspect(&greeting), Err(GreetingError::Mechanism("CURVE".to_owned())));
        greeting[9] = 0x7E;
        assert_eq!(inspect(&greeting[..10]), Err(GreetingError::Signature(0x7E)));
    }

    #[test]
    fn a_mechanism_that_only_starts_with_null_is_another_one() {
        let mut greeting = encode(Mechanism::Null);
        greeting[16] = b'2';
        assert_eq!(inspect(&greeting), Err(GreetingError::Mechanism("NULL2".to_owned())));
    }
}
