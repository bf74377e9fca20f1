//! What must hold after every step.

use crate::model::{CAPACITY, ModelStream, PLACES, pattern};
use crate::world::World;
use ringmaster_kernel::limits::RING_FLOOR;
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::{Record, Stream};

impl World {
    /// What must always hold.
    pub fn check(&mut self) {
        let tool = self.tool;
        self.ask(tool, List { after: ProcessId(0), prefix: String::new(), ext: vec![] });
        self.ask(tool, Status::default());
        let listed = self.listed.take().unwrap();
        let ids: Vec<ProcessId> = listed.iter().map(|info| info.id).collect();
        assert_eq!(ids, self.processes.keys().copied().collect::<Vec<_>>(), "slots and processes");
        let mut lost = self.lost;
        let mut memory = 0;
        for info in &listed {
            let process = &self.processes[&info.id];
            assert_eq!(info.exit, process.exit);
            let spilled = matches!(process.spawn.keeping(), Some(Keeping::Spill { .. }));
            let condemned = info.lifetime == Lifetime::Leased && !self.lease.1;
            assert!(
                !condemned || process.exit.is_none() || process.orphans,
                "without a lease, a leased process is forgotten with the last of its tree"
            );
            for stream in Stream::ALL {
                let (state, model) = (info.streams[stream.index()], &process.streams[stream.index()]);
                check_stream(info.id, stream, &state, model);
                lost += state.lost + (model.words.head - state.head);
                memory += if spilled { 0 } else { state.head - state.low + (state.records - state.first_record) * 32 };
            }
        }
        let floors = listed.len() as u64 * 2 * RING_FLOOR;
        assert!(memory <= self.ring_memory.saturating_add(floors), "{memory} bytes of memory are taken");
        assert_eq!(self.status.take().unwrap().lost_bytes, lost, "every loss is counted once");
        assert!(lost >= self.dropped, "a loss is forgotten");
        self.dropped = lost;
        self.most_dropped = self.most_dropped.max(lost);
        self.check_kept();
    }
}

fn check_stream(id: ProcessId, stream: Stream, state: &StreamState, model: &ModelStream) {
    assert_eq!(state.head, model.readable());
    assert_eq!(model.words.head + model.pipe.len() as u64, model.written, "a byte has an offset or is in the pipe");
    let counted = state.lost + (model.words.head - state.head);
    assert!(model.dropped_below(u64::MAX) <= counted, "what was dropped as it came is counted");
    assert_eq!(state.low, model.words.acked + state.lost);
    assert!(state.low >= model.settled, "what was acknowledged comes again");
    assert!(state.low <= state.head && state.head - state.low <= CAPACITY);
    assert!(model.header_low <= state.low, "what readers may miss is counted");
    assert!(state.lost >= model.words.lost);
    for offset in state.low..state.head {
        assert_eq!(model.data[(offset % CAPACITY) as usize], pattern(id, stream, offset));
    }
    assert!(state.records - state.first_record <= PLACES);
    let kept: Vec<Record> = (state.first_record..state.records.min(model.words.records))
        .map(|n| model.records[(n % PLACES) as usize])
        .collect();
    if let Some(first) = kept.first().filter(|_| state.low < state.head) {
        assert!(first.offset <= state.low, "the first byte has its record");
    }
    assert!(kept.windows(2).all(|pair| pair[0].offset < pair[1].offset && pair[0].seq < pair[1].seq), "{kept:?}");
}
