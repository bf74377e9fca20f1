//! `ipython`: Circus would start a Python shell inside itself, and cannot on any current Python; neither can this one.

use super::{Answer, Command, Context, Properties, Refusal};
use serde_json::Map;

pub(super) const COMMAND: Command =
    Command { name: "ipython", required: &[], summary: "Start an IPython shell inside circusd; there is none.", run };

fn run(_: &mut Context<'_>, _: &Properties<'_>) -> Result<Answer, Refusal> {
    Ok(Answer::Now(Map::from_iter([
        ("shell".to_owned(), false.into()),
        ("msg".to_owned(), "No module named 'IPython'".into()),
    ])))
}
