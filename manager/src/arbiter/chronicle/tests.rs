//! What a chronicle tells, remembers and forgets, over the lives of several circusd.

use super::*;
use crate::arbiter::Asker;
use serde_json::json;

fn at(milliseconds: u64) -> Now {
    Now { mono: Duration::from_millis(milliseconds), wall: 1000.0 }
}

fn event(name: &str, about: About) -> Effect {
    Effect::Publish { topic: format!("watcher.{name}"), payload: b"{\"time\": 7.5}".to_vec(), about }
}

/// What is published, and the journal after it.
fn carry(journal: &mut Vec<u8>, effects: Vec<Effect>) -> Vec<String> {
    let mut topics = Vec::new();
    for effect in effects {
        if let Effect::Journal(JournalWrite::Append(lines)) = effect {
            journal.extend(lines);
        } else if let Effect::Journal(JournalWrite::Anew(lines)) = effect {
            *journal = lines;
        } else if let Effect::Publish { topic, .. } = effect {
            topics.push(topic);
        }
    }
    topics
}

fn asked(since: Since, topics: &[&str]) -> Asked {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    Asked { asker: Asker::nobody(), since, topics, until: Duration::ZERO }
}

fn seqs(chronicle: &Chronicle, since: Since) -> Vec<u64> {
    let (answer, _) = chronicle.answer(&asked(since, &[]));
    answer["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

#[test]
fn a_first_start_holds_nothing_back() {
    let (mut chronicle, mut journal) = (Chronicle::load(b""), Vec::new());
    chronicle.begin(at(0));
    let (effects, new) = chronicle.enter(at(0), vec![event("a.spawn", About::Spawned(ProcessId(1)))]);
    assert!(new);
    assert_eq!(carry(&mut journal, effects), ["watcher.a.spawn"]);
    assert_eq!(chronicle.deadline(), None);
}

#[test]
fn the_next_one_knows_what_was_told_and_holds_its_events_back_once() {
    let (mut first, mut journal) = (Chronicle::load(b""), Vec::new());
    let events = vec![
        event("a.spawn", About::Spawned(ProcessId(1))),
        event("a.reap", About::Reaped(ProcessId(2))),
        event("a.start", About::Watcher("a".into(), Standing::Active)),
        event("b.stop", About::Watcher("b".into(), Standing::Stopped)),
    ];
    carry(&mut journal, first.enter(at(0), events).0);

    // A torn line at the end, as a kill in the middle of a write leaves it.
    let torn = [journal.as_slice(), b"{\"seq\":5,\"topic\":\"wat"].concat();
    let mut second = Chronicle::load(&torn);
    assert_eq!((second.told(ProcessId(1)), second.told(ProcessId(2))), (Told::Spawn, Told::Reap));
    assert_eq!(second.told(ProcessId(3)), Told::Nothing);
    assert_eq!((second.standing("a"), second.standing("b")), (Some(Standing::Active), Some(Standing::Stopped)));
    second.begin(at(100));
    let mut journal = torn;
    let held = second.enter(at(100), vec![event("a.reap", About::Reaped(ProcessId(1)))]).0;
    assert!(carry(&mut journal, held).is_empty());

    // Killed again before it was published: the third one publishes it, with its number, before its own.
    let mut third = Chronicle::load(&journal);
    third.begin(at(200));
    let own = third.enter(at(200), vec![event("a.spawn", About::Nothing)]).0;
    assert!(carry(&mut journal, own).is_empty());
    let due = third.deadline().unwrap();
    let (released, new) = third.enter(Now { mono: due, wall: 1000.0 }, Vec::new());
    assert!(!new);
    assert_eq!(carry(&mut journal, released), ["watcher.a.reap", "watcher.a.spawn"]);
    assert_eq!(seqs(&third, Since::Seq(0)), [1, 2, 3, 4, 5, 6]);

    // What is published stays published.
    let fourth = Chronicle::load(&journal);
    assert!(fourth.hold.is_some_and(|hold| hold.events.is_empty()));
}

#[test]
fn memory_and_journal_stay_bounded_and_nothing_that_was_told_is_forgotten() {
    let (mut chronicle, mut journal) = (Chronicle::load(b""), Vec::new());
    let mut largest = 0;
    for number in 0..40_000 {
        let about = if number % 2 == 0 { About::Spawned(ProcessId(number)) } else { About::Nothing };
        let mut effects = vec![event("long.name.of.a.watcher.spawn", about)];
        if number >= 100 && number % 2 == 0 {
            effects.push(Effect::Forget(ProcessId(number - 100)));
        }
        carry(&mut journal, chronicle.enter(at(0), effects).0);
        largest = largest.max(journal.len());
    }
    assert!(chronicle.recent.len() <= MAX_RECENT && chronicle.recent_bytes <= MAX_RECENT_BYTES);
    assert!(largest < 2 << 20, "{largest}");
    let next = Chronicle::load(&journal);
    assert_eq!(next.last, 40_000);
    assert_eq!(next.told(ProcessId(39_998)), Told::Spawn);
    assert_eq!(next.told(ProcessId(39_900)), Told::Spawn);
}

#[test]
fn questions_are_answered_from_a_number_or_a_time_on() {
    let mut chronicle = Chronicle::load(b"");
    let late =
        Effect::Publish { topic: "watcher.b.stop".into(), payload: b"{\"time\": 9}".to_vec(), about: About::Nothing };
    drop(chronicle.enter(at(0), vec![event("a.start", About::Nothing), late]));
    assert_eq!(seqs(&chronicle, Since::Seq(1)), [2]);
    assert_eq!(seqs(&chronicle, Since::Time(8.0)), [2]);
    assert_eq!(seqs(&chronicle, Since::Time(7.5)), [1, 2]);
    let (answer, any) = chronicle.answer(&asked(Since::Seq(0), &["watcher.b."]));
    assert!(any);
    assert_eq!(answer["events"], json!([{"seq": 2, "topic": "watcher.b.stop", "event": {"time": 9}}]));
    assert_eq!(
        (answer["last"].clone(), answer["seen"].clone(), answer["missed"].clone()),
        (json!(2), json!(2), json!(0))
    );
    assert!(!chronicle.answer(&asked(Since::Seq(2), &[])).1);
}

#[test]
fn what_is_not_kept_any_more_is_counted() {
    let mut chronicle = Chronicle::load(b"");
    for _ in 0..MAX_RECENT + 10 {
        drop(chronicle.enter(at(0), vec![event("a.kill", About::Nothing)]));
    }
    assert_eq!(chronicle.answer(&asked(Since::Seq(0), &[])).0["missed"], 10);
    assert_eq!(chronicle.answer(&asked(Since::Seq(0), &[])).0["seen"], 510);
}
