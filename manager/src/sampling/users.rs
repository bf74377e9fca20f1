//! User names by uid, remembered: the lookup may ask a directory server and every sample needs one.

use std::collections::HashMap;

use nix::unistd::{Uid, User};

/// Names remembered before we start over. A host runs services under far fewer users.
const NAMES_LIMIT: usize = 1024;

/// A cache of user names. A renamed user keeps the old name here until circusd restarts.
#[derive(Debug, Default)]
pub(super) struct Users {
    names: HashMap<u32, String>,
}

impl Users {
    /// The name, or the number as text for a uid without one (as psutil has it). Failed lookups are
    /// remembered too: a directory server that is down must not slow down every sample.
    pub(super) fn name(&mut self, uid: u32) -> String {
        if let Some(name) = self.names.get(&uid) {
            return name.clone();
        }
        let name = match User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => user.name,
            Ok(None) | Err(_) => uid.to_string(),
        };
        if self.names.len() >= NAMES_LIMIT {
            self.names.clear();
        }
        self.names.insert(uid, name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_the_limit() {
        let mut users = Users::default();
        assert_eq!(users.name(0), "root");
        assert_eq!(users.name(4_000_000_000), "4000000000");
        assert_eq!(users.names.len(), 2);
        for uid in 0..2 * u32::try_from(NAMES_LIMIT).unwrap() {
            users.names.insert(uid, String::new());
        }
        users.name(4_000_000_001);
        assert_eq!(users.names.len(), 1);
    }
}
