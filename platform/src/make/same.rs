//! Modules that came twice: from a folder and in a package, say.

use std::collections::BTreeMap;

use oci::DiffId;
use oci::layer::Layer;

use super::MakeError;
use super::builder::fill;
use super::tar::Parents;
use crate::builder::{Module, ModuleName};

/// Of modules of one id and version that hold the same files, lets the first stand for all. Those that
/// hold other files are left as they are.
///
/// What they were had by cannot tell: a folder and a package have digests of different things. The
/// layers can that they would be.
pub(super) fn unify<'a>(
    modules: impl Iterator<Item = &'a mut Module>,
    spooled: &BTreeMap<DiffId, Layer>,
) -> Result<(), MakeError> {
    let mut first: BTreeMap<ModuleName, Module> = BTreeMap::new();
    for module in modules {
        match first.get(&module.name()) {
            None => {
                first.insert(module.name(), module.clone());
            }
            Some(other) if other.is_same(module) => {}
            Some(other) => {
                if diff_id(other, spooled)? == diff_id(module, spooled)? {
                    module.origin.clone_from(&other.origin);
                    module.content.clone_from(&other.content);
                }
            }
        }
    }
    Ok(())
}

fn diff_id(module: &Module, spooled: &BTreeMap<DiffId, Layer>) -> Result<DiffId, MakeError> {
    let hashed = oci::layer::hash(|tar| fill(tar, module, spooled, &mut Parents::new()));
    let hashed = hashed.map_err(|error| MakeError::Layer(Box::new(error)))?;
    Ok(hashed.diff_id)
}
