//! HTML that is well formed whatever is put into it.

use std::fmt;

use super::{Tone, visible};

/// HTML that is well formed: names of elements and attributes come from this program, every text
/// is escaped.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Markup(String);

impl Markup {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) {
        escape(&mut self.0, text);
    }

    /// Adds an element with what `inside` writes.
    pub fn element(
        &mut self,
        name: &'static str,
        attributes: &[(&'static str, &str)],
        inside: impl FnOnce(&mut Self),
    ) {
        self.void(name, attributes);
        inside(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    /// Adds an element that has no inside.
    pub fn void(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.0.push('<');
        self.0.push_str(name);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            escape(&mut self.0, value);
            self.0.push('"');
        }
        self.0.push('>');
    }

    /// Adds other markup.
    pub fn append(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    /// Adds an element with a text.
    pub fn leaf(&mut self, name: &'static str, class: &str, text: &str) {
        let attributes: &[_] = if class.is_empty() {
            &[]
        } else {
            &[("class", class)]
        };
        self.element(name, attributes, |it| it.text(text));
    }

    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.leaf("p", "", text);
    }

    /// Adds a word in a coloured frame.
    pub fn badge(&mut self, tone: Tone, text: &str) {
        self.leaf("span", &format!("badge {}", tone.class()), text);
    }

    /// Adds names and what they stand for, one below the other.
    pub fn facts<'a>(&mut self, facts: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.element("dl", &[], |it| {
            for (name, value) in facts {
                it.leaf("dt", "", name);
                it.leaf("dd", "", value);
            }
        });
    }

    /// Adds an element whose inside is of this program: it is not escaped.
    pub(super) fn own(&mut self, name: &'static str, text: &'static str) {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
        self.0.push_str(text);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    /// Adds data for the script. Browsers do not run it, but they look for its end.
    pub(super) fn data(&mut self, table: &str, value: &serde_json::Value) {
        self.void(
            "script",
            &[("type", "application/json"), ("data-table", table)],
        );
        for c in value.to_string().chars() {
            match c {
                '<' => self.0.push_str("\\u003c"),
                '>' => self.0.push_str("\\u003e"),
                '&' => self.0.push_str("\\u0026"),
                c => self.0.push(c),
            }
        }
        self.0.push_str("</script>");
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn escape(out: &mut String, text: &str) {
    for c in visible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}
