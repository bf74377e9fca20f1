//! User and group names to numbers, as Circus resolves them (spec a.5, f.14). Looking them up may block.

use crate::options::Identity;
use nix::unistd::{Group, User, getgrouplist};
use std::ffi::CString;

/// Whom a child becomes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Supplementary groups.
    pub groups: Option<Vec<u32>>,
}

/// Why a name means nobody. The texts are Circus's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No such user.
    #[error("'{0}' isn't a valid user name")]
    User(String),
    /// No such user number.
    #[error("{0} isn't a valid user id")]
    Uid(u32),
    /// No such group.
    #[error("'{0}' isn't a valid group name")]
    Group(String),
    /// The system's data base cannot be read.
    #[error("cannot look up {name}: {reason}")]
    Lookup {
        /// What was looked up.
        name: String,
        /// Why not.
        reason: nix::errno::Errno,
    },
}

/// Resolves both. With a user the group defaults to the user's own, and the supplementary groups are the user's.
pub fn resolve(uid: Option<&Identity>, gid: Option<&Identity>) -> Result<Credentials, IdentityError> {
    let user = uid.map(user).transpose()?;
    let gid = match (gid, &user) {
        (Some(gid), _) => Some(group(gid)?),
        (None, Some(user)) => Some(user.gid.as_raw()),
        (None, None) => None,
    };
    let groups = match (&user, gid) {
        (Some(user), Some(gid)) => Some(groups(user, gid)?),
        // A group alone leaves the supplementary ones as they are (spec a.5, uid).
        (None, _) | (_, None) => None,
    };
    Ok(Credentials { uid: user.map(|user| user.uid.as_raw()), gid, groups })
}

fn user(identity: &Identity) -> Result<User, IdentityError> {
    let (found, missing) = match identity {
        Identity::Name(name) => (User::from_name(name), IdentityError::User(name.clone())),
        Identity::Id(id) => (User::from_uid((*id).into()), IdentityError::Uid(*id)),
    };
    let lookup = |reason| IdentityError::Lookup { name: format!("user {identity:?}"), reason };
    found.map_err(lookup)?.ok_or(missing)
}

fn group(identity: &Identity) -> Result<u32, IdentityError> {
    match identity {
        Identity::Id(id) => Ok(*id),
        Identity::Name(name) => {
            let lookup = |reason| IdentityError::Lookup { name: format!("group {name}"), reason };
            let found = Group::from_name(name).map_err(lookup)?;
            found.map(|group| group.gid.as_raw()).ok_or_else(|| IdentityError::Group(name.clone()))
        }
    }
}

fn groups(user: &User, gid: u32) -> Result<Vec<u32>, IdentityError> {
    let lookup = |reason| IdentityError::Lookup { name: format!("the groups of {}", user.name), reason };
    let name = CString::new(user.name.as_str()).or(Err(IdentityError::User(user.name.clone())))?;
    let groups = getgrouplist(&name, gid.into()).map_err(lookup)?;
    Ok(groups.into_iter().map(nix::unistd::Gid::as_raw).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_brings_its_group() {
        let root = resolve(Some(&Identity::Name("root".to_owned())), None).unwrap();
        assert_eq!((root.uid, root.gid), (Some(0), Some(0)));
        assert!(root.groups.unwrap().contains(&0));
        assert_eq!(resolve(None, None).unwrap(), Credentials::default());
    }

    #[test]
    fn nobody_is_told_in_circus_words() {
        let error = resolve(Some(&Identity::Name("nosuchuser".to_owned())), None).unwrap_err();
        assert_eq!(error.to_string(), "'nosuchuser' isn't a valid user name");
    }
}
