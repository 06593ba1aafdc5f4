//! Bars over time, as inline SVG.

use std::fmt::Write as _;

use super::Markup;

/// Bars over time, inline: series on top of each other.
#[derive(Clone, Debug)]
pub struct Plot<'a> {
    caption: &'a str,
    labels: Vec<&'a str>,
    series: Vec<(&'a str, Vec<u64>)>,
}

/// The classes of the series' colours.
const COLOURS: [&str; 3] = ["one", "two", "three"];

/// The drawing's own units.
const WIDTH: u64 = 10_000;
const HEIGHT: u64 = 1_000;

impl<'a> Plot<'a> {
    /// An empty one with a bar a label.
    pub fn new(caption: &'a str, labels: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            caption,
            labels: labels.into_iter().collect(),
            series: Vec::new(),
        }
    }

    /// Adds a series: a value a label; at most three are drawn.
    pub fn series(mut self, name: &'a str, values: impl IntoIterator<Item = u64>) -> Self {
        self.series.push((name, values.into_iter().collect()));
        self
    }

    /// Writes it.
    pub fn write(&self, into: &mut Markup) {
        let totals: Vec<u64> = (0..self.labels.len()).map(|at| self.total(at)).collect();
        let most = totals.iter().copied().max().unwrap_or(0);
        into.element("figure", &[], |it| {
            it.element("figcaption", &[], |it| {
                it.leaf("span", "caption", self.caption);
                for ((name, _), colour) in self.series.iter().zip(COLOURS) {
                    it.leaf("span", &format!("key {colour}"), "");
                    it.text(name);
                }
                it.leaf("span", "most", &format!("most: {most}"));
            });
            let size = format!("0 0 {WIDTH} {HEIGHT}");
            let attributes = [
                ("viewBox", size.as_str()),
                ("preserveAspectRatio", "none"),
                ("role", "img"),
                ("aria-label", self.caption),
            ];
            it.element("svg", &attributes, |it| self.bars(it, most.max(1)));
            it.element("div", &[("class", "ticks")], |it| {
                let middle = self.labels.len() / 2;
                let last = self.labels.len().saturating_sub(1);
                let mut shown = vec![0, middle, last];
                shown.dedup();
                for label in shown.iter().filter_map(|at| self.labels.get(*at)) {
                    it.leaf("span", "", label);
                }
            });
        });
    }

    fn total(&self, at: usize) -> u64 {
        let values = self.series.iter().filter_map(|(_, values)| values.get(at));
        values.fold(0, |sum, it| sum.saturating_add(*it))
    }

    fn bars(&self, into: &mut Markup, most: u64) {
        let number = u64::try_from(self.labels.len()).unwrap_or(1).max(1);
        let scaled = |value: u64| {
            let scaled = u128::from(value) * u128::from(HEIGHT) / u128::from(most);
            u64::try_from(scaled).unwrap_or(HEIGHT)
        };
        for (at, label) in self.labels.iter().enumerate() {
            let place = u64::try_from(at).unwrap_or(0);
            let left = place * WIDTH / number;
            let step = WIDTH / number;
            let width = (step - step / 5).max(1);
            let mut title = format!("{label}:");
            let mut below = 0_u64;
            into.element("g", &[], |it| {
                for ((name, values), colour) in self.series.iter().zip(COLOURS) {
                    let value = values.get(at).copied().unwrap_or(0);
                    let (from, to) = (scaled(below), scaled(below.saturating_add(value)));
                    below = below.saturating_add(value);
                    write!(title, " {name} {value}").unwrap_or_default();
                    if to > from {
                        let attributes = [
                            ("class", colour),
                            ("x", &left.to_string()),
                            ("y", &(HEIGHT - to).to_string()),
                            ("width", &width.to_string()),
                            ("height", &(to - from).to_string()),
                        ];
                        it.element("rect", &attributes, |_| ());
                    }
                }
                it.leaf("title", "", &title);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bar_is_as_high_as_the_drawing() {
        let mut markup = Markup::new();
        Plot::new("c", ["a", "b"])
            .series("x", [1, 3])
            .series("y", [0, 1])
            .write(&mut markup);
        let html = markup.to_string();
        assert!(
            html.contains(r#"x="5000" y="0" width="4000" height="250""#),
            "{html}"
        );
        assert!(
            html.contains(r#"x="0" y="750" width="4000" height="250""#),
            "{html}"
        );
        assert!(html.contains("<title>b: x 3 y 1</title>"), "{html}");
        let mut empty = Markup::new();
        Plot::new("c", []).series("x", []).write(&mut empty);
        assert!(empty.to_string().contains("most: 0"));
    }
}
