//! `dstats`: what the operating system says about circusd itself.

use super::{Action, Arity, Ask, Command, stats};
use crate::reply::{Answer, Reply};
use crate::request::Properties;

pub(super) const COMMAND: Command = Command {
    name: "dstats",
    arguments: "",
    summary: "Show memory, CPU and times of circusd",
    details: "The line is that of stats.",
    arity: Arity::new(0, 0).or("Invalid message"),
    options: &[],
    completes: &[],
    action: Action::Ask(Ask { properties: |_| Ok(Properties::new()), answer }),
};

fn answer(reply: &Reply) -> Answer {
    reply.when_ok(|| {
        let mut lines = vec!["Main Process:".to_owned()];
        if let Some(info) = reply.object("info") {
            lines.push(format!("    {}", stats::process_line(info)));
            let children: Vec<String> =
                stats::children(info).map(|child| format!("    {}", stats::process_line(child))).collect();
            if !children.is_empty() {
                lines.push("Children:".to_owned());
                lines.extend(children);
            }
        }
        lines.join("\n")
    })
}
