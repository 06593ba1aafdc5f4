//! What a document says, in the words of the model, and what else stands in it.

use crate::component::{Component, Inventory, Node};
use crate::json::Object;

/// A document that was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// What it lists, and what it is about, which is one of the components here.
    pub(crate) inventory: Inventory,
    /// Which of the components it is about.
    pub(crate) root: Option<usize>,
    /// By component, what the document calls it; may be empty.
    pub(crate) references: Vec<String>,
    /// By component, all that the document says of it but its name and its parts; in the
    /// document's own format.
    pub(crate) fields: Vec<Object>,
}

impl Reading {
    /// Adds a component with what the document calls it and says of it.
    pub(crate) fn add(&mut self, component: Component, reference: &str, fields: Object) -> Node {
        self.references.push(reference.to_owned());
        self.fields.push(fields);
        self.inventory.add(component)
    }

    /// The component of that name.
    pub(crate) fn names(&self) -> std::collections::BTreeMap<&str, Node> {
        let mut names = std::collections::BTreeMap::new();
        for (index, name) in self.references.iter().enumerate() {
            if !name.is_empty() {
                names.entry(name.as_str()).or_insert(Node::Component(index));
            }
        }
        names
    }
}
