//! Tables that can be searched, sorted and turned over.

use serde_json::Value;

use super::{Markup, Tone, visible};

/// How many rows stand in the page itself; the script shows the others.
const STATIC_ROWS: usize = 200;

/// How many rows make searching worth its place.
const SEARCHED_ROWS: usize = 12;

/// A table that can be searched, sorted and turned over page by page. Without script its first rows
/// are there.
#[derive(Clone, Debug)]
pub struct Table {
    id: &'static str,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A column of a [`Table`].
#[derive(Clone, Debug)]
pub struct Column {
    title: String,
    class: &'static str,
}

/// One cell of a [`Table`].
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Column {
    /// Of texts.
    pub fn text(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            class: "",
        }
    }

    /// Of names and digests: letters of one width.
    pub fn code(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            class: "code",
        }
    }

    /// Of numbers: sorted as such.
    pub fn number(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            class: "number",
        }
    }
}

impl Cell {
    /// One with a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tone: None,
        }
    }

    /// One with a word in a coloured frame.
    pub fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tone: Some(tone),
        }
    }
}

impl Table {
    /// One without rows; `id` is its own in the page.
    pub fn new(id: &'static str, columns: impl IntoIterator<Item = Column>) -> Self {
        Self {
            id,
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: a cell a column.
    pub fn row(mut self, cells: impl IntoIterator<Item = Cell>) -> Self {
        self.push(cells);
        self
    }

    /// Adds a row: a cell a column.
    pub fn push(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let mut cells: Vec<_> = cells.into_iter().take(self.columns.len()).collect();
        cells.resize_with(self.columns.len(), || Cell::new(""));
        self.rows.push(cells);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes it.
    pub fn write(&self, into: &mut Markup) {
        let searched = if self.rows.len() >= SEARCHED_ROWS {
            "yes"
        } else {
            "no"
        };
        let attributes = [
            ("class", "table"),
            ("id", self.id),
            ("data-search", searched),
        ];
        into.element("div", &attributes, |it| {
            if self.rows.len() > STATIC_ROWS {
                let text = format!(
                    "The first {STATIC_ROWS} of {} are shown: this page's script, which shows the others, does not run here.",
                    self.rows.len()
                );
                it.element("noscript", &[], |it| it.leaf("p", "faint", &text));
            }
            it.element("div", &[("class", "scroll")], |it| self.rows(it));
            it.data(self.id, &self.data());
        });
    }

    fn rows(&self, into: &mut Markup) {
        into.element("table", &[], |it| {
            it.element("thead", &[], |it| {
                it.element("tr", &[], |it| {
                    for column in &self.columns {
                        let attributes = [("class", column.class), ("scope", "col")];
                        it.element("th", &attributes, |it| it.text(&column.title));
                    }
                });
            });
            it.element("tbody", &[], |it| {
                for row in self.rows.iter().take(STATIC_ROWS) {
                    it.element("tr", &[], |it| {
                        for (cell, column) in row.iter().zip(&self.columns) {
                            let attributes =
                                [("class", column.class), ("data-name", &column.title)];
                            it.element("td", &attributes, |it| match cell.tone {
                                Some(tone) => it.badge(tone, &cell.text),
                                None => it.text(&cell.text),
                            });
                        }
                    });
                }
            });
        });
    }

    /// What the script shows: classes and titles of columns, and rows of texts, or of pairs of text
    /// and tone.
    fn data(&self) -> Value {
        let text = |text: &str| Value::from(visible(text).into_owned());
        let columns = self.columns.iter();
        let columns: Vec<_> = columns
            .map(|it| Value::from(vec![text(it.class), text(&it.title)]))
            .collect();
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                let cells = row.iter().map(|cell| match cell.tone {
                    Some(tone) => Value::from(vec![text(&cell.text), text(tone.class())]),
                    None => text(&cell.text),
                });
                Value::from(cells.collect::<Vec<_>>())
            })
            .collect();
        Value::from(vec![Value::from(columns), Value::from(rows)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_first_rows_and_the_script_all() {
        let mut table = Table::new("t", [Column::text("a"), Column::number("b")]);
        for at in 0..300 {
            table.push([Cell::new(format!("row-{at}."))]);
        }
        let mut markup = Markup::new();
        table.write(&mut markup);
        let html = markup.to_string();
        assert_eq!(html.matches("row-199.").count(), 2);
        assert_eq!(html.matches("row-200.").count(), 1);
        assert!(html.contains("The first 200 of 300 are shown"));
    }
}
