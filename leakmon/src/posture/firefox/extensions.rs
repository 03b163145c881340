//! Extensions that may choose a proxy for every request, which no file shows.

use serde_json::Value;

use crate::posture::{Fault, View};

/// The kind of place.
pub const SOURCE: &str = "extension";

/// Names of those that are at work in a profile and have the permission `proxy`, by its extensions.json
/// (toolkit/mozapps/extensions/internal/XPIDatabase.sys.mjs). What comes with the program itself is left out.
///
/// # Errors
/// When the file cannot be read.
pub fn with_proxies(path: &str, view: &View) -> Result<Vec<String>, Fault> {
    let Some(bytes) = view.bytes(path)? else {
        return Ok(Vec::new());
    };
    // Firefox makes a file anew that is none.
    let file: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let addons = file.get("addons").and_then(Value::as_array);
    Ok(addons
        .into_iter()
        .flatten()
        .filter(|addon| is_at_work(addon) && may_choose(addon))
        .map(|addon| {
            let name = addon.pointer("/defaultLocale/name").or(addon.get("id"));
            name.and_then(Value::as_str).unwrap_or("?").to_owned()
        })
        .collect())
}

fn is_at_work(addon: &Value) -> bool {
    let location = addon.get("location").and_then(Value::as_str);
    let is_built_in = location.is_some_and(|location| {
        location.starts_with("app-builtin")
            || ["app-system-defaults", "app-system-addons"].contains(&location)
    });
    addon.get("active") == Some(&Value::Bool(true)) && !is_built_in
}

fn may_choose(addon: &Value) -> bool {
    addon
        .pointer("/userPermissions/permissions")
        .and_then(Value::as_array)
        .is_some_and(|permissions| permissions.iter().any(|permission| permission == "proxy"))
}
