//! Requests to the metrics endpoint (`manager/src/endpoints/http`), without its socket.

use super::bytes::Bytes;
use ringmaster_manager::endpoints::http::{Request, parse};
use ringmaster_manager::endpoints::limits::HTTP_HEAD_BYTES;

/// However the bytes are cut, the same requests come out until the first refusal; none is longer than its limit. First byte:
/// where to cut.
pub fn http(input: &[u8]) {
    let mut input = Bytes::new(input);
    let cut = usize::from(input.u8()).max(1);
    let stream = input.rest();
    let (whole, refused) = serve(stream, stream.len().max(1));
    let (pieces, refused_in_pieces) = serve(stream, cut);
    // A refusal may come before the end of a request that is refused as a whole.
    let least = whole.len().min(pieces.len());
    assert_eq!(whole.get(..least), pieces.get(..least), "in pieces of {cut}");
    assert!(refused || refused_in_pieces || whole == pieces, "in pieces of {cut}");
    assert!(refused == refused_in_pieces, "in pieces of {cut}");
    assert!(whole.iter().all(|request| request.path.starts_with('/') && request.path.is_ascii()));
}

/// The requests, and whether something was refused.
fn serve(stream: &[u8], cut: usize) -> (Vec<Request>, bool) {
    let (mut requests, mut buffer) = (Vec::new(), Vec::new());
    for piece in stream.chunks(cut) {
        buffer.extend_from_slice(piece);
        loop {
            match parse(&buffer) {
                Ok(Some((request, used))) => {
                    assert!((1..=HTTP_HEAD_BYTES).contains(&used) && used <= buffer.len());
                    buffer.drain(..used);
                    requests.push(request);
                }
                Ok(None) => {
                    assert!(buffer.len() < HTTP_HEAD_BYTES, "{} bytes wait", buffer.len());
                    break;
                }
                Err(refusal) => {
                    assert!(!refusal.to_string().is_empty() && refusal.status().len() > 4);
                    return (requests, true);
                }
            }
        }
    }
    (requests, false)
}
