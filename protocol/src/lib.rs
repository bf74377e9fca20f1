//! What two Ringmaster processes must agree on, and nothing else.
//!
//! * [`frame`]: the frozen header of the kernel's binary protocol, and a reader that takes bytes in any portion.
//! * [`message`]: every request, reply and notice between manager and core, with its frozen number.
//! * [`ring`]: the layout of a process file, in which the core keeps captured output and the manager reads it.
//! * [`text`]: Papa's text protocol: what people type at a core, and what was written for Papa.
//! * [`status`]: how to ask a core what it is, and how the answer is shown.
//! * [`circus`]: the JSON envelope and the error numbers of Circus's control protocol.
//! * [`instance`]: the name and directory by which a core and its clients find each other.
//! * [`limits`]: every bound of the above, with its reason.
//!
//! There is no I/O here, no clock and no unsafe code. Released bodies and layouts never change: a change is a new
//! message number or an `ext` tag, and `vectors/` only grows (docs/PROTOCOL.md).
#![forbid(unsafe_code)]

pub mod circus;
pub mod frame;
pub mod instance;
pub mod limits;
pub mod message;
pub mod ring;
pub mod status;
pub mod text;
