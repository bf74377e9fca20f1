//! What is done to the core, and when: drawn from the seed before anything begins, kept as text, read back for a replay.

use anyhow::{Context, Result, bail};
use ringmaster_tests::dice::Dice;
use std::fmt;

/// Between two steps at most, in milliseconds: often less than a recovery takes, so that some steps meet one.
const LONGEST_PAUSE: u64 = 120;

/// One half of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// The one that serves.
    Kernel,
    /// The one that owns the children.
    Keeper,
}

/// Programs that cannot take over, each in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    Missing,
    NotExecutable,
    Aborts,
    RefusesTheState,
    WrongArchitecture,
    Damaged,
    SaysNothing,
    /// Says the right words and is no program that can be executed in place.
    Script,
    /// Says the right words, then dies when it is to take over.
    DiesAtTakeOver,
    /// The same, but ends as if all were well.
    EndsAtTakeOver,
    /// Never comes to an end in the dry run.
    HangsInDryRun,
    /// Says the right words, then does nothing when it is to take over.
    HangsAtTakeOver,
}

impl Broken {
    /// All of them. The last two cost five seconds each.
    pub const ALL: [Self; 12] = [
        Self::Missing,
        Self::NotExecutable,
        Self::Aborts,
        Self::RefusesTheState,
        Self::WrongArchitecture,
        Self::Damaged,
        Self::SaysNothing,
        Self::Script,
        Self::DiesAtTakeOver,
        Self::EndsAtTakeOver,
        Self::HangsInDryRun,
        Self::HangsAtTakeOver,
    ];

    /// Of so many that cost time, one is drawn for each of the others.
    const SLOW_ONES_IN: u64 = 12;

    fn draw(dice: &mut Dice) -> Self {
        let slow = dice.below(Self::SLOW_ONES_IN) == 0;
        let at = if slow { 10 + dice.below(2) } else { dice.below(10) };
        Self::ALL[usize::try_from(at).unwrap()]
    }
}

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL.
    Kill(Half),
    /// SIGKILL to the kernel half, and so many microseconds after the next one was made, SIGKILL to a half again.
    KillTwice(Half, u64),
    /// SIGKILL to both, then a start from outside. The half that is killed first.
    KillBoth(Half),
    /// To a copy of the program.
    Upgrade,
    /// The same, and SIGKILL to a half so many microseconds after it was asked for.
    UpgradeAndKill(Half, u64),
    Rollback,
    BrokenUpgrade(Broken),
    /// SIGSTOP to the kernel half, until the keeper does something about it.
    Stop,
    /// SIGSTOP to the keeper, until the kernel half does something about it.
    StopKeeper,
}

/// An action and the pause before it, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub pause: u64,
    pub action: Action,
}

/// How much of each.
#[derive(Debug, Clone, Copy)]
pub struct Dose {
    pub kernel: usize,
    pub keeper: usize,
    pub twice: usize,
    pub both: usize,
    pub upgrades: usize,
    pub upgrades_killed: usize,
    pub rollbacks: usize,
    pub broken: usize,
    pub stops: usize,
    pub stops_of_keeper: usize,
}

impl Dose {
    /// For every commit.
    pub const SHORT: Self = Self {
        kernel: 20,
        keeper: 20,
        twice: 6,
        both: 4,
        upgrades: 6,
        upgrades_killed: 6,
        rollbacks: 2,
        broken: 11,
        stops: 1,
        stops_of_keeper: 1,
    };

    /// What must hold. Kills of a half are `kernel + keeper + 2 * twice` and those in the middle of an upgrade.
    pub const LONG: Self = Self {
        kernel: 900,
        keeper: 950,
        twice: 100,
        both: 200,
        upgrades: 250,
        upgrades_killed: 100,
        rollbacks: 50,
        broken: 300,
        stops: 10,
        stops_of_keeper: 10,
    };

    /// So many hundredths of it, of each at least one.
    pub fn part(self, hundredths: usize) -> Self {
        let part = |all: usize| (all * hundredths / 100).max(1);
        Self {
            kernel: part(self.kernel),
            keeper: part(self.keeper),
            twice: part(self.twice),
            both: part(self.both),
            upgrades: part(self.upgrades),
            upgrades_killed: part(self.upgrades_killed),
            rollbacks: part(self.rollbacks),
            broken: part(self.broken),
            stops: part(self.stops),
            stops_of_keeper: part(self.stops_of_keeper),
        }
    }

