//! One self-contained HTML page: styles and script are in it, and nothing else is ever loaded.

mod markup;
mod plot;
mod table;
mod visible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

pub use markup::Markup;
pub use plot::Plot;
pub use table::{Cell, Column, Table};
pub use visible::visible;

/// What a word means, which decides its colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "each has a style")]
pub enum Tone {
    /// All is well.
    Good,
    /// Something is wrong.
    Bad,
    /// Something is odd.
    Odd,
    /// Less important.
    Faint,
}

impl Tone {
    /// The class that has its colour.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Odd => "odd",
            Self::Faint => "faint",
        }
    }
}

/// A page: a title, and sections one below the other.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    subtitle: String,
    badge: Option<(Tone, String)>,
    sections: Vec<Section>,
    footer: String,
}

#[derive(Clone, Debug)]
struct Section {
    id: &'static str,
    title: String,
    body: Markup,
}

impl Page {
    /// A page about `title`, say an image.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            subtitle: String::new(),
            badge: None,
            sections: Vec::new(),
            footer: String::new(),
        }
    }

    /// A line below the title: what kind of page it is, of when.
    pub fn subtitle(mut self, text: impl Into<String>) -> Self {
        self.subtitle = text.into();
        self
    }

    /// The result in a word, beside the title.
    pub fn badge(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.badge = Some((tone, text.into()));
        self
    }

    /// The last line: which program wrote this.
    pub fn footer(mut self, text: impl Into<String>) -> Self {
        self.footer = text.into();
        self
    }

    /// Adds a section; `id` is what a link to it ends with.
    pub fn section(mut self, id: &'static str, title: impl Into<String>, body: Markup) -> Self {
        self.sections.push(Section {
            id,
            title: title.into(),
            body,
        });
        self
    }

    /// The page as text.
    pub fn html(&self) -> String {
        let mut head = Markup::new();
        head.void("meta", &[("charset", "utf-8")]);
        head.void(
            "meta",
            &[
                ("http-equiv", "Content-Security-Policy"),
                ("content", &policy()),
            ],
        );
        head.void(
            "meta",
            &[
                ("name", "viewport"),
                ("content", "width=device-width, initial-scale=1"),
            ],
        );
        head.void(
            "meta",
            &[("name", "color-scheme"), ("content", "light dark")],
        );
        head.void("meta", &[("name", "referrer"), ("content", "no-referrer")]);
        head.element("title", &[], |it| it.text(&self.title));
        head.own("style", STYLE);

        let mut body = Markup::new();
        body.element("header", &[], |it| {
            it.element("div", &[("class", "title")], |it| {
                it.element("h1", &[], |it| it.text(&self.title));
                if let Some((tone, text)) = &self.badge {
                    it.badge(*tone, text);
                }
            });
            if !self.subtitle.is_empty() {
                it.element("p", &[("class", "faint")], |it| it.text(&self.subtitle));
            }
            if self.sections.len() > 1 {
                it.element("nav", &[], |it| {
                    for section in &self.sections {
                        let link = format!("#{}", section.id);
                        it.element("a", &[("href", &link)], |it| it.text(&section.title));
                    }
                });
            }
        });
        body.element("main", &[], |it| {
            for section in &self.sections {
                it.element("section", &[("id", section.id)], |it| {
                    it.element("h2", &[], |it| it.text(&section.title));
                    it.append(&section.body);
                });
            }
        });
        if !self.footer.is_empty() {
            body.element("footer", &[], |it| it.text(&self.footer));
        }
        body.own("script", SCRIPT);

        let mut page = Markup::new();
        page.element("html", &[("lang", "en")], |it| {
            it.element("head", &[], |it| it.append(&head));
            it.element("body", &[], |it| it.append(&body));
        });
        format!("<!DOCTYPE html>\n{page}\n")
    }
}

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// What a browser may do with the page: apply these styles, run this script, and nothing else.
fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_is_shown_and_never_done() {
        let hostile = "</script><script>alert(1)</script>\u{202e}'\"&";
        let mut body = Markup::new();
        body.facts([("name", hostile)]);
        body.badge(Tone::Bad, hostile);
        body.element("p", &[("title", hostile)], |it| it.text(hostile));
        Table::new("t", [Column::text(hostile)])
            .row([Cell::new(hostile)])
            .write(&mut body);
        let html = Page::new(hostile)
            .subtitle(hostile)
            .badge(Tone::Bad, hostile)
            .footer(hostile)
            .section("s", hostile, body)
            .html();
        assert_eq!(
            html.matches("<script").count(),
            2,
            "the page's and the data"
        );
        assert_eq!(html.matches("</script").count(), 2);
        assert!(!html.contains("alert(1)<"), "{html}");
        assert!(!html.contains('\u{202e}'));
        assert!(html.contains("\\u{202e}"));
    }

    #[test]
    fn style_and_script_can_stand_in_a_page() {
        for (text, end) in [(STYLE, "</style"), (SCRIPT, "</script")] {
            assert!(!text.to_ascii_lowercase().contains(end));
            assert!(!text.contains("<!--"));
            assert!(text.is_ascii());
            // The hash is of what the browser sees: it makes CR LF one character.
            assert!(!text.contains('\r'));
        }
        assert!(!SCRIPT.contains("innerHTML"));
    }
}
