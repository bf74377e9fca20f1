//! What a new kernel half does after it serves: it takes back processes by the thousand, and their descriptors need to be waited
//! for, but nobody needs to wait for that. Their output stays in its pipes and their ends with the keeper meanwhile.

use super::Shell;
use super::child::{Child, Watch};
use super::poll::Token;
use crate::limits::WATCHES_PER_TURN;
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::Stream;

impl Shell {
    /// Registers a process that was found. What it holds is waited for in the next turns.
    pub(super) fn adopt(&mut self, id: ProcessId, mut child: Child) {
        for stream in Stream::ALL {
            if let Some(pipe) = child.pipe(stream) {
                pipe.watch = Watch::Soon;
                self.later.push_back(Token::Pipe(id, stream));
            }
        }
        if child.pidfd.is_some() {
            self.later.push_back(Token::Pidfd(id));
        }
        self.register(id, child);
    }

    /// Waits for some more of them.
    pub(super) fn watch_some(&mut self) {
        for _ in 0..WATCHES_PER_TURN {
            match self.later.pop_front() {
                Some(Token::Pipe(id, stream)) => {
                    let pipe = self.children.get_mut(&id).and_then(|child| child.pipe(stream));
                    // The core may have decided since that it is not to be read now.
                    if pipe.is_some_and(|pipe| pipe.watch == Watch::Soon) {
                        self.resume(id, stream);
                    }
                }
                Some(Token::Pidfd(id)) => self.watch(id),
                Some(Token::Listener | Token::TcpListener | Token::Signals | Token::Client(_)) => {}
                Some(Token::Keeper | Token::Trial | Token::Home) => {}
                None => return,
            }
        }
    }
}
