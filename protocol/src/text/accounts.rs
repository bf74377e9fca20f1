//! Users, groups and host names from the files of passwd(5), group(5) and hosts(5).
//!
//! Nothing else is asked: a directory service or a name server that does not answer would stop the core, and with it the
//! output of every child.

use super::TextError;
use std::net::IpAddr;

/// The texts of the three files.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// `/etc/passwd`.
    pub users: String,
    /// `/etc/group`.
    pub groups: String,
    /// `/etc/hosts`.
    pub hosts: String,
    /// Our own user, whose groups a child gets that asks for a group only.
    pub own_uid: u32,
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    /// Number.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
}

fn user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some(User { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
}

/// Name, number and members of one group.
fn group(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
    Some((name, gid.parse().ok()?, fields.next().unwrap_or_default()))
}

impl Tables {
    /// A user by number or name.
    pub fn user(&self, word: &str) -> Result<User, TextError> {
        let mut users = self.users.lines().filter_map(user);
        match word.parse::<u32>() {
            Ok(uid) => users.find(|user| user.uid == uid).ok_or(TextError::UserId(word.into())),
            Err(_) => users.find(|user| user.name == word).ok_or(TextError::UserName(word.into())),
        }
    }

    /// A group by number or name.
    pub fn group(&self, word: &str) -> Result<u32, TextError> {
        let mut groups = self.groups.lines().filter_map(group);
        let number = word.parse::<u32>().ok();
        let found = groups.find(|(name, gid, _)| number.map_or(*name == word, |number| *gid == number));
        found.map(|(_, gid, _)| gid).ok_or(TextError::Group(word.into()))
    }

    /// The groups that initgroups(3) gives a user: all that name it, and `gid`.
    pub fn groups_of(&self, uid: u32, gid: u32) -> Vec<u32> {
        let name = self.users.lines().filter_map(user).find(|user| user.uid == uid);
        let name = name.map(|user| user.name).unwrap_or_default();
        let named = self.groups.lines().filter_map(group);
        let named = named.filter(|(_, _, members)| members.split(',').any(|member| member == name));
        let mut groups: Vec<u32> = std::iter::once(gid).chain(named.map(|(_, gid, _)| gid)).collect();
        groups.dedup();
        groups
    }

    /// Addresses of a host: the address itself, or what the table of hosts has.
    pub fn addresses(&self, host: &str) -> Vec<IpAddr> {
        if let Ok(address) = host.parse() {
            return vec![address];
        }
        let lines = self.hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
        let matching = lines.filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
        });
        let mut found: Vec<IpAddr> = matching.collect();
        if found.is_empty() && host.eq_ignore_ascii_case("localhost") {
            found.push(IpAddr::from([127, 0, 0, 1]));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Tables {
        Tables {
            users: "root:x:0:0::/root:/bin/sh\nbroken\nweb:x:33:34::/:/bin/false\n".into(),
            groups: "root:x:0:\nwww:x:34:\nlog:x:35:other,web\n".into(),
            hosts: "127.0.0.1 localhost me # web2\n10.0.0.7 Web\n::1 me\n".into(),
            own_uid: 0,
        }
    }

    #[test]
    fn users_and_groups_by_name_and_number() {
        let tables = tables();
        assert_eq!(tables.user("web").unwrap(), tables.user("33").unwrap());
        assert_eq!(tables.user("34"), Err(TextError::UserId("34".into())));
        assert_eq!(tables.user("x"), Err(TextError::UserName("x".into())));
        assert_eq!((tables.group("log"), tables.group("34")), (Ok(35), Ok(34)));
        assert_eq!(tables.group("9"), Err(TextError::Group("9".into())));
        assert_eq!(tables.groups_of(33, 34), [34, 35]);
    }

    #[test]
    fn hosts_come_from_their_table_only() {
        let tables = tables();
        let found = |host| tables.addresses(host).len();
        assert_eq!((found("::1"), found("web"), found("me"), found("web2")), (1, 1, 2, 0));
        assert_eq!(Tables::default().addresses("localhost"), [IpAddr::from([127, 0, 0, 1])]);
    }
}
