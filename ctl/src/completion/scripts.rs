//! The scripts that make bash, zsh and fish ask us (`circusctl --completion SHELL`).
//!
//! They hold no list of their own: each passes the line up to the cursor to the program that is completed, so what it
//! offers is what that program's tables say, in every version.

/// A shell that has a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}

impl Shell {
    /// The global option, without dashes.
    pub const OPTION: &str = "completion";

    /// The names that the option takes.
    pub const NAMES: [&str; 3] = ["bash", "zsh", "fish"];

    /// The shell of a name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "bash" => Some(Self::Bash),
            "zsh" => Some(Self::Zsh),
            "fish" => Some(Self::Fish),
            _ => None,
        }
    }
}

/// The script, for the shell's folder of completions or for `source`.
pub fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("circusctl.bash"),
        Shell::Zsh => include_str!("circusctl.zsh"),
        Shell::Fish => include_str!("circusctl.fish"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_shell() {
        for name in Shell::NAMES {
            let script = script(Shell::named(name).unwrap());
            assert!(script.contains("AUTO_COMPLETE=lines"), "{name}");
        }
        assert_eq!(Shell::named("tcsh"), None);
    }
}
