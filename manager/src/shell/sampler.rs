//! The thread that reads /proc for `stats` and `dstats`, so that a thousand processes never delay the loop.

use crate::arbiter::{Asker, Event, Sample};
use crate::commands::answer_sample;
use crate::sampling::Sampler;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use tokio::sync::mpsc;

/// Questions that may wait. Each takes microseconds a process.
const WAITING: usize = 256;

/// A handle to the thread; it ends with the handle.
#[derive(Debug)]
pub struct SamplerThread {
    questions: SyncSender<(Asker, Box<Sample>)>,
}

impl SamplerThread {
    /// Starts it. It sleeps until it is asked.
    pub fn start(events: mpsc::Sender<Event>) -> std::io::Result<Self> {
        let (questions, asked) = sync_channel::<(Asker, Box<Sample>)>(WAITING);
        std::thread::Builder::new().name("sampler".to_owned()).stack_size(256 << 10).spawn(move || {
            let mut sampler = Sampler::new();
            for (asker, sample) in asked {
                let result = Ok(answer_sample(&sample, &mut sampler));
                if events.blocking_send(Event::Sampled { asker, result }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { questions })
    }

    /// Asks; gives the asker back when too many wait.
    pub fn ask(&self, asker: Asker, sample: Box<Sample>) -> Result<(), Asker> {
        self.questions.try_send((asker, sample)).map_err(|refused| match refused {
            TrySendError::Full((asker, _)) | TrySendError::Disconnected((asker, _)) => asker,
        })
    }
}
