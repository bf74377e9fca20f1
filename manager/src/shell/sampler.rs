//! The thread that reads /proc for `stats` and `dstats`, so that a thousand processes never delay the loop.

use crate::arbiter::{Asker, Event, Sample};
use crate::commands::answer_sample;
use crate::hooks::HookCall;
use crate::sampling::Sampler;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use tokio::sync::mpsc;

/// Questions that may wait. Each takes microseconds a process.
const WAITING: usize = 256;

/// Who asks, what, and the hook that is to see the answer first.
pub type Question = (Asker, Box<Sample>, Option<Box<HookCall>>);

/// A handle to the thread; it ends with the handle.
#[derive(Debug)]
pub struct SamplerThread {
    questions: SyncSender<Question>,
}

impl SamplerThread {
    /// Starts it. It sleeps until it is asked.
    pub fn start(events: mpsc::Sender<Event>) -> std::io::Result<Self> {
        let (questions, asked) = sync_channel::<Question>(WAITING);
        std::thread::Builder::new().name("sampler".to_owned()).stack_size(256 << 10).spawn(move || {
            let mut sampler = Sampler::new();
            for (asker, sample, extension) in asked {
                let result = Ok(answer_sample(&sample, &mut sampler));
                if events.blocking_send(Event::Sampled { asker, result, extension }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { questions })
    }

    /// Asks; gives the asker back when too many wait.
    pub fn ask(&self, question: Question) -> Result<(), Asker> {
        self.questions.try_send(question).map_err(|refused| match refused {
            TrySendError::Full((asker, ..)) | TrySendError::Disconnected((asker, ..)) => asker,
        })
    }
}
