//! The trial of a new circusd: the program on disk, with the arguments of this one and `--trial`, does everything that a
//! start does up to the point where it would take the lease. It is the same recovery that every start is, only without
//! consequences.

use super::attach::{self, BUILD};
use super::journal::Journal;
use super::{Plan, StartError};
use crate::arbiter::restore;
use crate::endpoints::address::Endpoint;
use crate::kernel_link::{CoreAddress, establish};
use crate::program::{self, Program};
use ringmaster_protocol::message::Role;
use std::process::Command;
use std::time::Duration;

/// The hidden argument.
pub const TRIAL: &str = "--trial";

/// What the trial prints before its version when all is well.
const FIT: &str = "fit:";

/// How long a trial may take: it reads some files and asks the core some questions.
const LONGEST_TRIAL: Duration = Duration::from_secs(20);

/// Has the program try itself out; gives its version, or why it is unfit. Blocks.
pub fn try_out(program: &Program) -> Result<String, String> {
    let path = program.path.display();
    let run = program::run(Command::new(&program.path).args(&program.arguments).arg(TRIAL), LONGEST_TRIAL)
        .map_err(|error| format!("{path} cannot be run: {error}"))?;
    match run.status {
        None => Err(format!("{path} has not finished its trial within {} s", LONGEST_TRIAL.as_secs())),
        Some(status) if !status.success() => Err(format!("{path} failed its trial ({status}): {}", run.words)),
        Some(_) => {
            let version = run.words.split_once(FIT).map(|(_, version)| version.trim().to_owned());
            version.ok_or_else(|| format!("{path} is no circusd that can be upgraded to; it said: {}", run.words))
        }
    }
}

/// The trial itself, in the new program. Gives what it has to print.
pub async fn trial(plan: Plan) -> Result<String, StartError> {
    let circus = &plan.config.circus;
    for (option, value) in [("endpoint", &circus.endpoint), ("pubsub_endpoint", &circus.pubsub_endpoint)] {
        let bad = |source| StartError::BadEndpoint { option, value: value.clone(), source };
        Endpoint::parse(value).and_then(|endpoint| endpoint.resolve()).map_err(bad)?;
    }
    let address = CoreAddress::new(
        circus.instance.as_deref(),
        &circus.endpoint,
        circus.papa_endpoint.as_deref(),
        circus.papa_path.as_deref(),
    )?;
    let socket = address.socket();
    let stream = tokio::net::UnixStream::connect(&socket)
        .await
        .map_err(|source| crate::kernel_link::ReachError::Connect { socket, source })?;
    let (link, ..) = establish(stream, BUILD.to_owned(), Role::Tool).await.map_err(StartError::Link)?;
    let status = link.status().await?;
    let noted = attach::noted(&link).await?;
    let processes = link.list_all(attach::PROCESS_PREFIX).await?;
    let (_, chronicle) = Journal::open(&address.directory());
    let known = processes.iter().filter(|info| chronicle.told(info.id) != crate::arbiter::Told::Nothing).count();
    tracing::debug!("core {}: {} processes, {known} of them announced", status.version, processes.len());
    let world = super::world(plan.working_dir, circus, plan.heritage, plan.environment);
    drop(restore(plan.config.watchers_to_run(), &noted.changes, &world));
    Ok(format!("{FIT} {}", env!("CARGO_PKG_VERSION")))
}
