//! The pure core: any requests of any clients, deaths, output, deadlines, remains of a former core (`kernel/src/core`).

use super::bytes::Bytes;
use super::world::{World, spawn};
use ringmaster_kernel::core::{ClientId, Input, ReplyTo};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::Stream;

/// Bytes decide act by act what happens next. Every request has one answer, every process one end, every ring its bounds.
pub fn core(input: &[u8]) {
    let mut bytes = Bytes::new(input);
    let mut world = World::new(&mut bytes);
    world.connect(&mut bytes);
    while !bytes.is_empty() && !world.exited {
        act(&mut world, &mut bytes);
        world.check();
    }
}

fn act(world: &mut World, bytes: &mut Bytes<'_>) {
    let choice = bytes.u8();
    let client = client(world, bytes);
    let process = process(world, bytes);
    match choice % 16 {
        0 => drop(world.connect(bytes)),
        1 => {
            world.clients.retain(|known| *known != client);
            world.drive(Input::Disconnected { client }, bytes);
        }
        2..5 => any_request(world, client, bytes),
        5 => {
            let spawn = spawn(bytes);
            ask(world, client, spawn.into(), bytes);
        }
        6 => {
            let spawn = spawn(bytes);
            // Two processes of one name are never left behind: a name is taken until its process is forgotten.
            if world.core.processes().all(|known| known.name != spawn.name) {
                world.adopt(spawn, bytes);
            }
        }
        7..9 => world.live(process, bytes),
        9 => {
            let ahead = bytes.u64() % 10_000_000_000;
            world.now.boot_ns += ahead;
            world.now.real_ns = world.now.real_ns.wrapping_add(bytes.u64() % 1000);
            world.drive(Input::Tick, bytes);
            assert!(
                world.core.next_deadline().is_none_or(|at| at > world.now.boot_ns),
                "a deadline is left in the past"
            );
        }
        10 => {
            let take = TakeLease { holder: "m".into(), grace_ms: u64::from(bytes.u16()), ext: vec![] };
            ask(world, client, take.into(), bytes);
        }
        11 => ask(world, client, PutLease::default().into(), bytes),
        12 => {
            let to = ReplyTo { client, message: 0, request: Some(9) };
            if world.clients.contains(&client) {
                drop(world.expect_answer(to, Input::Abandon { to, process }, bytes));
            }
        }
        13 => {
            let notices = usize::from(bytes.u8());
            world.drive(Input::Room { client, notices }, bytes);
        }
        14 => {
            let stream = if bytes.one_in(2) { Stream::Stdout } else { Stream::Stderr };
            let offset = bytes.u64();
            ask(world, client, Ack { process, stream, offset }.into(), bytes);
        }
        _ => world.drive(if bytes.one_in(4) { Input::Terminate } else { Input::OrphanEnded }, bytes),
    }
}

/// One that is there, or one that is not.
fn client(world: &World, bytes: &mut Bytes<'_>) -> ClientId {
    let at = usize::from(bytes.u8());
    world.clients.get(at % (world.clients.len() + 1)).copied().unwrap_or(ClientId(u64::MAX))
}

fn process(world: &World, bytes: &mut Bytes<'_>) -> ProcessId {
    let at = usize::from(bytes.u8());
    world.processes.keys().nth(at % (world.processes.len() + 1)).copied().unwrap_or(ProcessId(u64::MAX))
}

/// Whatever the bytes decode to.
fn any_request(world: &mut World, client: ClientId, bytes: &mut Bytes<'_>) {
    let (number, length) = (u16::from(bytes.u8()), usize::from(bytes.u8()));
    if let Ok(request) = Request::decode(number, bytes.take(length)) {
        ask(world, client, request, bytes);
    }
}

/// A request, or now and then a cast; a client that is gone gets no answer.
fn ask(world: &mut World, client: ClientId, request: Request, bytes: &mut Bytes<'_>) {
    if world.clients.contains(&client) && !bytes.one_in(8) {
        drop(world.ask(client, request, bytes));
    } else {
        let to = ReplyTo { client, message: request.number(), request: None };
        world.drive(Input::Request { to, request: Box::new(request) }, bytes);
    }
}
