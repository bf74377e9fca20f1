//! `globaloptions`: the options of `[circus]` that Circus tells (spec c.7).

use super::{Answer, Command, Context, Properties, Refusal};
use crate::options::python;
use serde_json::{Map, Value};

pub(super) const COMMAND: Command =
    Command { name: "globaloptions", required: &[], summary: "Get the arbiter options.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let all = crate::options::global_options(&context.arbiter.options);
    let Some(option) = properties.get("option") else {
        return Ok(Answer::one("options", all));
    };
    let name = option.as_str().unwrap_or_default().to_owned();
    let value: Value = all.get(&name).cloned().ok_or_else(|| Refusal::NoGlobalOption(python::repr(option)))?;
    Ok(Answer::one("options", Map::from_iter([(name, value)])))
}
