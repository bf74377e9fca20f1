//! What ours answers for a reason that Papa does not have.

/// Transcript, the line that was sent, what ours answers instead (as a Python string, masked), and why.
pub const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    (
        "04",
        "make socket r",
        "r family=inet type=stream backlog=5 host=127.0.0.1 port=# reuseport=1\n> ",
        "the line tells what the socket is, not what was asked for now",
    ),
    ("04", "list socket 5", "", "file numbers are understood, as help promises (and this one may exist)"),
    ("04", "remove socket 5", "", "the same"),
    ("06", "make socket e foo=1", "Error: Unknown socket option \"foo\"\n> ", "no Python"),
    ("06", "make socket e port=", "Error: invalid literal for int() with base 10: ''\n> ", "an empty value is a value"),
    (
        "06",
        "make socket e interface=lo",
        "e family=inet type=stream backlog=5 host=0.0.0.0 port=# interface=lo fileno=#\n> ",
        "devices work",
    ),
    (
        "06",
        "make socket e port=@PORT@",
        "Error: Socket for e has already been created - e family=inet type=stream backlog=5 host=0.0.0.0 port=# interface=lo fileno=#\n> ",
        "the one before was made",
    ),
    (
        "06",
        "make socket e path=/nonexistent/dir/s",
        "Error: Socket for e has already been created - e family=inet type=stream backlog=5 host=0.0.0.0 port=# interface=lo fileno=#\n> ",
        "the same",
    ),
    (
        "06",
        "make socket e path=@DIR@",
        "Error: Socket for e has already been created - e family=inet type=stream backlog=5 host=0.0.0.0 port=# interface=lo fileno=#\n> ",
        "the same",
    ),
    (
        "06",
        "list sockets",
        "e family=inet type=stream backlog=5 host=0.0.0.0 port=# interface=lo fileno=#\nok family=inet type=stream backlog=5 host=127.0.0.1 port=# fileno=#\n> ",
        "the same",
    ),
    ("08", "make process e nope=1 /bin/true", "Error: Unknown process option \"nope\"\n> ", "no Python"),
    ("08", "make process e output=1m /bin/true", "Error: Unknown process option \"output\"\n> ", "no Python"),
    (
        "08",
        "make process e env.A= /bin/true",
        "e pid=# running=# started=# args=/bin/true\n> ",
        "an empty value is a value",
    ),
    ("08", "list processes", "e pid=# running=# started=# args=/bin/true\n> ", "that process was made"),
    (
        "08",
        "make process e watch=1 /nonexist",
        "Error: Process for e has already been created - e pid=# running=# started=# args=/bin/true\n> ",
        "the same",
    ),
    (
        "12",
        "make process x watch=1 /bin/sleep 1",
        "x pid=# running=# started=# args=/bin/sleep 1\nclosed:x:#:0\n] ",
        "a process that exists is watched",
    ),
    (
        "14",
        "w p o",
        "Watching 1\nout:o:#:250\n000000000000000000000000\n111111111111111111111111\n222222222222222222222222\n333333333333333333333333\n444444444444444444444444\n555555555555555555555555\n666666666666666666666666\n777777777777777777777777\n888888888888888888888888\n999999999999999999999999\n\nclosed:o:#:0\nNothing left to watch\n> ",
        "64 KiB of each stream are kept at least",
    ),
    (
        "14",
        "w p big",
        "Watching 1\nout:big:#:15\nfirst\n@150 NUL@\nclosed:big:#:0\nNothing left to watch\n> ",
        "the same",
    ),
    (
        "16",
        "w p q",
        "Watching 1\nout:q:#:4\n#,#\n\nclosed:q:#:0\nNothing left to watch\n> ",
        "every reference of an argument is replaced",
    ),
    (
        "16",
        "w p i",
        "Watching 1\nout:i:#:71\nPWD=/\numask\n/\ntotal 0\n0 -> /dev/null\n1 -> pipe:[#]\n2 -> pipe:[#]\n# # #\n\nclosed:i:#:0\nNothing left to watch\n> ",
        "a process inherits the sockets that it refers to, here none",
    ),
    (
        "16",
        "make process r2 /bin/sleep 1 $(socket.rp.fileno)",
        "r2 pid=# running=# started=# args=/bin/sleep 1 $(socket.rp.fileno)\n> ",
        "a shared port is shared",
    ),
    (
        "19",
        "w p early",
        "Watching 1\nout:early:#:4\na\nb\n\nclosed:early:#:0\nNothing left to watch\n> ",
        "the end of one stream does not touch the other",
    ),
    ("18", "watch processes y1", "Watching 1\nNothing left to watch\n> ", "a watch on a removed process ends with it"),
];