    /// All steps in an order that the dice give.
    pub fn draw(self, dice: &mut Dice) -> Vec<Step> {
        let mut actions = Vec::new();
        let mut add = |count: usize, draw: &mut dyn FnMut() -> Action| {
            for _ in 0..count {
                actions.push(draw());
            }
        };
        add(self.kernel, &mut || Action::Kill(Half::Kernel));
        add(self.keeper, &mut || Action::Kill(Half::Keeper));
        add(self.twice, &mut || Action::KillTwice(half(dice), dice.below(30_000)));
        add(self.both, &mut || Action::KillBoth(half(dice)));
        add(self.upgrades, &mut || Action::Upgrade);
        add(self.upgrades_killed, &mut || Action::UpgradeAndKill(half(dice), dice.below(40_000)));
        add(self.rollbacks, &mut || Action::Rollback);
        // Each kind once, before chance has its way.
        let mut kinds = Broken::ALL.into_iter();
        add(self.broken, &mut || Action::BrokenUpgrade(kinds.next().unwrap_or_else(|| Broken::draw(dice))));
        add(self.stops, &mut || Action::Stop);
        add(self.stops_of_keeper, &mut || Action::StopKeeper);
        for last in (1..actions.len()).rev() {
            let other = usize::try_from(dice.below(u64::try_from(last).unwrap() + 1)).unwrap();
            actions.swap(last, other);
        }
        actions.into_iter().map(|action| Step { pause: dice.below(LONGEST_PAUSE), action }).collect()
    }
}

fn half(dice: &mut Dice) -> Half {
    if dice.below(2) == 0 { Half::Kernel } else { Half::Keeper }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pause = self.pause;
        match self.action {
            Action::Kill(half) => write!(f, "{pause} kill {half:?}"),
            Action::KillTwice(half, after) => write!(f, "{pause} kill-twice {half:?} {after}"),
            Action::KillBoth(first) => write!(f, "{pause} kill-both {first:?}"),
            Action::Upgrade => write!(f, "{pause} upgrade"),
            Action::UpgradeAndKill(half, after) => write!(f, "{pause} upgrade-and-kill {half:?} {after}"),
            Action::Rollback => write!(f, "{pause} rollback"),
            Action::BrokenUpgrade(kind) => write!(f, "{pause} broken {kind:?}"),
            Action::Stop => write!(f, "{pause} stop"),
            Action::StopKeeper => write!(f, "{pause} stop-keeper"),
        }
    }
}

impl Step {
    /// The reverse of its `Display`.
    pub fn read(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let half = |word: &str| match word {
            "Kernel" => Ok(Half::Kernel),
            "Keeper" => Ok(Half::Keeper),
            other => bail!("no half of the core: {other}"),
        };
        let kind = |word: &str| {
            Broken::ALL.into_iter().find(|kind| format!("{kind:?}") == word).with_context(|| format!("no kind: {word}"))
        };
        let action = match &words[1..] {
            ["kill", which] => Action::Kill(half(which)?),
            ["kill-twice", which, after] => Action::KillTwice(half(which)?, after.parse()?),
            ["kill-both", first] => Action::KillBoth(half(first)?),
            ["upgrade"] => Action::Upgrade,
            ["upgrade-and-kill", which, after] => Action::UpgradeAndKill(half(which)?, after.parse()?),
            ["rollback"] => Action::Rollback,
            ["broken", which] => Action::BrokenUpgrade(kind(which)?),
            ["stop"] => Action::Stop,
            ["stop-keeper"] => Action::StopKeeper,
            other => bail!("no action: {other:?}"),
        };
        Ok(Self { pause: words[0].parse()?, action })
    }
}

/// The steps of a journal: one a line; what follows `#` is what came of it.
pub fn read_journal(text: &str) -> Result<Vec<Step>> {
    let steps = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    steps.filter(|line| !line.is_empty()).map(Step::read).collect()
}

#[test]
fn a_plan_is_read_back_as_it_was_written_and_the_seed_gives_it_again() {
    let steps = Dose::SHORT.draw(&mut Dice::with_seed(7));
    let text: String = steps.iter().map(|step| format!("{step} # whatever\n")).collect();
    assert_eq!(read_journal(&text).unwrap(), steps);
    assert_eq!(Dose::SHORT.draw(&mut Dice::with_seed(7)), steps);
    assert_ne!(Dose::SHORT.draw(&mut Dice::with_seed(8)), steps);
}
