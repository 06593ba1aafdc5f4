//! The processes of all buildpacks, put together.

use std::collections::BTreeMap;

use crate::files::metadata::Process;

/// The processes of all buildpacks. A later one of the same type counts, and a later default.
#[derive(Debug, Default)]
pub(super) struct Processes {
    by_type: BTreeMap<String, Process>,
    default: String,
}

impl Processes {
    /// Adds those of the next buildpack. Says so if they take away the default.
    pub(super) fn add(&mut self, processes: Vec<Process>) -> Option<String> {
        let mut warning = None;
        for process in processes {
            if process.default {
                self.default.clone_from(&process.r#type);
                warning = None;
            } else if process.r#type == self.default {
                self.default.clear();
                warning = Some(format!(
                    "Warning: redefining the following default process type with a process not \
                     marked as default: {}",
                    process.r#type
                ));
            }
            self.by_type.insert(process.r#type.clone(), process);
        }
        warning
    }

    /// The type of the default process, or empty; and all processes, sorted by type.
    pub(super) fn finish(self) -> (String, Vec<Process>) {
        let processes = self.by_type.into_values().map(|it| Process {
            default: false,
            ..it
        });
        (self.default, processes.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(r#type: &str, default: bool) -> Process {
        Process {
            r#type: r#type.to_owned(),
            default,
            ..Process::default()
        }
    }

    #[test]
    fn the_last_default_counts_unless_its_type_is_defined_again() {
        let mut all = Processes::default();
        assert_eq!(
            all.add(vec![process("web", true), process("a", false)]),
            None
        );
        assert_eq!(all.add(vec![process("task", true)]), None);
        assert_eq!(all.add(vec![process("web", false)]), None);
        assert_eq!(all.default, "task");
        assert!(all.add(vec![process("task", false)]).is_some());
        let (default, processes) = all.finish();
        assert_eq!(default, "");
        let types: Vec<_> = processes.iter().map(|it| it.r#type.as_str()).collect();
        assert_eq!(types, ["a", "task", "web"]);
        assert!(processes.iter().all(|it| !it.default));
    }
}
