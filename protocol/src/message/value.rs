//! Named values that outlive a manager.

use super::Ext;
use serde::{Deserialize, Serialize};

/// Stores a value under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetValue {
    /// Name.
    pub name: String,
    /// At most [`crate::limits::MAX_VALUE`] bytes.
    pub value: Vec<u8>,
    /// Later additions.
    pub ext: Ext,
}

/// Asks for a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetValue {
    /// Name.
    pub name: String,
    /// Later additions.
    pub ext: Ext,
}

/// The answer to [`GetValue`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// `None`: there is none of that name.
    pub value: Option<Vec<u8>>,
    /// Later additions.
    pub ext: Ext,
}

/// Asks for names in order, a page at a time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListValues {
    /// Those that sort after this one; empty for the first page.
    pub after: String,
    /// Beginning of the names.
    pub prefix: String,
    /// Later additions.
    pub ext: Ext,
}

/// The answer to [`ListValues`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueNames {
    /// At most [`crate::limits::MAX_PAGE`].
    pub names: Vec<String>,
    /// Whether to ask again.
    pub more: bool,
    /// Later additions.
    pub ext: Ext,
}

/// Forgets a value; one that is not there is not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveValue {
    /// Name.
    pub name: String,
    /// Later additions.
    pub ext: Ext,
}
