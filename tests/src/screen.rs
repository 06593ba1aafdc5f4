//! What is on a terminal in the end, and a picture of it.

use std::fmt::Write as _;

/// What a terminal shows when all of a program's output has come: lines of text in colours.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Screen {
    lines: Vec<Vec<Cell>>,
    row: usize,
    column: usize,
    style: Style,
}

/// A character, and how it is drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Cell {
    character: char,
    style: Style,
}

/// How characters are drawn: what our programs ask for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Style {
    /// As any text.
    #[default]
    Plain,
    /// Who is typing.
    Typed,
    /// All is well.
    Green,
    /// Something is wrong.
    Red,
    /// Something is odd.
    Yellow,
    /// A label.
    Cyan,
    /// Less important.
    Faint,
}

impl Style {
    /// By the parameters of the sequence that sets it.
    fn of(parameters: &str) -> Self {
        match parameters {
            "1;32" => Self::Green,
            "1;31" => Self::Red,
            "1;33" => Self::Yellow,
            "1;36" => Self::Cyan,
            "2" => Self::Faint,
            _ => Self::Plain,
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Plain => "#c9d1d9",
            Self::Typed => "#ffffff",
            Self::Green => "#7ee787",
            Self::Red => "#ff7b72",
            Self::Yellow => "#d29922",
            Self::Cyan => "#79c0ff",
            Self::Faint => "#8b949e",
        }
    }
}

/// A line: parts that are drawn in one way each.
pub type Line = Vec<(Style, String)>;

impl Screen {
    /// Of all that was sent to a terminal. Knows what our programs send: colours, and how a line is
    /// cleared or gone back to.
    pub fn of(sent: &str) -> Self {
        let mut screen = Self::default();
        let mut rest = sent.chars();
        while let Some(character) = rest.next() {
            match character {
                '\n' => {
                    screen.row += 1;
                    screen.column = 0;
                }
                '\r' => screen.column = 0,
                '\x1b' => screen.control(&mut rest),
                other => screen.put(other),
            }
        }
        screen
    }

    /// What is on it, without blanks at the ends, and without empty lines at its end.
    pub fn lines(&self) -> Vec<Line> {
        let lines = self.lines.iter().map(|cells| {
            let mut line = Line::new();
            for cell in cells {
                match line.last_mut() {
                    Some((style, text)) if *style == cell.style => text.push(cell.character),
                    _ => line.push((cell.style, cell.character.to_string())),
                }
            }
            while let Some((style, text)) = line.pop() {
                let text = text.trim_end();
                if !text.is_empty() {
                    line.push((style, text.to_owned()));
                    break;
                }
            }
            line
        });
        let mut lines: Vec<_> = lines.collect();
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        lines
    }

    /// The same, without colours.
    pub fn text(&self) -> String {
        let lines = self.lines().into_iter().map(|line| {
            let parts = line.into_iter().map(|(_, text)| text);
            parts.collect::<String>()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn put(&mut self, character: char) {
        let blank = Cell {
            character: ' ',
            style: Style::Plain,
        };
        if self.lines.len() <= self.row {
            self.lines.resize(self.row + 1, Vec::new());
        }
        if let Some(line) = self.lines.get_mut(self.row) {
            if line.len() <= self.column {
                line.resize(self.column + 1, blank);
            }
            if let Some(cell) = line.get_mut(self.column) {
                *cell = Cell {
                    character,
                    style: self.style,
                };
            }
        }
        self.column += 1;
    }

    /// A sequence that begins with ESC.
    fn control(&mut self, rest: &mut std::str::Chars<'_>) {
        if rest.next() != Some('[') {
            return;
        }
        let mut parameters = String::new();
        for character in rest.by_ref() {
            if !character.is_ascii_alphabetic() {
                parameters.push(character);
                continue;
            }
            let count = parameters.parse().unwrap_or(1_usize);
            match character {
                'm' => self.style = Style::of(&parameters),
                'A' => self.row = self.row.saturating_sub(count),
                'B' => self.row += count,
                'K' => {
                    let from = if parameters == "2" { 0 } else { self.column };
                    if let Some(line) = self.lines.get_mut(self.row) {
                        line.truncate(from);
                    }
                }
                _ => {}
            }
            return;
        }
    }
}

/// Draws lines as a window with a terminal in it: SVG that needs nothing else.
pub fn picture(lines: &[Line], title: &str) -> String {
    const WIDE: usize = 84;
    const HIGH: usize = 19;
    const LEFT: usize = 20;
    const TOP: usize = 50;
    let length = |line: &Line| line.iter().map(|(_, it)| it.chars().count()).sum::<usize>();
    let longest = lines.iter().map(length).max().unwrap_or_default();
    let width = LEFT * 2 + longest * WIDE / 10;
    let height = TOP + lines.len() * HIGH;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#0d1117\"/>\n\
         <circle cx=\"20\" cy=\"18\" r=\"6\" fill=\"#ff5f56\"/><circle cx=\"40\" cy=\"18\" r=\"6\" fill=\"#ffbd2e\"/><circle cx=\"60\" cy=\"18\" r=\"6\" fill=\"#27c93f\"/>\n\
         <g font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,monospace\" font-size=\"14\" fill=\"{}\">\n",
        escaped(title),
        Style::Plain.colour(),
    );
    for (row, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
    {
        let y = TOP + row * HIGH;
        write!(svg, "<text y=\"{y}\">").expect("a text takes it");
        let mut column = 0;
        for (style, text) in line {
            // Each part has its place, so that columns stand below each other in any font.
            let x = LEFT * 10 + column * WIDE;
            let fill = match style {
                Style::Plain => String::new(),
                style => format!(" fill=\"{}\"", style.colour()),
            };
            write!(
                svg,
                "<tspan x=\"{}.{}\"{fill}>{}</tspan>",
                x / 10,
                x % 10,
                // Not every viewer keeps other blanks.
                escaped(text).replace(' ', "\u{a0}")
            )
            .expect("a text takes it");
            column += text.chars().count();
        }
        svg.push_str("</text>\n");
    }
    svg.push_str("</g></svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cleared_is_not_shown() {
        let sent = "\x1b[?25l\x1b[1;32mone\x1b[0m  two \r\x1b[2Kthree\nfour\x1b[1A\r\x1b[Kfive\n\n";
        let plain = |text: &str| vec![(Style::Plain, text.to_owned())];
        assert_eq!(Screen::of(sent).lines(), [plain("five"), plain("four")]);
        let green = (Style::Green, "ok".to_owned());
        let sent = "\x1b[1;32mok\x1b[0m  yes";
        assert_eq!(
            Screen::of(sent).lines(),
            [vec![green, (Style::Plain, "  yes".to_owned())]]
        );
    }
}
