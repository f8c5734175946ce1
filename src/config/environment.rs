//! The environment over the file: `COUNTERSIGN_SECTION__KEY=value`.

use super::{document::Table, error::ConfigError};

/// What a variable starts with to be ours.
pub const PREFIX: &str = "COUNTERSIGN_";

/// Variables with our prefix that belong to commands, not to the config.
pub const COMMAND_VARIABLES: [&str; 4] =
    ["COUNTERSIGN_CONFIG", "COUNTERSIGN_ADDR", "COUNTERSIGN_TOKEN", "COUNTERSIGN_VERIFICATION_TOKEN"];

/// The variables of this process that carry our prefix. A value that is not Unicode is kept lossily, and refused later
/// by the check of its key.
#[must_use]
pub fn overrides() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect()
}

/// Sets what the variables say. A variable that could be a typing error is refused.
pub(super) fn apply(root: &mut Table, overrides: &[(String, String)]) -> Result<(), ConfigError> {
    for (variable, value) in overrides {
        if COMMAND_VARIABLES.contains(&variable.as_str()) {
            continue;
        }
        let refused = |why: &str| ConfigError::UnknownVariable { variable: variable.clone(), why: why.to_owned() };
        let name = variable.strip_prefix(PREFIX).ok_or_else(|| refused("does not start with COUNTERSIGN_"))?;
        let (section, key) = name.split_once("__").ok_or_else(|| {
            refused("sets nothing: a setting is overridden by COUNTERSIGN_SECTION__KEY, with two underscores")
        })?;
        if section == "CLIENT" {
            return Err(refused("clients are set in the file only"));
        }
        root.set(&section.to_lowercase(), &key.to_lowercase(), value, variable);
    }
    Ok(())
}
