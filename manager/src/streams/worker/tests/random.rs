//! Random stories: any pieces, notices in any order, waits and restarts. A failure prints its steps and its seed.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Write {
        stderr: bool,
        length: usize,
    },
    Notify {
        stderr: bool,
    },
    Wait,
    Restart,
    /// Without the acknowledgements under way.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), 1usize..300).prop_map(|(stderr, length)| Step::Write { stderr, length }),
        6 => any::<bool>().prop_map(|stderr| Step::Notify { stderr }),
        1 => Just(Step::Wait),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
    ]
}

/// Numbered lines of one stream, to be written in arbitrary pieces.
fn endless(mark: char) -> impl Iterator<Item = u8> {
    (0u64..).flat_map(move |number| {
        let width = usize::try_from(number * 7 % 40).unwrap();
        format!("{mark}{number} {:x<width$}\n", "").into_bytes()
    })
}

/// Runs steps and gives the text of all files, and what each stream wrote.
fn story(steps: &[Step], more: &[(&str, &str)], both: bool) -> (String, [Vec<u8>; 2]) {
    let mut rig = Rig::new();
    let mut process = FakeProcess::new(1);
    let mut sources = [Box::new(endless('o')) as Box<dyn Iterator<Item = u8>>, Box::new(endless('e'))];
    let mut written = [Vec::new(), Vec::new()];
    rig.one_file("log", more);
    rig.orders([process.attach()]);
    for step in steps {
        let stream = |stderr: bool| if stderr && both { Stderr } else { Stdout };
        match step {
            Step::Write { stderr, length } => {
                let stream = stream(*stderr);
                let length = (*length).min(process.room(stream) as usize);
                let bytes: Vec<u8> = sources[stream.index()].by_ref().take(length).collect();
                if !bytes.is_empty() {
                    process.write(stream, 5, &bytes);
                    written[stream.index()].extend(bytes);
                }
            }
            Step::Notify { stderr } => rig.orders([process.advance(stream(*stderr))]),
            Step::Wait => rig.pass(HOLD),
            Step::Restart => {
                rig.restart(&mut process);
                rig.one_file("log", more);
                rig.orders([process.attach()]);
            }
            Step::Kill => {
                rig.kill();
                rig.one_file("log", more);
                rig.orders([process.attach()]);
            }
        }
        rig.settle(&mut process);
    }
    rig.orders([process.ended()]);
    let others = rig.settle(&mut process);
    assert!(matches!(others[..], [ScribeReport::Drained { .. }]), "{others:?}");
    (concatenated(&rig, "log", false), written)
}

proptest! {
    /// One stream, raw: the files are what the child wrote, byte for byte.
    #[test]
    fn raw_output_of_one_stream_is_identical(steps in prop::collection::vec(step(), 1..60), rotate: bool) {
        let rotation = [("max_bytes", "500"), ("backup_count", "1000")];
        let (text, [written, _]) = story(&steps, if rotate { &rotation } else { &[] }, false);
        prop_assert_eq!(text.into_bytes(), written);
    }

    /// One stream, prefixed: each line once, in order, with one prefix.
    #[test]
    fn prefixed_output_of_one_stream_is_the_reference(steps in prop::collection::vec(step(), 1..60)) {
        let (text, [written, _]) = story(&steps, &[("time_format", "%S")], false);
        let written = String::from_utf8(written).unwrap();
        let expected: String = written.split_inclusive('\n').map(|line| format!("05 [42] | {line}")).collect();
        prop_assert_eq!(text, expected);
    }

    /// Two streams in one file: taken apart again, each is what was written, but for newlines where a line was broken.
    #[test]
    fn two_streams_in_one_file_lose_and_repeat_nothing(steps in prop::collection::vec(step(), 1..60)) {
        // Without waiting no unfinished line is written, so none is ever broken.
        let steps: Vec<Step> = steps.into_iter().filter(|step| !matches!(step, Step::Wait)).collect();
        let (text, written) = story(&steps, &[], true);
        let complete = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        for (mark, written) in ['o', 'e'].into_iter().zip(written) {
            let lines: Vec<String> = text.lines().filter(|line| line.starts_with(mark)).map(str::to_owned).collect();
            prop_assert_eq!(lines, complete(&written));
        }
    }
}
