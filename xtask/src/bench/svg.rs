//! Draws bars.

use std::fmt::Write as _;

/// Bars that are compared with each other.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

#[derive(Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// What is written behind the bar.
    pub(super) text: String,
    /// Whether it is what others are compared with.
    pub(super) is_baseline: bool,
}

const WIDTH: usize = 760;
/// Where bars begin, and how long the longest is.
const LEFT: usize = 190;
const LONGEST: f64 = 430.0;
const ROW: usize = 22;
const TITLE: usize = 40;

/// All panels, one below the other. The longest bar of each has the same length.
pub(super) fn draw(panels: &[Panel]) -> String {
    let height: usize = panels.iter().map(|panel| TITLE + ROW * panel.bars.len()).sum::<usize>() + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let mut y = 0;
    for panel in panels {
        let (title, line) = (escape(&panel.title), y + 26);
        let _ = writeln!(svg, r#"<text x="10" y="{line}" font-weight="bold">{title}</text>"#);
        y += TITLE;
        let most = panel.bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
        for bar in &panel.bars {
            let length = if most > 0.0 { bar.value / most * LONGEST } else { 0.0 };
            let fill = if bar.is_baseline { "#9aa5b1" } else { "#2f6f9f" };
            let (label, text) = (escape(&bar.label), escape(&bar.text));
            let (line, top, thickness) = (y + 14, y + 2, ROW - 6);
            let (end_of_label, start_of_text) = (LEFT - 8, LEFT as f64 + length + 6.0);
            let _ = writeln!(
                svg,
                r#"<text x="{end_of_label}" y="{line}" text-anchor="end">{label}</text>
<rect x="{LEFT}" y="{top}" width="{length:.1}" height="{thickness}" fill="{fill}"/>
<text x="{start_of_text:.1}" y="{line}">{text}</text>"#
            );
            y += ROW;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_as_long_as_there_is_room() {
        let bar = |value| Bar { label: "a<b".to_owned(), value, text: String::new(), is_baseline: false };
        let svg = draw(&[Panel { title: String::new(), bars: vec![bar(1.0), bar(2.0)] }]);
        assert!(svg.contains("width=\"215.0\"") && svg.contains("width=\"430.0\""), "{svg}");
        assert!(svg.contains("a&lt;b"), "{svg}");
    }
}
