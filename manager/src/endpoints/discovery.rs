//! Discovery over UDP: who asks on the multicast group is told the control endpoint (spec l).
//!
//! Any datagram is a question and its content does not matter. The socket is circusd's own, not the core's: while
//! circusd is away, there is nobody to be discovered. Nothing here knows what the answer says.

use super::limits::{DISCOVERY_ANSWERS, DISCOVERY_QUESTION_BYTES};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How far questions and answers may travel: as far as the group's routers let them, as in Circus.
const TTL: u32 = 255;

/// Why nobody can be answered.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The text is no multicast endpoint.
    #[error("multicast_endpoint = {0}: expected udp://A.B.C.D:PORT with A from 224 to 239")]
    Endpoint(String),
    /// The system refuses the socket.
    #[error("Multicast discovery is disabled, there was an error during udp socket creation: {0}")]
    Socket(#[from] io::Error),
}

/// The running answerer; it ends when dropped.
#[derive(Debug)]
pub struct Discovery(JoinHandle<()>);

impl Drop for Discovery {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Discovery {
    /// Joins the group of `endpoint` (`udp://A.B.C.D:PORT`) on any interface, and answers every datagram with `answer`.
    ///
    /// # Errors
    /// The endpoint is none, or the system has no multicast. Called outside a tokio runtime.
    pub fn start(endpoint: &str, answer: Vec<u8>) -> Result<Self, DiscoveryError> {
        let group = parse(endpoint).ok_or_else(|| DiscoveryError::Endpoint(endpoint.to_owned()))?;
        let socket = UdpSocket::from_std(open(group)?)?;
        Ok(Self(tokio::spawn(serve(socket, answer))))
    }
}

fn parse(endpoint: &str) -> Option<SocketAddrV4> {
    let group: SocketAddrV4 = endpoint.strip_prefix("udp://")?.parse().ok()?;
    group.ip().is_multicast().then_some(group)
}

/// Bound to the port on every address, so that a question to this host alone is answered, too. Several circusd of one
/// host share the port.
fn open(group: SocketAddrV4) -> io::Result<std::net::UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    sockopt::set_ip_multicast_ttl(&socket, TTL)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, group.port()))?;
    sockopt::set_ip_add_membership(&socket, group.ip(), &Ipv4Addr::UNSPECIFIED)?;
    Ok(socket.into())
}

async fn serve(socket: UdpSocket, answer: Vec<u8>) {
    let mut question = [0; DISCOVERY_QUESTION_BYTES];
    let mut second = Instant::now();
    let mut answered = 0;
    loop {
        let from = match socket.recv_from(&mut question).await {
            Ok((_, from)) => from,
            // An earlier answer reached a port where nobody listens (ICMP); the socket is as good as before.
            Err(error) => {
                tracing::debug!("discovery: {error}");
                continue;
            }
        };
        if second.elapsed() >= Duration::from_secs(1) {
            (second, answered) = (Instant::now(), 0);
        }
        if answered >= DISCOVERY_ANSWERS {
            continue;
        }
        answered += 1;
        if let Err(error) = socket.send_to(&answer, from).await {
            tracing::debug!("discovery: {from} cannot be answered: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_are_multicast_endpoints() {
        assert_eq!(parse("udp://237.219.251.97:12027").unwrap().port(), 12027);
        for wrong in ["udp://127.0.0.1:12027", "tcp://237.219.251.97:1", "udp://237.219.251.97", "udp://[ff02::1]:1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_flood_of_questions_is_not_answered_with_a_flood() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let _served = Discovery(tokio::spawn(serve(server, b"here".to_vec())));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut buffer = [0; 16];
        for _ in 0..DISCOVERY_ANSWERS {
            client.send_to(b"", address).await.unwrap();
            let received = tokio::time::timeout(Duration::from_secs(20), client.recv_from(&mut buffer)).await;
            let (length, from) = received.unwrap().unwrap();
            assert_eq!((&buffer[..length], from), (b"here".as_slice(), address));
        }
    }
}
